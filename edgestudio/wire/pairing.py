"""Pairing: a short code that people carry from one screen to the other, and the handshake it protects.

SPAKE2 turns the code into a key without giving away anything that could be tried offline; both certificates'
fingerprints go in as identities, so that somebody in the middle, who must show another certificate to at least
one side, ends with another key. Each side then proves its key, the studio first.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from spake2 import SPAKE2_A, SPAKE2_B

from edgestudio.wire.errors import InputError, TrustError
from edgestudio.wire.words import WORDS

FIRST_NUMBER, NUMBERS = 10, 64
MESSAGE = re.compile(r"[0-9a-f]{66}")
PROOF = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PairingCode:
    """A code such as `42-COPPER-LANTERN-TIGER`: 24 random bits in a number and two words, and a check word."""

    text: str

    @classmethod
    def make(cls) -> PairingCode:
        """A new random code."""
        return cls(_with_check(FIRST_NUMBER + secrets.randbelow(NUMBERS), *_two_words()))

    @classmethod
    def parse(cls, typed: str) -> PairingCode:
        """Read a code as people type it; raises InputError (`bad-code`) for a typing mistake, before it costs a try."""
        parts = re.findall(r"[a-z]+|\d+", typed.lower())
        if len(parts) != 4 or not parts[0].isdecimal() or any(p.isdecimal() for p in parts[1:]):
            raise InputError(
                "That is not a pairing code: it has a number and three words.",
                hint="Type it as the board shows it, such as 42-COPPER-LANTERN-TIGER.",
                code="bad-code",
            )
        for word in parts[1:]:
            if word not in WORDS:
                near = difflib.get_close_matches(word, WORDS, 1)
                meant = f" Did you mean {near[0].upper()}?" if near else ""
                raise InputError(
                    f"{word[:20].upper()} is not a word of a pairing code.{meant}",
                    hint="Compare it with the board's screen, word by word.",
                    code="bad-code",
                )
        number = int(parts[0][:4])
        code = _with_check(number, parts[1], parts[2])
        if not FIRST_NUMBER <= number < FIRST_NUMBER + NUMBERS or code.rsplit("-", 1)[1].lower() != parts[3]:
            raise InputError(
                "The words of this code do not belong together: one of them or the number is mistyped.",
                hint="Compare it with the board's screen, word by word.",
                code="bad-code",
            )
        return cls(code)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Agreement:
    """What both sides hold after the exchange; equal only where the code and both certificates were."""

    key: bytes
    transcript: bytes

    def proof(self, side: str) -> str:
        """What `side` ("studio" or "board") shows to prove that it holds the key."""
        return hmac.new(self._derive(f"prove {side}"), self.transcript, hashlib.sha256).hexdigest()

    def check(self, side: str, proof: str) -> bool:
        """True if `proof` is what `side` shows; takes the same time either way."""
        return hmac.compare_digest(self.proof(side).encode(), proof.encode())

    @property
    def number(self) -> str:
        """Eight digits that both screens show; equal when nobody is in the middle."""
        digits = int.from_bytes(self._derive("number")[:8], "big") % 10**8
        return f"{digits:08d}"[:4] + " " + f"{digits:08d}"[4:]

    def _derive(self, purpose: str) -> bytes:
        info = b"edgestudio pairing 1 " + purpose.encode()
        return HKDF(hashes.SHA256(), 32, hashlib.sha256(self.transcript).digest(), info).derive(self.key)


class Handshake:
    """One side of one exchange: `message` goes to the other side, whose message goes into `agree`."""

    def __init__(self, side: str, code: PairingCode, studio: str, board: str) -> None:
        """`side` is "studio" or "board"; `studio` and `board` are the fingerprints that this side sees."""
        kind = {"studio": SPAKE2_A, "board": SPAKE2_B}[side]
        self._side, self._studio, self._board = side, studio, board
        self._exchange: Any = kind(code.text.encode(), idA=studio.encode(), idB=board.encode())
        self.message: str = self._exchange.start().hex()

    def agree(self, message: str) -> Agreement:
        """Combine with the other side's message; raises TrustError when it cannot be one."""
        if MESSAGE.fullmatch(message) is None:
            raise TrustError("The pairing message is malformed.", code="bad-pairing")
        try:
            key: bytes = self._exchange.finish(bytes.fromhex(message))
        except Exception as e:  # spake2 raises assertions and its own kinds for points that are none
            raise TrustError("The pairing message is malformed.", code="bad-pairing") from e
        pair = (self.message, message) if self._side == "studio" else (message, self.message)
        return Agreement(key, "|".join((*pair, self._studio, self._board)).encode())


def _two_words() -> tuple[str, str]:
    return secrets.choice(WORDS), secrets.choice(WORDS)


def _with_check(number: int, first: str, second: str) -> str:
    body = f"{number}-{first}-{second}".upper()
    check = int.from_bytes(hashlib.sha256(body.encode()).digest()[:4], "big") % len(WORDS)
    return f"{body}-{WORDS[check].upper()}"
