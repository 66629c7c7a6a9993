"""The pairing window of a board: open for ten minutes and five tries, for one studio with one role."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgestudio.agent.trust.peers import MAX_NAME, Peer, PeerStore
from edgestudio.wire import api
from edgestudio.wire.errors import TrustError
from edgestudio.wire.fields import Fields, clean_text
from edgestudio.wire.identity import fingerprint_of
from edgestudio.wire.pairing import PROOF, Agreement, Handshake, PairingCode

MAX_PENDING = 64
"""Agreements that wait for their proof: a stranger who starts them one after the other pushes nobody out in time."""


@dataclass(frozen=True)
class Opened:
    """What a person needs for pairing: the code, what the studio will be, and until when."""

    code: str
    role: api.Role
    expires_in_s: float


@dataclass(frozen=True)
class _Pending:
    name: str
    certificate_pem: str
    agreement: Agreement


class PairingWindow:
    """Lets one studio in per window. `report(name, **fields)` is told of every opening, failure and closing."""

    def __init__(
        self,
        fingerprint: str,
        peers: PeerStore,
        report: Callable[..., None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fingerprint = fingerprint
        self._peers = peers
        self._report = report
        self._clock = clock
        self._code: PairingCode | None = None
        self._role: api.Role = "owner"
        self._until = 0.0
        self._failures = 0
        self._pending: dict[str, _Pending] = {}
        self._one_at_a_time = asyncio.Lock()
        self._starting = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """True while a studio may pair."""
        if self._code is not None and self._clock() >= self._until:
            self.close("it was open for ten minutes")
        return self._code is not None

    @property
    def current(self) -> Opened | None:
        """The open window, None while closed."""
        if not self.is_open or self._code is None:
            return None
        return Opened(self._code.text, self._role, self._until - self._clock())

    def open(self, role: api.Role | None = None) -> Opened:
        """Open the window with a new code, in place of an open one; raises TrustError `owner-needed`.

        Without `role`, as on the board itself, the studio becomes the owner, and a board that has one refuses.
        """
        if role is None and self._peers.owner is not None:
            raise TrustError(
                f"This board belongs to {self._peers.owner.name}; a second studio needs the owner.",
                hint="Let the owner's studio invite it. If that studio is lost, reset the pairing on the board.",
                code="owner-needed",
            )
        self._role = role if role is not None else "owner"
        self._code, self._until = PairingCode.make(), self._clock() + api.PAIRING_WINDOW_S
        self._failures = 0
        self._pending.clear()
        self._report("pairing.opened", text=f"Pairing is open for a studio as {self._role}.", role=self._role)
        opened = self.current
        assert opened is not None
        return opened

    def close(self, why: str) -> None:
        """Close the window; what is under way fails."""
        if self._code is not None:
            self._code = None
            self._pending.clear()
            self._report("pairing.closed", text=f"Pairing is closed: {why}.", reason=why)

    async def start(self, body: object) -> dict[str, Any]:
        """Answer a studio's first message; raises TrustError `pairing-closed`, InputError."""
        code = self._required()
        f = Fields(body, "pairing")
        certificate = f.text("certificate", limit=8192)
        studio = fingerprint_of(certificate)
        theirs = f.text("message", limit=200)
        async with (
            self._starting
        ):  # milliseconds of arithmetic, for anybody who asks: never on the loop, never two at once
            ours, agreement = await asyncio.to_thread(self._agree, code, studio, theirs)
        if code is not self._code:
            self._required()  # closed meanwhile, or opened anew
        name = clean_text(f.text("name", limit=200, default=""), MAX_NAME) or "studio"
        while len(self._pending) >= MAX_PENDING:
            self._pending.pop(next(iter(self._pending)))
        key = secrets.token_hex(16)
        self._pending[key] = _Pending(name, certificate, agreement)
        return {"pairing": key, "message": ours}

    def _agree(self, code: PairingCode, studio: str, message: str) -> tuple[str, Agreement]:
        handshake = Handshake("board", code, studio, self._fingerprint)
        return handshake.message, handshake.agree(message)

    async def confirm(self, body: object) -> tuple[Peer, dict[str, Any]]:
        """Check the studio's proof and let it in; raises TrustError `wrong-code`, `pairing-closed`, InputError."""
        f = Fields(body, "pairing")
        key, proof = f.text("pairing", limit=64), f.text("proof", pattern=PROOF, limit=64)
        async with self._one_at_a_time:
            self._required()
            pending = self._pending.pop(key, None)
            if pending is None or not pending.agreement.check("studio", proof):
                raise await self._failed(counts=pending is not None)
            # On disk before it is told, so that a power cut leaves no studio that believes it is paired.
            peer = self._peers.add(pending.name, self._role, pending.certificate_pem)
            self.close("a studio was paired")
        said = f"{peer.name} was paired as {peer.role}."
        self._report("pairing.paired", text=said, peer=peer.fingerprint, peer_name=peer.name, role=peer.role)
        answer = {
            "proof": pending.agreement.proof("board"),
            "role": peer.role,
            "number": pending.agreement.number,
        }
        return peer, answer

    def _required(self) -> PairingCode:
        if not self.is_open or self._code is None:
            raise TrustError(
                "This board is not open for pairing.",
                hint="Run `edgestudio agent pair` on the board, or let its owner's studio invite you.",
                code="pairing-closed",
            )
        return self._code

    async def _failed(self, *, counts: bool) -> TrustError:
        # The same wait for every failure, while holding the lock: guesses cannot be tried side by side.
        await asyncio.sleep(api.PAIRING_DELAY_S)
        if not counts:
            return TrustError(
                "This pairing was not started, or another one took its place.", code="bad-pairing"
            )
        self._failures += 1
        left = api.PAIRING_TRIES - self._failures
        said = "A studio tried to pair with a wrong code, or somebody is between the two."
        self._report("pairing.failed", text=said, level="warning", tries_left=left)
        if left <= 0:
            self.close(f"the code was wrong {api.PAIRING_TRIES} times")
        more = (
            f"{left} {'try is' if left == 1 else 'tries are'} left"
            if left > 0
            else "the board closed its window"
        )
        return TrustError(
            f"The code does not fit, or somebody is between the two; {more}.",
            hint="Compare the code with the board's screen. If it is right, do not pair over this network.",
            code="wrong-code",
        )
