"""The board's routes for paired studios: each checks its input and ends in one call of the supervisor."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from edgestudio.agent.net.access import PEER, Access
from edgestudio.agent.net.bodies import read_body, read_json
from edgestudio.agent.net.budget import Budget, Room
from edgestudio.agent.net.problems import ProtocolError
from edgestudio.agent.net.stream import Streams
from edgestudio.agent.observe.capture import MAX_RING_BYTES
from edgestudio.agent.run.queue import PRIORITIES
from edgestudio.agent.supervisor import Supervisor
from edgestudio.wire import api, tensors
from edgestudio.wire.errors import InputError, TrustError
from edgestudio.wire.fields import Fields, canonical_json, clean_text
from edgestudio.wire.release import split_target

MAX_HISTORY = 500
INFER_PER_S, INFER_BURST = 200.0, 400.0


class BoardRoutes:
    """Everything that needs a paired studio; see docs/protocol.md for bodies and answers."""

    def __init__(self, supervisor: Supervisor, access: Access, streams: Streams) -> None:
        self._supervisor = supervisor
        self._access = access
        self._streams = streams
        self._budget = Budget(INFER_PER_S, INFER_BURST)
        self._room = Room(api.MAX_INFER_BYTES)
        self._looking_back: dict[str, asyncio.Lock] = {}
        self._bench = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        needs = self._access.needs
        table: list[tuple[str, str, api.Role, Any]] = [
            ("GET", api.INFO, "viewer", self._info),
            ("GET", api.STATE, "viewer", self._state),
            ("GET", api.HISTORY, "viewer", self._history),
            ("GET", api.STREAM, "viewer", self._streams.serve),
            ("GET", api.TUF, "publisher", self._versions),
            ("PUT", api.TUF_ROLE, "publisher", self._stage),
            ("POST", api.CLOCK, "publisher", self._clock),
            ("POST", api.INSTALLS, "publisher", self._offer),
            ("GET", api.INSTALL, "viewer", self._install),
            ("POST", api.INSTALL_FINISH, "publisher", self._finish),
            ("POST", api.INSTALL_ABORT, "publisher", self._abort),
            ("GET", api.BLOB, "publisher", self._blob),
            ("PUT", api.BLOB_CHUNK, "publisher", self._chunk),
            ("POST", api.SLOT_ROLLBACK, "publisher", self._rollback),
            ("POST", api.SLOT_RELEASE, "publisher", self._let_go),
            ("POST", api.SLOT_PAUSE, "operator", self._pause),
            ("POST", api.SLOT_RESUME, "operator", self._resume),
            ("POST", api.INFER, "operator", self._infer),
            ("POST", api.BENCH, "operator", self._run_bench),
            ("GET", api.CAPTURES, "operator", self._captures),
            ("POST", api.CAPTURES, "operator", self._switch_capture),
            ("DELETE", api.CAPTURES, "operator", self._clear_captures),
            ("GET", api.CAPTURE, "operator", self._capture),
            ("POST", api.PAIRING, "owner", self._invite),
            ("GET", api.PEERS, "viewer", self._list_peers),
            ("PUT", api.PEER, "owner", self._set_role),
            ("DELETE", api.PEER, "viewer", self._unpair),
        ]
        return [web.route(method, path, needs(role, handler)) for method, path, role, handler in table]

    async def _info(self, request: web.Request) -> web.Response:
        return web.json_response({**self._supervisor.info(), "role": request[PEER].role})

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(self._supervisor.state())

    async def _history(self, request: web.Request) -> web.Response:
        after, limit = (
            _number(request, "after", 0, 2**53),
            _number(request, "limit", MAX_HISTORY, MAX_HISTORY),
        )
        # The longest answer that a viewer may ask for: one at a time for each studio, and not on the loop.
        async with self._looking_back.setdefault(request[PEER].fingerprint, asyncio.Lock()):
            body = await asyncio.to_thread(self._past, after, limit)
        return web.Response(body=body, content_type="application/json")

    def _past(self, after: int, limit: int) -> bytes:
        return json.dumps({"records": self._supervisor.history(after, limit)}).encode()

    async def _versions(self, request: web.Request) -> web.Response:
        versions = await asyncio.to_thread(self._supervisor.trust.versions, request[PEER].fingerprint)
        clock = self._supervisor.clock
        return web.json_response({"versions": versions, "clock": clock.quality, "time": clock.now()})

    async def _stage(self, request: web.Request) -> web.Response:
        role = request.match_info["role"]
        cap = api.METADATA_MAX_BYTES.get(role.rpartition(".")[2], api.MAX_OFFER_BYTES)
        data = await read_body(request, limit=cap)
        await self._supervisor.stage_metadata(role, data, request[PEER].fingerprint)
        return web.json_response({"role": role, "size_bytes": len(data)})

    async def _clock(self, request: web.Request) -> web.Response:
        f = Fields(await read_json(request), "clock")
        self._supervisor.clock.offer(f.number("time", low=0, high=1e11) or 0.0)
        return web.json_response(
            {"clock": self._supervisor.clock.quality, "time": self._supervisor.clock.now()}
        )

    async def _offer(self, request: web.Request) -> web.Response:
        f = Fields(await read_json(request, limit=api.MAX_OFFER_BYTES), "offer")
        target, peer = f.text("target", limit=140), request[PEER].fingerprint
        split_target(target)
        key = f.text("idempotency_key", limit=64, default="")
        if "release" in f:
            await self._supervisor.stage_metadata("release", canonical_json(f.mapping("release")), peer)
        return web.json_response(await self._supervisor.offer(target, None, key, peer), status=201)

    async def _install(self, request: web.Request) -> web.Response:
        return web.json_response(self._supervisor.install(_id(request)))

    async def _finish(self, request: web.Request) -> web.Response:
        return web.json_response(await self._supervisor.finish(_id(request)))

    async def _abort(self, request: web.Request) -> web.Response:
        return web.json_response(await self._supervisor.abort(_id(request)))

    async def _blob(self, request: web.Request) -> web.Response:
        return web.json_response(self._supervisor.blob_status(_digest(request)))

    async def _chunk(self, request: web.Request) -> web.Response:
        digest, text = _digest(request), request.match_info["index"]
        if not text.isdecimal() or len(text) > 9:
            raise InputError("A chunk is named by its number.", code="bad-field")
        size = self._supervisor.chunk_size(digest, int(text))  # unknown or unwanted: refused before the body
        data = await read_body(request, limit=api.CHUNK_BYTES, exactly=size)
        await self._supervisor.receive_chunk(digest, int(text), data)
        return web.Response(status=204)

    async def _rollback(self, request: web.Request) -> web.Response:
        return web.json_response(await self._supervisor.rollback(_model(request)))

    async def _let_go(self, request: web.Request) -> web.Response:
        model, digest = _model(request), Fields(await read_json(request), "release").digest("manifest")
        return web.json_response(self._supervisor.let_go(model, digest, request[PEER].name))

    async def _pause(self, request: web.Request) -> web.Response:
        return web.json_response(self._supervisor.pause(_model(request)))

    async def _resume(self, request: web.Request) -> web.Response:
        return web.json_response(self._supervisor.resume(_model(request)))

    async def _infer(self, request: web.Request) -> web.Response:
        self._spend(request[PEER].fingerprint)
        if request.content_length is None and request.can_read_body:
            raise ProtocolError("The body must announce its length.", code="no-length")
        # A body takes five times its size on its way to the model: one studio must not fill the board with them.
        async with self._room.held(request[PEER].fingerprint, request.content_length or 0):
            return await self._inferred(request)

    async def _inferred(self, request: web.Request) -> web.Response:
        f = Fields(await read_json(request, limit=api.MAX_INFER_BYTES), "infer")
        feeds = tensors.decode(f.mapping("feeds", limit=64), max_bytes=api.MAX_INFER_BYTES, where="feeds")
        deadline = f.number("deadline_ms", low=1, high=600_000, default=None)
        word = f.text("priority", limit=16, default="normal")
        if word not in PRIORITIES:
            raise InputError(f"A priority is one of {', '.join(PRIORITIES)}.", code="bad-field")
        answer = await self._supervisor.infer(
            f.name("model"), feeds, deadline_ms=deadline, priority=PRIORITIES[word]
        )
        return web.json_response({**answer, "outputs": tensors.encode(answer.get("outputs", {}))})

    async def _run_bench(self, request: web.Request) -> web.Response:
        options = Fields(await read_json(request), "bench")
        if self._bench.locked():
            raise ProtocolError(
                "A benchmark is running already.", hint="Wait for it to end.", code="too-often"
            )
        async with self._bench:
            wanted: dict[str, Any] = {"profile": options.flag("profile", default=False)}
            if "model" in options:
                wanted["model"] = options.name("model")
            wanted["soak_minutes"] = options.number("soak_minutes", low=0, high=240, default=0.0)
            return web.json_response(await self._supervisor.bench(wanted))

    async def _captures(self, request: web.Request) -> web.Response:
        return web.json_response(await self._supervisor.captures.view())

    async def _switch_capture(self, request: web.Request) -> web.Response:
        f = Fields(await read_json(request), "capture")
        self._supervisor.captures.switch(
            f.name("model"),
            is_on=f.flag("on"),
            every=f.integer("every", low=1, high=1_000_000, default=1),
            confidence_below=f.number("confidence_below", low=0, high=1, default=None),
            max_bytes=f.integer("max_bytes", low=1, high=MAX_RING_BYTES) if "max_bytes" in f else None,
        )
        return web.json_response(await self._supervisor.captures.view())

    async def _clear_captures(self, request: web.Request) -> web.Response:
        return web.json_response({"removed": await self._supervisor.captures.clear()})

    async def _capture(self, request: web.Request) -> web.Response:
        data = await self._supervisor.captures.read(_id(request))
        return web.Response(body=data, content_type="application/octet-stream")

    async def _invite(self, request: web.Request) -> web.Response:
        role = Fields(await read_json(request), "invitation").text("role", limit=16)
        if not api.is_role(role):
            raise InputError(f"A role is one of {', '.join(api.ROLES)}.", code="bad-field")
        opened = self._supervisor.pairing.open(api.role(role))
        return web.json_response(
            {"code": opened.code, "role": opened.role, "expires_in_s": opened.expires_in_s}
        )

    async def _list_peers(self, request: web.Request) -> web.Response:
        keys = ("fingerprint", "name", "role", "since")
        peers = [{k: p.to_dict()[k] for k in keys} for p in self._supervisor.peers.all()]
        return web.json_response({"peers": peers, "you": request[PEER].fingerprint})

    async def _set_role(self, request: web.Request) -> web.Response:
        role = Fields(await read_json(request), "peer").text("role", limit=16)
        if not api.is_role(role):
            raise InputError(f"A role is one of {', '.join(api.ROLES)}.", code="bad-field")
        peer = self._supervisor.peers.set_role(_fingerprint(request), api.role(role))
        said = f"{peer.name} is {peer.role} now."
        self._supervisor.emit_event(
            "peer.role", text=said, peer=peer.fingerprint, peer_name=peer.name, role=peer.role
        )
        return web.json_response({"fingerprint": peer.fingerprint, "role": peer.role})

    async def _unpair(self, request: web.Request) -> web.Response:
        fingerprint, asking = _fingerprint(request), request[PEER]
        if fingerprint != asking.fingerprint and asking.role != "owner":
            raise TrustError("Only the owner may unpair another studio.", code="role")
        with self._access.sparing(request.transport):
            peer = self._supervisor.peers.remove(fingerprint)
        said = f"{peer.name} was unpaired."
        self._supervisor.emit_event("peer.removed", text=said, peer=peer.fingerprint, peer_name=peer.name)
        response = web.json_response({"fingerprint": fingerprint})
        if fingerprint == asking.fingerprint:
            response.force_close()
        return response

    def _spend(self, fingerprint: str) -> None:
        # Copying a model by asking it everything is slow, and noticed.
        if self._budget.spend(fingerprint):
            raise ProtocolError(
                f"More than {INFER_PER_S:g} inferences per second.", hint="Slow down.", code="too-often"
            )


def _number(request: web.Request, name: str, default: int, high: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal() or len(text) > 16 or int(text) > high:
        raise InputError(f"{name} must be a whole number up to {high}", code="bad-field")
    return int(text)


def _digest(request: web.Request) -> str:
    digest = request.match_info["digest"]
    if api.DIGEST.fullmatch(digest) is None:
        raise InputError("A blob is named by its SHA-256.", code="bad-field")
    return digest


def _fingerprint(request: web.Request) -> str:
    fingerprint = request.match_info["fingerprint"]
    if api.DIGEST.fullmatch(fingerprint) is None:
        raise InputError("A studio is named by its fingerprint.", code="bad-field")
    return fingerprint


def _model(request: web.Request) -> str:
    model = request.match_info["model"]
    if not api.is_safe_name(model):
        raise InputError("This is not a model's name.", code="bad-field")
    return model


def _id(request: web.Request) -> str:
    return clean_text(request.match_info["id"], 64)
