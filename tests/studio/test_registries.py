"""Models go to registries and come back bit by bit: a folder, and a real OCI registry on loopback."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgestudio.studio.registry.address import open_registry
from edgestudio.studio.registry.artifact import (
    Artifact,
    Registry,
    RegistryError,
    files_of,
    safe_path,
    sha256_of,
)
from edgestudio.studio.registry.folder import FolderRegistry
from edgestudio.studio.registry.mlflow import MlflowRegistry
from edgestudio.studio.registry.oci import OciRegistry
from edgestudio.wire.errors import UsageError

_SERVER = "docker-registry"


@pytest.fixture(scope="module")
def oci_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry server that keeps its blobs in a folder of the test."""
    if shutil.which(_SERVER) is None:
        pytest.skip("docker-registry is not installed (Debian and Ubuntu: apt-get install docker-registry)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("oci")
    settings = folder / "config.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    server = subprocess.Popen(
        [_SERVER, "serve", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{address}/v2/", timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield address
    server.terminate()
    server.wait(10)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A model of two files, one in a folder beside it, with facts."""
    source = tmp_path / "source"
    (source / "weights").mkdir(parents=True)
    (source / "net.onnx").write_bytes(b"model" * 1000)
    (source / "weights" / "w.bin").write_bytes(bytes(range(256)) * 9000)
    files = files_of(source / "net.onnx", (source / "weights" / "w.bin",))
    return Artifact("digits-net", "1.2.0+int8", files, {"parent": "ab" * 32, "metrics": {"top1": 0.98}})


async def _there_and_back(registry: Registry, artifact: Artifact, to: Path) -> None:
    reference = await registry.publish(artifact)
    assert "digits-net" in reference
    listed = {model.name: model.versions for model in await registry.models()}
    assert listed["digits-net"] == ("1.2.0+int8",)
    to.mkdir()
    fetched = await registry.fetch("digits-net", "1.2.0+int8", to)
    assert list(fetched.files) == list(artifact.files)
    assert {n: sha256_of(p) for n, p in fetched.files.items()} == {
        n: sha256_of(p) for n, p in artifact.files.items()
    }
    assert fetched.facts == artifact.facts
    with pytest.raises(RegistryError, match="already"):
        await registry.publish(artifact)


def test_folder_there_and_back(artifact: Artifact, tmp_path: Path) -> None:
    asyncio.run(_there_and_back(FolderRegistry(tmp_path / "share"), artifact, tmp_path / "out"))


def test_oci_there_and_back(artifact: Artifact, tmp_path: Path, oci_address: str) -> None:
    asyncio.run(_there_and_back(OciRegistry(oci_address, "team/models"), artifact, tmp_path / "out"))


def test_oci_blob_that_is_another_is_refused(artifact: Artifact, tmp_path: Path, oci_address: str) -> None:
    registry = OciRegistry(oci_address, "team/damaged")
    asyncio.run(registry.publish(artifact))
    address = f"{oci_address}/v2/team/damaged/digits-net/manifests/1.2.0__int8"
    request = urllib.request.Request(
        address, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}
    )
    manifest = json.loads(urllib.request.urlopen(request, timeout=10).read())
    layer = manifest["layers"][0]
    layer["size"] -= 1
    body = json.dumps(manifest).encode()
    headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    put = urllib.request.Request(
        address.replace("1.2.0__int8", "bad"), data=body, headers=headers, method="PUT"
    )
    try:
        urllib.request.urlopen(put, timeout=10).close()
    except OSError:
        pytest.skip("this registry refuses manifests whose sizes lie, so that none can be fetched")
    with pytest.raises(RegistryError, match="not what"):
        asyncio.run(registry.fetch("digits-net", "bad", tmp_path))


def test_folder_refuses_what_changed_since(artifact: Artifact, tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path / "share")
    place = Path(asyncio.run(registry.publish(artifact)))
    (place / "net.onnx").write_bytes(b"something else")
    with pytest.raises(RegistryError, match="not what was published"):
        asyncio.run(registry.fetch("digits-net", "1.2.0+int8", tmp_path / "out"))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "a\\b", "", "a//b", "./a", "a\nb"])
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(RegistryError, match="no plain relative path"):
        safe_path(name)


def test_address_says_the_kind() -> None:
    assert isinstance(open_registry("/srv/models"), FolderRegistry)
    assert isinstance(open_registry("oci+http://127.0.0.1:5000/team"), OciRegistry)
    assert isinstance(open_registry("mlflow://models.example"), MlflowRegistry)
    for wrong in ("ftp://host/x", "oci://", "oci://user:secret@host/x", "oci+ssh://host"):
        with pytest.raises(UsageError):
            open_registry(wrong)


def test_server_that_is_not_there_is_said(artifact: Artifact) -> None:
    with pytest.raises(RegistryError, match="does not answer") as caught:
        asyncio.run(OciRegistry("http://127.0.0.1:9", "x").publish(artifact))
    assert caught.value.hint
