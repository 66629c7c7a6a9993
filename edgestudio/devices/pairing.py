"""The studio's side of pairing: from an address and a spoken code to a board that is known."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgestudio.devices.known import KnownBoard
from edgestudio.wire import api, tls
from edgestudio.wire.errors import DeviceError, TrustError
from edgestudio.wire.fields import Fields, clean_text
from edgestudio.wire.identity import Identity, fingerprint_of

if TYPE_CHECKING:
    from edgestudio.devices.link import Link


@dataclass(frozen=True)
class Paired:
    """A board that let this studio in; `number` is what both screens show."""

    board: KnownBoard
    number: str


@dataclass(frozen=True)
class Greeting:
    """What whoever listens at an address says of itself; nothing of it is proven but the certificate."""

    fingerprint: str
    certificate_pem: str
    name: str
    is_simulated: bool
    pairing_open: bool
    hello: dict[str, Any]


def _link(host: str, port: int, certificate_pem: str) -> Link:
    from edgestudio.devices.link import Link  # HTTP is loaded with the first board

    return Link(host, port, tls.client_context(None, certificate_pem))


async def greet(host: str, port: int) -> Greeting:
    """Ask a board who it is, as a stranger; raises DeviceError when no agent answers."""
    certificate = await tls.presented_certificate(host, port)
    async with _link(host, port, certificate) as link:
        hello = await link.get(api.HELLO)
    fields = Fields(hello, "hello")
    spoken = fields.items("api", limit=16, default=[])
    if api.API_VERSION not in spoken:
        raise DeviceError(
            f"The board at {host}:{port} speaks another version of the protocol ({spoken}).",
            hint="Bring its agent and this studio to the same version.",
            code="bad-version",
        )
    return Greeting(
        fingerprint=fingerprint_of(certificate),
        certificate_pem=certificate,
        name=clean_text(fields.text("name", default=""), 64) or f"{host}:{port}",
        is_simulated=fields.flag("simulated", default=False),
        pairing_open=fields.text("pairing", default="closed") == "open",
        hello=dict(hello),
    )


async def pair(identity: Identity, studio_name: str, host: str, port: int, code: str) -> Paired:
    """Pair with the board at an address by the code that it shows; the caller keeps `Paired.board`.

    Raises InputError for a mistyped code (no try is spent), TrustError when the code or the certificate does
    not hold, DeviceError when the board cannot be reached.
    """
    from edgestudio.wire.pairing import PROOF, Handshake, PairingCode

    greeting = await greet(host, port)
    parsed = PairingCode.parse(code)
    studio, board = identity.fingerprint, greeting.fingerprint
    # Every connection from here on must show the certificate whose fingerprint goes into the exchange.
    async with _link(host, port, greeting.certificate_pem) as link:
        handshake = await asyncio.to_thread(Handshake, "studio", parsed, studio, board)
        first = {"certificate": identity.cert_pem, "message": handshake.message, "name": studio_name}
        answer = Fields(await link.post(api.PAIR_START, first), "the board's answer")
        agreement = await asyncio.to_thread(handshake.agree, answer.text("message", limit=200))
        second = {"pairing": answer.text("pairing", limit=64), "proof": agreement.proof("studio")}
        answer = Fields(await link.post(api.PAIR_CONFIRM, second), "the board's answer")
    if not agreement.check("board", answer.text("proof", pattern=PROOF, limit=64)):
        raise TrustError(
            "Whoever answered does not know the code: this is not the board that shows it.",
            hint="Do not pair over this network.",
            code="wrong-board",
        )
    role = answer.text("role", limit=16)
    known = KnownBoard(
        fingerprint=board,
        name=greeting.name,
        host=host,
        port=port,
        certificate_pem=greeting.certificate_pem,
        role=api.role(role) if api.is_role(role) else "viewer",
        is_simulated=greeting.is_simulated,
    )
    return Paired(known, agreement.number)
