"""Who a board or a studio is: its own P-256 key, a certificate for it, and the certificate's fingerprint."""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgestudio.wire.errors import InputError, TrustError
from edgestudio.wire.files import write_atomically

# A board without a clock starts in 1970, and nobody renews the certificate of a gateway in a cupboard.
NOT_BEFORE = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
NOT_AFTER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)

MAX_CERTIFICATE_BYTES = 8192
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_GROUP = 5


@dataclass(frozen=True)
class Identity:
    """A key pair with its certificate on disk; `fingerprint` (SHA-256 of the DER) is the identity itself."""

    certificate_path: Path
    key_path: Path
    cert_pem: str
    fingerprint: str

    @property
    def short_id(self) -> str:
        """The identity for people; see `short_id`."""
        return short_id(self.fingerprint)

    @classmethod
    def load_or_create(cls, directory: Path, common_name: str) -> Identity:
        """The identity kept in `directory`, made on first use; the key file is readable by its owner only.

        Raises TrustError when key and certificate are there but damaged or do not belong together.
        """
        certificate_path, key_path = directory / "cert.pem", directory / "key.pem"
        if not certificate_path.exists() or not key_path.exists():
            _create(certificate_path, key_path, common_name)
        key_path.chmod(0o600)
        try:
            pem = certificate_path.read_text("ascii")
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate_path, key_path)
            return cls(certificate_path, key_path, pem, fingerprint_of(pem))
        except (OSError, ValueError, InputError) as e:
            raise TrustError(
                f"The identity in {directory} cannot be used: {e}",
                hint="Restore cert.pem and key.pem from a backup, or remove both and pair again.",
                code="bad-identity",
            ) from e


def certificate_der(pem: str) -> bytes:
    """The DER of the one certificate in `pem`; raises InputError when it is not a plain P-256 certificate."""
    if len(pem) > MAX_CERTIFICATE_BYTES or pem.count("-----BEGIN CERTIFICATE-----") != 1:
        raise InputError("exactly one certificate in PEM form is expected", code="bad-certificate")
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        key = certificate.public_key()
    except Exception as e:  # the parser raises its own, undocumented kinds for hostile certificates
        raise InputError("the certificate cannot be read", code="bad-certificate") from e
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise InputError("the certificate's key is not of the kind P-256", code="bad-certificate")
    return certificate.public_bytes(serialization.Encoding.DER)


def fingerprint_of(certificate: str | bytes) -> str:
    """SHA-256 in hexadecimal of a certificate, given as PEM text or DER bytes."""
    der = certificate_der(certificate) if isinstance(certificate, str) else certificate
    return hashlib.sha256(der).hexdigest()


def short_id(fingerprint: str) -> str:
    """The first 50 bits of a fingerprint, to read and type: `ABCDE2-FGHIJ7`, a check digit per group."""
    text = base64.b32encode(bytes.fromhex(fingerprint)).decode()[: 2 * _GROUP]
    groups = (text[:_GROUP], text[_GROUP:])
    return "-".join(group + _luhn(group) for group in groups)


def parse_short_id(text: str) -> str:
    """Bring a typed short id into its one form; raises InputError when a check digit says it was mistyped."""
    plain = re.sub(r"[\s-]", "", text).upper().replace("0", "O").replace("1", "I").replace("8", "B")
    groups = (plain[: _GROUP + 1], plain[_GROUP + 1 :])
    if any(len(g) != _GROUP + 1 or any(c not in _ALPHABET for c in g) for g in groups):
        raise InputError("an id looks like ABCDE2-FGHIJ7", code="bad-id")
    for number, group in enumerate(groups, 1):
        if _luhn(group[:-1]) != group[-1]:
            raise InputError(f"group {number} of the id is mistyped", code="bad-id")
    return "-".join(groups)


def _luhn(text: str) -> str:
    # Luhn mod N (ISO/IEC 7812-1 generalised): finds every single wrong digit and most swapped neighbours.
    total, factor = 0, 2
    for char in reversed(text):
        addend = factor * _ALPHABET.index(char)
        total += addend // 32 + addend % 32
        factor = 3 - factor
    return _ALPHABET[-total % 32]


def _create(certificate_path: Path, key_path: Path, common_name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key, common_name)
    write_atomically(
        key_path,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    write_atomically(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _certificate(key: ec.EllipticCurvePrivateKey, common_name: str) -> x509.Certificate:
    public = key.public_key()
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    # The key's own hash keeps subjects apart: trust anchors are looked up by subject.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{common_name[:40]} {own.digest.hex()[:16]}")])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(own.digest, None, None), critical=False)
        .sign(key, hashes.SHA256())
    )
