from __future__ import annotations

import datetime
import random
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgestudio.wire.errors import InputError, TrustError
from edgestudio.wire.identity import Identity, certificate_der, fingerprint_of, parse_short_id, short_id


def test_an_identity_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    first = Identity.load_or_create(tmp_path / "id", "board")
    assert Identity.load_or_create(tmp_path / "id", "another name").fingerprint == first.fingerprint
    assert stat.S_IMODE(first.key_path.stat().st_mode) == 0o600
    assert fingerprint_of(first.cert_pem) == first.fingerprint


def test_the_certificate_suits_a_board_without_a_clock(tmp_path: Path) -> None:
    pem = Identity.load_or_create(tmp_path, "board").cert_pem
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert certificate.not_valid_before_utc == datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    assert certificate.not_valid_after_utc.year == 9999
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_two_identities_of_one_name_have_different_subjects(tmp_path: Path) -> None:
    pems = [Identity.load_or_create(tmp_path / str(n), "desk").cert_pem for n in range(2)]
    subjects = {x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string() for pem in pems}
    assert len(subjects) == 2


@pytest.mark.parametrize("damage", ["key.pem", "cert.pem"])
def test_a_damaged_identity_is_a_clear_error(tmp_path: Path, damage: str) -> None:
    Identity.load_or_create(tmp_path, "board")
    (tmp_path / damage).write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(TrustError, match="cannot be used") as e:
        Identity.load_or_create(tmp_path, "board")
    assert e.value.code == "bad-identity"
    assert e.value.hint


def test_a_key_that_does_not_belong_to_the_certificate_is_refused(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path / "a", "a")
    Identity.load_or_create(tmp_path / "b", "b")
    (tmp_path / "a" / "key.pem").write_bytes((tmp_path / "b" / "key.pem").read_bytes())
    with pytest.raises(TrustError):
        Identity.load_or_create(tmp_path / "a", "a")


def test_every_single_wrong_character_of_a_short_id_is_found() -> None:
    rng = random.Random(1)
    for _ in range(20):
        text = short_id(rng.randbytes(32).hex())
        assert parse_short_id(text.lower().replace("-", " ")) == text
        at = rng.choice([i for i, c in enumerate(text) if c != "-"])
        other = rng.choice([c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" if c != text[at]])
        with pytest.raises(InputError, match="mistyped"):
            parse_short_id(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize("text", ["", "ABC", "ABCDEF-GHIJK1!", "ABCDEFGHIJKLM", "ÄBCDEF-GHIJKL"])
def test_what_is_no_short_id_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_short_id(text)


def test_only_one_plain_p256_certificate_is_taken(tmp_path: Path) -> None:
    pem = Identity.load_or_create(tmp_path, "x").cert_pem
    other = _certificate(ec.generate_private_key(ec.SECP384R1()))
    for bad in ("", "hello", pem + pem, pem.replace("MII", "AAA", 1), pem + " " * 9000, other):
        with pytest.raises(InputError) as e:
            certificate_der(bad)
        assert e.value.code == "bad-certificate"
    assert certificate_der(pem) == ssl.PEM_cert_to_DER_cert(pem)


def _certificate(key: ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([])
    now = datetime.datetime(2026, 1, 1)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(1))
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
