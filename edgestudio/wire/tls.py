"""TLS 1.3 between studio and board: certificates are pinned on both sides, and no authority is trusted."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable

from edgestudio.wire.errors import DeviceError, TrustError
from edgestudio.wire.identity import Identity, fingerprint_of

CONNECT_TIMEOUT_S = 8.0


def server_context(identity: Identity, peer_certificates: Iterable[str]) -> ssl.SSLContext:
    """A board's context: whoever shows a certificate must be a peer; who shows none may still say hello and pair.

    Removing a peer takes the application's allow-list as well: a context cannot forget a trust anchor.
    """
    context = _plain(ssl.PROTOCOL_TLS_SERVER, identity)
    context.verify_mode = ssl.CERT_OPTIONAL
    # No resumption: every connection proves its certificate again.
    context.num_tickets = 0
    for pem in peer_certificates:
        trust(context, pem)
    return context


def trust(context: ssl.SSLContext, certificate_pem: str) -> None:
    """Let the holder of this certificate connect from now on, without a restart."""
    context.load_verify_locations(cadata=certificate_pem)


def client_context(identity: Identity | None, pinned_pem: str) -> ssl.SSLContext:
    """A studio's context: the board must show exactly `pinned_pem`; `identity` None connects as a stranger."""
    context = _plain(ssl.PROTOCOL_TLS_CLIENT, identity)
    context.check_hostname = False  # the pinned certificate is the name
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=pinned_pem)
    return context


async def presented_certificate(host: str, port: int, *, timeout_s: float = CONNECT_TIMEOUT_S) -> str:
    """The certificate (PEM) that whoever listens at this address shows, taken from the live socket.

    It proves nothing yet: pairing or a known fingerprint does. Raises DeviceError when nobody answers.
    """
    context = _plain(ssl.PROTOCOL_TLS_CLIENT, None)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        connecting = asyncio.open_connection(host, port, ssl=context, ssl_handshake_timeout=timeout_s)
        _, writer = await asyncio.wait_for(connecting, timeout_s)
    except (OSError, asyncio.TimeoutError) as e:
        raise unreachable(host, port, e) from e
    try:
        der = peer_certificate(writer.transport)
    finally:
        writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1.0)
    if der is None:
        raise DeviceError(f"{host}:{port} shows no certificate.", code="no-certificate")
    return ssl.DER_cert_to_PEM_cert(der)


def peer_certificate(transport: asyncio.BaseTransport | None) -> bytes | None:
    """DER of the certificate that the other end of a live connection proved to hold, None when it showed none."""
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return der if isinstance(der, bytes) else None


def peer_fingerprint(transport: asyncio.BaseTransport | None) -> str | None:
    """Fingerprint of the other end's certificate, None when it showed none."""
    der = peer_certificate(transport)
    return fingerprint_of(der) if der is not None else None


def unreachable(host: str, port: int, failure: BaseException) -> DeviceError:
    """Nobody answered at an address, as a person reads it."""
    why = {
        ConnectionRefusedError: "nothing listens there",
        asyncio.TimeoutError: "it did not answer in time",
        TimeoutError: "it did not answer in time",
        ssl.SSLError: "what listens there is no EdgeStudio agent",
        ConnectionResetError: "it closed the connection",
    }
    reason = next((text for kind, text in why.items() if isinstance(failure, kind)), str(failure))
    return DeviceError(
        f"The board at {host}:{port} cannot be reached: {reason}.",
        hint="Is the board on, its agent running, and on the same network? `edgestudio doctor` checks this desk.",
        code="unreachable",
    )


def wrong_pin(name: str) -> TrustError:
    """A board that answers with another certificate than it was paired with, as a person reads it."""
    return TrustError(
        f"Whoever answers for {name} is not the board that was paired: its certificate is another one.",
        hint="If the board was reinstalled, unpair it here and pair again; otherwise look for who took its address.",
        code="wrong-certificate",
    )


def _plain(protocol: int, identity: Identity | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    if identity is not None:
        context.load_cert_chain(identity.certificate_path, identity.key_path)
    return context
