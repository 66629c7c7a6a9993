"""The library keeps a model whole or not at all, under the hash of its content."""

from __future__ import annotations

import hashlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgestudio.model import graph as graphs
from edgestudio.model.copying import content_sha256
from edgestudio.model.graph import Model
from edgestudio.model.library.library import Library
from edgestudio.wire.errors import InputError, ModelError


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"weights" * 1000)
    return path


def test_keeps_content_facts_and_lineage(library, model, tmp_path):
    graph = tmp_path / "graph.json"
    graphs.save(Model("onnx", None, None, {}, (), 0), graph)
    source = library.add(model, name="net", format="onnx", graph=graph, summary={"nodes": 3}, data="/d")
    assert source.sha256 == hashlib.sha256(model.read_bytes()).hexdigest() == content_sha256(model)
    assert source.path.read_bytes() == model.read_bytes()
    small = tmp_path / "small.onnx"
    small.write_bytes(b"w")
    variant = library.add(
        small, name="net int8", format="onnx", parent=source.sha256, recipe="int8", steps=({"pass": "x"},)
    )
    again = Library(tmp_path / "library")
    assert list(again.entries()) == [source, variant]
    assert again.get(source.sha256).graph_path.read_bytes() == graph.read_bytes()
    assert not again.get(source.sha256).is_outdated
    assert again.get(source.sha256).layout_path is None
    assert again.get("0" * 64) is None


def test_the_same_content_is_kept_once_with_its_age(library, model, tmp_path):
    first = library.add(model, name="net", format="onnx")
    library.update(first.sha256, tags=("mine",))
    second = library.add(model, name="other", format="onnx", parent="f" * 64, recipe="fp16")
    assert (second.created, second.tags, second.name) == (first.created, ("mine",), "other")
    assert second.parent is None
    assert len(list(library.entries())) == 1


def test_folders_and_companions_keep_their_shape(library, tmp_path):
    folder = tmp_path / "net.mlpackage"
    (folder / "Data").mkdir(parents=True)
    (folder / "Data" / "weights.bin").write_bytes(b"w" * 10)
    (folder / "Manifest.json").write_text("{}")
    entry = library.add(folder, name="net", format="coreml")
    assert (entry.path / "Data" / "weights.bin").read_bytes() == b"w" * 10
    assert entry.sha256 == content_sha256(folder)
    assert entry.size_bytes == 12
    assert entry.companions == ()
    model = tmp_path / "net.onnx"
    model.write_bytes(b"m")
    (tmp_path / "net.bin").write_bytes(b"external")
    entry = library.add(model, name="net", format="onnx", companions=[tmp_path / "net.bin"])
    assert [path.name for path in entry.companions] == ["net.bin"]
    assert entry.size_bytes == 9
    (tmp_path / "net.bin").write_bytes(b"retrained")
    other = library.add(
        model,
        name="net",
        format="onnx",
        companions=[tmp_path / "net.bin"],
        expected_sha256=content_sha256(model),
    )
    assert other.sha256 != entry.sha256, "other weights are another model"


def test_a_source_that_is_not_what_was_read_is_refused(library, model):
    with pytest.raises(ModelError) as caught:
        library.add(model, name="net", format="onnx", expected_sha256="0" * 64)
    assert caught.value.code == "changed-file"
    assert list(library.entries()) == []
    assert [path.name for path in library._directory.iterdir()] == []


def test_removing_keeps_variants_and_damage_is_left_out(library, model):
    entry = library.add(model, name="net", format="onnx")
    library.remove(entry.sha256)
    library.remove(entry.sha256)
    assert list(library.entries()) == []
    with pytest.raises(InputError):
        library.update(entry.sha256, name="x")
    entry = library.add(model, name="net", format="onnx")
    (entry.folder / "entry.json").write_text('{"schema_version": 1, "name": ')
    assert list(library.entries()) == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk"
)
def test_a_full_disk_changes_nothing(tmp_path, model):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this system does not let root mount a tmpfs")
    try:
        library = Library(disk / "library")
        small = library.add(_file(tmp_path / "small", 100), name="small", format="onnx")
        with pytest.raises(InputError) as caught:
            library.add(_file(tmp_path / "big", 200_000), name="big", format="onnx")
        assert caught.value.code == "disk-full"
        assert list(library.entries()) == [small]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _file(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path


def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    (tmp_path / "a.onnx").write_bytes(b"a")
    entry = library.add(tmp_path / "a.onnx", name="a", format="onnx")
    changes = [
        {"note": "n"},
        {"version": "1.0.0"},
        {"tags": ("t",)},
        {"facts": {"training_date": "2026-01-01"}},
    ]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            library.update(entry.sha256, note="", version="", tags=(), facts={})
            list(pool.map(lambda change: library.update(entry.sha256, **change), changes))
            kept = library.get(entry.sha256)
            assert kept is not None
            assert (kept.note, kept.version, kept.tags, bool(kept.facts)) == ("n", "1.0.0", ("t",), True)
