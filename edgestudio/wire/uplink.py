"""What board and studio say to each other through a broker that neither trusts: signed batches and acknowledgements.

Topics are `es/1/<fleet>/<board>/records`, which the board writes, and `…/ack`, which studios write. Every message is
signed with the key behind the sender's pinned certificate, for one board and one topic; the broker can drop, repeat,
delay and read messages, and cannot make or change one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_pem_x509_certificate

from edgestudio.wire.errors import InputError, TrustError
from edgestudio.wire.fields import Fields, canonical_json, parse_json
from edgestudio.wire.identity import Identity

VERSION: Final = 1
RECORDS: Final = "records"
ACK: Final = "ack"
MAX_MESSAGE_BYTES: Final = 96 * 1024
"""The smallest limit of the brokers that matter is 128 KB (AWS IoT Core)."""

MAX_BATCH: Final = 100
_MAX_RECORD_DEPTH: Final = 16


def topic(fleet: str, board: str, kind: str) -> str:
    """Where messages of `kind` for or from `board` travel; `+` for any board."""
    return f"es/{VERSION}/{fleet}/{board}/{kind}"


def board_of(name: str) -> str:
    """The board that a topic names, "" when it is none of ours."""
    parts = name.split("/")
    return parts[3] if len(parts) == 5 and parts[:2] == ["es", str(VERSION)] else ""


@dataclass(frozen=True)
class Batch:
    """All records of a board between two places of its sequence.

    `after` is the place before the first, so that what was lost on the way shows; `boot`, its number `boots` and its
    `first` sequence are those of the board as it runs now.
    """

    boot: str
    boots: int
    first: int
    after: int
    records: Sequence[Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """As it travels."""
        return {
            "v": VERSION, "boot": self.boot, "boots": self.boots, "first": self.first, "after": self.after,
            "records": list(self.records),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, value: object) -> Batch:
        """Read what travelled; raises InputError."""
        f = _body(value, "batch")
        records = f.items("records", limit=MAX_BATCH)
        if not all(isinstance(record, dict) for record in records):
            raise InputError("the records of a batch must be objects", code="bad-field")
        return cls(
            f.text("boot", limit=64), f.integer("boots"), f.integer("first"), f.integer("after"), records
        )


@dataclass(frozen=True)
class Acknowledgement:
    """A studio has everything up to sequence `upto` of `boot`; with `again` it wants what comes after once more."""

    boot: str
    upto: int
    again: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As it travels."""
        return {"v": VERSION, "boot": self.boot, "upto": self.upto, "again": self.again}

    @classmethod
    def from_dict(cls, value: object) -> Acknowledgement:
        """Read what travelled; raises InputError."""
        f = _body(value, "acknowledgement")
        return cls(f.text("boot", limit=64, default=""), f.integer("upto"), f.flag("again", default=False))


class Sealer:
    """Signs messages with the key of `identity` (ECDSA, P-256, SHA-256)."""

    def __init__(self, identity: Identity) -> None:
        key = serialization.load_pem_private_key(identity.key_path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TrustError("The key of this identity cannot sign.", code="bad-identity")
        self._key = key
        self._sender = identity.fingerprint

    def seal(self, kind: str, board: str, body: Mapping[str, Any]) -> bytes:
        """`body` as a message of `kind` for or from `board`."""
        data = canonical_json(body)
        signature = self._key.sign(_signed(kind, board, data), ec.ECDSA(hashes.SHA256()))
        return canonical_json(
            {"from": self._sender, "sig": base64.b64encode(signature).decode(), "body": data.decode()}
        )


def unseal(
    message: bytes, kind: str, board: str, certificate_of: Callable[[str], str | None]
) -> tuple[str, Any]:
    """(sender's fingerprint, body) of a message; `certificate_of` knows the certificates of those who may send it.

    Raises TrustError `bad-signature` for anybody else, InputError for what is no message.
    """
    if len(message) > 2 * MAX_MESSAGE_BYTES:
        raise InputError("the message is too big", code="too-big")
    f = Fields(parse_json(message, where="the message", max_depth=2), "the message")
    sender, data = f.digest("from"), f.text("body", limit=2 * MAX_MESSAGE_BYTES).encode()
    try:
        signature = base64.b64decode(f.text("sig", limit=200), validate=True)
    except binascii.Error as e:
        raise InputError("the signature is not base64", code="bad-field") from e
    pem = certificate_of(sender)
    if pem is None:
        raise TrustError("Nobody here knows the sender of this message.", code="bad-signature")
    key = load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # what was pinned is P-256
    try:
        key.verify(signature, _signed(kind, board, data), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as e:
        raise TrustError("The message was not signed by who it says.", code="bad-signature") from e
    return sender, parse_json(data, where="the message", max_depth=_MAX_RECORD_DEPTH)


def _signed(kind: str, board: str, data: bytes) -> bytes:
    return f"edgestudio uplink {VERSION}\n{kind}\n{board}\n".encode() + data


def _body(value: object, where: str) -> Fields:
    f = Fields(value, where)
    if f.integer("v") != VERSION:
        raise InputError(f"a {where} of this form is not understood here", code="bad-version")
    return f
