"""The studio's session with one paired board: calls over pinned mutual TLS, presence, and the record stream."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from edgestudio.devices.known import KnownBoard
from edgestudio.devices.record_order import PAGE, RecordOrder
from edgestudio.wire import api, tensors, tls
from edgestudio.wire.errors import DeviceError, EdgeStudioError, TrustError
from edgestudio.wire.fields import parse_json
from edgestudio.wire.identity import Identity

if TYPE_CHECKING:
    from edgestudio.devices.link import Link

Presence = Literal["online", "offline", "unknown"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
ACK_EVERY_S = 2.0
INSTALL_TIMEOUT_S = 60.0


class BoardSession:
    """One paired board. Open with `async with` or `close` it; all methods run on one event loop.

    `on_presence(presence, problem)` is called on every change; presence comes from the record stream's heartbeat,
    so it is "unknown" until `records` runs.
    """

    def __init__(
        self,
        identity: Identity,
        board: KnownBoard,
        *,
        on_presence: Callable[[Presence, EdgeStudioError | None], None] | None = None,
    ) -> None:
        self._identity = identity
        self._on_presence = on_presence
        self.board = board
        self.presence: Presence = "unknown"
        self.problem: EdgeStudioError | None = None
        self._link = self._make_link()
        self._order = RecordOrder()

    async def __aenter__(self) -> BoardSession:  # noqa: PYI034  the agent's tests use it on 3.10, which has no Self
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections; the session can be used again."""
        await self._link.close()

    async def move(self, board: KnownBoard) -> None:
        """The same board at another address or under another name."""
        if (board.host, board.port) != (self.board.host, self.board.port):
            old, self.board = self._link, board
            self._link = self._make_link()
            await old.close()
        self.board = board

    # -- what the board says of itself

    async def hello(self) -> dict[str, Any]:
        """Name, hardware, protocol versions, whether it is simulated."""
        return await self._mapping(self._link.get(api.HELLO))

    async def info(self) -> dict[str, Any]:
        """Runtimes, hardware, sensors with their quality, and this studio's `role`."""
        return await self._mapping(self._call("GET", api.INFO))

    async def state(self) -> dict[str, Any]:
        """Models with their slots, installs, safe mode, throttling."""
        return await self._mapping(self._call("GET", api.STATE))

    async def history(self, after: int, limit: int = PAGE) -> list[dict[str, Any]]:
        """Records with a sequence above `after`, oldest first."""
        query = {"after": str(after), "limit": str(limit)}
        answer = await self._mapping(self._call("GET", api.HISTORY, query=query))
        return [r for r in answer.get("records", []) if isinstance(r, dict)]

    # -- releases

    async def trusted_versions(self) -> dict[str, int]:
        """Versions of this studio's release metadata that the board trusts; 0 for none."""
        answer = await self._mapping(self._call("GET", api.TUF))
        return {str(k): int(v) for k, v in dict(answer.get("versions", {})).items()}

    async def stage_metadata(self, role: str, data: bytes) -> None:
        """Hand over one file of release metadata."""
        await self._put(api.TUF_ROLE.format(role=role), data)

    async def offer_clock(self) -> dict[str, Any]:
        """Tell the board what time it is here."""
        return await self._mapping(self._post(api.CLOCK, {"time": time.time()}))

    async def offer(self, target: str, release: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Offer a release; returns `id` and `need`: {digest: [chunk index]}."""
        body = {"target": target, "release": dict(release), "idempotency_key": key}
        return await self._mapping(self._post(api.INSTALLS, body, timeout_s=INSTALL_TIMEOUT_S))

    async def put_chunk(self, digest: str, index: int, data: bytes) -> None:
        """Send one chunk of a blob that was asked for, as slowly as the board accepts it."""
        slowest_s = INSTALL_TIMEOUT_S + len(data) / api.MIN_BODY_BYTES_PER_S
        await self._put(api.BLOB_CHUNK.format(digest=digest, index=index), data, timeout_s=slowest_s)

    async def blob_status(self, digest: str) -> dict[str, Any]:
        """What the board has of a blob."""
        return await self._mapping(self._call("GET", api.BLOB.format(digest=digest)))

    async def finish(self, install_id: str) -> dict[str, Any]:
        """Everything is sent: go on with the install."""
        return await self._mapping(
            self._post(api.INSTALL_FINISH.format(id=install_id), {}, timeout_s=INSTALL_TIMEOUT_S)
        )

    async def abort(self, install_id: str) -> dict[str, Any]:
        """Give an install up; what runs keeps running."""
        return await self._mapping(self._post(api.INSTALL_ABORT.format(id=install_id), {}))

    async def install(self, install_id: str) -> dict[str, Any]:
        """State, history and reason of an install."""
        return await self._mapping(self._call("GET", api.INSTALL.format(id=install_id)))

    async def rollback(self, model: str) -> dict[str, Any]:
        """Back to the previous release of `model`; answers once that has answered its golden inputs."""
        path = api.SLOT_ROLLBACK.format(model=model)
        return await self._mapping(self._post(path, {}, timeout_s=2 * INSTALL_TIMEOUT_S))

    async def let_go(self, model: str, manifest: str) -> dict[str, Any]:
        """Take the release with this manifest digest out of quarantine, so that it may be pushed again."""
        return await self._mapping(self._post(api.SLOT_RELEASE.format(model=model), {"manifest": manifest}))

    # -- running

    async def infer(
        self, model: str, feeds: Mapping[str, tensors.Array], *, deadline_ms: float | None = None
    ) -> dict[str, Any]:
        """Run `model` once; `outputs` of the answer are arrays by name."""
        body: dict[str, Any] = {"model": model, "feeds": tensors.encode(feeds), "deadline_ms": deadline_ms}
        answer = await self._mapping(self._post(api.INFER, body, timeout_s=INSTALL_TIMEOUT_S))
        outputs = tensors.decode(answer.get("outputs", {}), max_bytes=api.MAX_INFER_BYTES, where="outputs")
        return {**answer, "outputs": outputs}

    async def bench(self, *, model: str | None = None, soak_minutes: float = 0.0) -> dict[str, Any]:
        """Latency of a running model, measured on the board."""
        body: dict[str, Any] = {"soak_minutes": soak_minutes, **({"model": model} if model else {})}
        return await self._mapping(self._post(api.BENCH, body, timeout_s=120 + 60 * soak_minutes))

    async def pause(self, model: str) -> dict[str, Any]:
        """Stop inferring on the release's own source."""
        return await self._mapping(self._post(api.SLOT_PAUSE.format(model=model), {}))

    async def resume(self, model: str) -> dict[str, Any]:
        """Infer on the release's own source again."""
        return await self._mapping(self._post(api.SLOT_RESUME.format(model=model), {}))

    # -- captures

    async def captures(self) -> dict[str, Any]:
        """What the board captures, its limits, and a line for each capture that it has."""
        return await self._mapping(self._call("GET", api.CAPTURES))

    async def switch_capture(
        self,
        model: str,
        *,
        is_on: bool,
        every: int = 1,
        confidence_below: float | None = None,
        max_bytes: int | None = None,
    ) -> dict[str, Any]:
        """Begin or end to keep inputs of `model` on the board; the answer is as `captures`."""
        body = {
            "model": model, "on": is_on, "every": every, "confidence_below": confidence_below,
            "max_bytes": max_bytes,
        }  # fmt: skip
        return await self._mapping(self._post(api.CAPTURES, body))

    async def capture(self, capture_id: str) -> bytes:
        """The file of one capture."""
        try:
            return await self._link.download(api.CAPTURE.format(id=capture_id), timeout_s=INSTALL_TIMEOUT_S)
        except DeviceError as e:
            raise await self._diagnosed(e) from e

    async def clear_captures(self) -> int:
        """Remove all captures from the board; how many there were."""
        return int((await self._mapping(self._call("DELETE", api.CAPTURES))).get("removed", 0))

    # -- who else

    async def invite(self, role: api.Role) -> dict[str, Any]:
        """As owner, open the board for another studio: `code`, `role`, `expires_in_s`."""
        return await self._mapping(self._post(api.PAIRING, {"role": role}))

    async def peers(self) -> list[dict[str, Any]]:
        """The studios that this board is paired with; `you` marks this one."""
        answer = await self._mapping(self._call("GET", api.PEERS))
        listed = [peer for peer in answer.get("peers", []) if isinstance(peer, dict)]
        return [{**peer, "you": peer.get("fingerprint") == self._identity.fingerprint} for peer in listed]

    async def set_role(self, fingerprint: str, role: api.Role) -> None:
        """As owner, give another studio a role."""
        await self._call("PUT", api.PEER.format(fingerprint=fingerprint), body={"role": role})

    async def unpair(self, fingerprint: str | None = None) -> None:
        """Make the board forget a studio, by default this one; takes effect at once."""
        await self._call("DELETE", api.PEER.format(fingerprint=fingerprint or self._identity.fingerprint))

    # -- records

    @property
    def is_catching_up(self) -> bool:
        """Whether what `records` gives now is from while nobody listened."""
        return self._order.is_catching_up

    async def records(
        self, *, after: tuple[str, int] | None = None, acknowledge: bool = False, stays: bool = True
    ) -> AsyncGenerator[dict[str, Any], None]:
        """What the board reports, each record once, for as long as the caller listens.

        Reconnects with growing pauses and fills what was missed from the board's history, starting behind `after`
        (boot, sequence) where given. With `acknowledge` the board may forget what was yielded here; leave it off
        for onlookers. What cannot be had any more is a record `gap{from,to}`. Without `stays`, a board that does not
        trust this studio any more ends it with TrustError; otherwise that is a board that is offline.
        """
        self._order, pause_s = RecordOrder(after), FIRST_PAUSE_S
        while True:
            try:
                async with contextlib.aclosing(
                    self._connected_records(self._order, acknowledge=acknowledge)
                ) as stream:
                    async for record in stream:
                        pause_s = FIRST_PAUSE_S
                        yield record
                lost: EdgeStudioError = DeviceError(
                    f"{self.board.name} closed the connection.", code="connection-lost"
                )
            except EdgeStudioError as e:
                lost = e
            except OSError as e:
                lost = self._link.explain(e)
            self._note("offline", lost)
            if not stays and isinstance(lost, TrustError):
                raise lost
            await asyncio.sleep(pause_s * random.uniform(0.7, 1.3))
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def _connected_records(
        self, order: RecordOrder, *, acknowledge: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        try:
            socket = await self._link.open_stream()
        except DeviceError as e:
            raise await self._diagnosed(e) from e
        try:
            self._note("online", None)
            acked = time.monotonic()
            async with contextlib.aclosing(self._link.texts(socket)) as texts:
                async for text in texts:
                    record = parse_json(text.encode(), where="the record")
                    if not isinstance(record, dict):
                        continue
                    async for fresh in order.sorted_in(record, self.history):
                        yield fresh
                    if acknowledge and order.last is not None and time.monotonic() - acked > ACK_EVERY_S:
                        await socket.send_json({"k": "ack", "boot": order.last[0], "upto": order.last[1]})
                        acked = time.monotonic()
        finally:
            await socket.close()

    def _note(self, presence: Presence, problem: EdgeStudioError | None) -> None:
        changed = (presence, str(problem)) != (self.presence, str(self.problem))
        self.presence, self.problem = presence, problem
        if changed and self._on_presence is not None:
            self._on_presence(presence, problem)

    # -- carrying

    def _make_link(self, *, is_stranger: bool = False) -> Link:
        from edgestudio.devices.link import Link  # HTTP is loaded with the first board

        board = self.board
        context = tls.client_context(None if is_stranger else self._identity, board.certificate_pem)
        return Link(board.host, board.port, context, board.name)

    async def _post(self, path: str, body: object, *, timeout_s: float = 15.0) -> Any:
        try:
            return await self._link.post(path, body, timeout_s=timeout_s)
        except DeviceError as e:
            raise await self._diagnosed(e) from e

    async def _put(self, path: str, data: bytes, *, timeout_s: float = 15.0) -> Any:
        try:
            return await self._link.put(path, data, timeout_s=timeout_s)
        except DeviceError as e:
            raise await self._diagnosed(e) from e

    async def _call(
        self, method: str, path: str, *, body: object = None, query: dict[str, str] | None = None
    ) -> Any:
        try:
            return await self._link.request(method, path, body=body, query=query)
        except DeviceError as e:
            raise await self._diagnosed(e) from e

    async def _diagnosed(self, failure: DeviceError) -> EdgeStudioError:
        """Under TLS 1.3 a board that refuses our certificate just closes; ask as a stranger whether it is that."""
        if failure.code != "connection-lost":
            return failure
        board = self.board
        try:
            async with self._make_link(is_stranger=True) as stranger:
                await stranger.get(api.HELLO)
            async with self._make_link() as fresh:
                await fresh.get(api.HELLO)
        except TrustError as e:
            return e
        except DeviceError as e:
            if e.code == "connection-lost":
                return TrustError(
                    f"{board.name} does not know this studio any more.",
                    hint="Pair with the board again.",
                    code="not-paired",
                )
            return e
        except EdgeStudioError:
            return failure
        return failure

    @staticmethod
    async def _mapping(answer: Any) -> dict[str, Any]:
        value = await answer
        if not isinstance(value, dict):
            raise DeviceError("The board's answer is not one that this studio knows.", code="bad-answer")
        return value
