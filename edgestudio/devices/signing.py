"""The keys that sign releases, and the sealed kit that brings them back."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from securesystemslib.signer import CryptoSigner

from edgestudio.wire.errors import EdgeStudioError, InputError, TrustError
from edgestudio.wire.fields import Fields, canonical_json, parse_json

ROLES = ("root", "targets", "snapshot", "timestamp")
MIN_PASSPHRASE = 10
KIT_KIND = "edgestudio recovery kit"

# RFC 7914's recommendation for files: about 0.3 s and 128 MiB per try.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**17, 8, 1
_MAX_KIT_BYTES = 64 * 1024 * 1024


def new_key() -> str:
    """A new Ed25519 key as PEM text; secret."""
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
    )


def signer(pem: str, role: str) -> CryptoSigner:
    """What signs for `role` with the key in `pem`; raises TrustError when the key is lost or damaged."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError) as e:
        key, reason = None, str(e)
    else:
        reason = "it is of another kind"
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustError(
            f"The key that signs {role} cannot be used: {reason}",
            hint="Import the recovery kit of this studio.",
            code="no-key",
        )
    return CryptoSigner(key)


def seal(content: Mapping[str, Any], passphrase: str) -> bytes:
    """`content` as a recovery kit that only the passphrase opens; raises InputError when that is too short."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise InputError(
            f"The kit's passphrase has {len(passphrase)} characters, and needs {MIN_PASSPHRASE}.",
            hint="Use a few words that belong to no one else; whoever opens the kit can sign releases.",
            code="weak-passphrase",
        )
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, canonical_json(content), KIT_KIND.encode())
    kit = {"kind": KIT_KIND, "v": 1, "kdf": "scrypt", "cipher": "AES-256-GCM"}
    parts = {"salt": salt, "nonce": nonce, "sealed": sealed}
    return canonical_json({**kit, **{k: base64.b64encode(v).decode() for k, v in parts.items()}})


def unseal(data: bytes, passphrase: str) -> dict[str, Any]:
    """What a kit holds; raises InputError (`bad-kit`, `wrong-passphrase`)."""
    try:
        if len(data) > _MAX_KIT_BYTES:
            raise InputError("it is too big")
        fields = Fields(parse_json(data, where="the kit"), "the kit")
        if fields.text("kind") != KIT_KIND or fields.integer("v") != 1:
            raise InputError("it says it is something else")
        salt, nonce, sealed = (
            base64.b64decode(fields.text(name, limit=_MAX_KIT_BYTES), validate=True)
            for name in ("salt", "nonce", "sealed")
        )
        content = AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed, KIT_KIND.encode())
    except InvalidTag as e:
        raise InputError("The passphrase does not open this recovery kit.", code="wrong-passphrase") from e
    except (EdgeStudioError, ValueError) as e:
        raise InputError(f"This file is no recovery kit: {e}", code="bad-kit") from e
    opened = parse_json(content, where="the kit")
    return dict(opened)


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt, 32, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P).derive(passphrase.encode())
