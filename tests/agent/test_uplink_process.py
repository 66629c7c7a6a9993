"""The uplink as people switch it on: board.yaml, a broker with TLS and client certificates, `watch --broker`."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgestudio.devices.known import KnownBoards
from edgestudio.devices.pairing import pair
from edgestudio.runtime.board_policy import load_board_policy
from edgestudio.wire.errors import RecipeError
from edgestudio.wire.identity import Identity
from tests.agent.test_process import CODE, running
from tests.patience import PATIENCE, until
from tests.runtime.brokers import BROKERS, WHO, Tls, broker


class Authority:
    """Signs certificates of a broker and its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plant")])
        self.ca = self._write("ca", self.name, self.key, is_ca=True)[0]

    def certificate(self, name: str) -> tuple[Path, Path]:
        """(certificate, key) for `name`, good for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)

    def _write(
        self, name: str, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool = False
    ) -> tuple[Path, Path]:
        now = datetime.datetime.now(datetime.timezone.utc)
        where = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=9)).add_extension(where, critical=False)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(own, critical=False).add_extension(signer, critical=False)
            .sign(self.key, hashes.SHA256())
        )  # fmt: skip
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths


def write(path: Path, document: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a whole desk takes part, which needs Python 3.11")
@pytest.mark.parametrize("name", BROKERS)
def test_a_real_board_reports_through_a_broker_with_certificates(tmp_path: Path, name: str) -> None:
    from edgestudio.studio.paths import default_paths

    plant = Authority(tmp_path)
    certificate, key = plant.certificate("broker")
    data = tmp_path / "board"
    data.mkdir(mode=0o700)
    paths = default_paths()
    paths.create()
    identity = Identity.load_or_create(paths.identity, "desk")
    with broker(name, tmp_path, tls=Tls(plant.ca, certificate, key)) as port:

        def way(name: str) -> dict[str, object]:
            mine, secret = plant.certificate(name)
            return {
                "host": "127.0.0.1", "port": port, "ca_file": str(plant.ca), "certificate_file": str(mine),
                "key_file": str(secret), "fleet": "plant", "every_s": 0.1, **WHO,
            }  # fmt: skip

        write(data / "board.yaml", {"uplink": way("board")})
        with running(data, "--simulate", "pi5", "--name", "line 3") as agent:
            board = asyncio.run(pair(identity, "desk", "127.0.0.1", agent.port, agent.expect(CODE)[1])).board
            KnownBoards(paths.known_boards).add(board)
            described = write(tmp_path / "broker.yaml", way("desk"))
            records = _watched(["line 3", "--broker", str(described)], paths.home)
            assert {record["dev"] for record in records} == {board.fingerprint}
            asyncio.run(_in_the_window(board.fingerprint, described, len(records)))


def _watched(words: list[str], home: Path) -> list[dict[str, Any]]:
    """What `watch` prints until the agent has said that it started and was paired."""
    watching = subprocess.Popen(
        [sys.executable, "-m", "edgestudio", "watch", *words, "--for", str(60 * PATIENCE), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "EDGESTUDIO_HOME": str(home)},
    )  # fmt: skip
    records: list[dict[str, Any]] = []
    try:
        for line in watching.stdout or ():
            records.append(json.loads(line))
            if {"agent.started", "pairing.paired"} <= {record.get("name") for record in records}:
                return records
    finally:
        watching.terminate()
        _, said = watching.communicate(timeout=20 * PATIENCE)
    raise AssertionError(f"it ended without them: {records} {said}")


async def _in_the_window(board: str, described: Path, at_least: int) -> None:
    """The window has a `broker.yaml` of its own, and the same records end in the same history."""
    from edgestudio.studio.app import Studio

    studio = Studio()
    described.rename(studio.paths.broker)
    try:
        await studio.collecting.start()
        history = studio.monitor.history()
        assert history is not None
        await until(lambda: sum(1 for _ in history.read(board)) >= at_least)
        numbers = [record["seq"] for record in history.read(board)]
        assert len(numbers) == len(set(numbers))
    finally:
        await studio.stop()


@pytest.mark.parametrize(
    ("uplink", "word"),
    [
        ({"host": "broker.example", "is_tls": False}, "TLS only"),
        ({"host": "127.0.0.1", "certificate_file": "/x"}, "belong together"),
        ({"host": "127.0.0.1", "fleet": "a/b"}, "fleet"),
        ({"host": "127.0.0.1", "port": 0}, "port"),
        ({}, "host"),
        ({"host": "h", "topic": "x"}, "topic"),
    ],
)
def test_a_bad_uplink_is_refused_with_the_field(tmp_path: Path, uplink: dict[str, object], word: str) -> None:
    write(tmp_path / "board.yaml", {"uplink": uplink})
    with pytest.raises(RecipeError, match=word):
        load_board_policy(tmp_path)


def test_secrets_and_certificates_of_an_uplink(tmp_path: Path) -> None:
    path = write(tmp_path / "board.yaml", {"uplink": {"host": "h", "password": "pa55"}})
    found = load_board_policy(tmp_path).uplink
    assert found is not None
    assert found.secret() == "pa55"
    path.chmod(0o644)
    with pytest.raises(RecipeError, match="everybody can read"):
        load_board_policy(tmp_path)
    (tmp_path / "pw").write_text("from a file\n")
    write(
        path, {"uplink": {"host": "h", "password": {"file": str(tmp_path / "pw")}, "ca_file": "/nowhere.pem"}}
    )
    found = load_board_policy(tmp_path).uplink
    assert found is not None
    assert found.secret() == "from a file"
    with pytest.raises(RecipeError) as refused:
        found.tls_context()
    assert refused.value.code == "bad-certificate"
    (tmp_path / "pw").unlink()
    with pytest.raises(RecipeError, match="password"):
        found.secret()
