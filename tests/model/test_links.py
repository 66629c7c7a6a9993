"""Links in model folders: a download cache's lead to its own files and are followed, all others are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgestudio.model.detect import detect
from edgestudio.model.inspection import inspect_file
from edgestudio.model.library.library import Library
from edgestudio.model.links import followed
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.errors import ModelError
from tests.model.made import convolution, openvino, safetensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL, DATA = "a" * 64, "b" * 64


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """`models--org--net` with a model, its data and a text, as `huggingface_hub` lays it out."""
    repository = tmp_path / "hub" / "models--org--net"
    snapshot = repository / "snapshots" / COMMIT
    blobs = repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    weight = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[2, 2], data_location=TensorProto.EXTERNAL
    )
    weight.external_data.add(key="location", value="model.onnx_data")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])], [weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (blobs / MODEL).write_bytes(model.SerializeToString())
    (blobs / DATA).write_bytes(np.arange(4, dtype="<f4").tobytes())
    (blobs / ("c" * 40)).write_text("# a network")
    for name, blob in (("model.onnx", MODEL), ("model.onnx_data", DATA), ("README.md", "c" * 40)):
        (snapshot / name).symlink_to(Path("../../blobs") / blob)
    return repository


def test_a_model_in_a_cache_opens_as_file_and_as_folder(repository: Path, tmp_path: Path) -> None:
    snapshot = repository / "snapshots" / COMMIT
    for path in (snapshot / "model.onnx", snapshot):
        found = inspect_file(path)
        assert (found["nodes"], found["parameters"], found["warnings"]) == (1, 4, [])
    values = weight_loaders(snapshot / "model.onnx")["w"]()
    assert values is not None
    assert values.tolist() == [[0, 1], [2, 3]]
    library = Library(tmp_path / "library")
    entry = library.add(
        snapshot / "model.onnx", name="net", format="onnx", companions=[snapshot / "model.onnx_data"]
    )
    kept = (entry.path, *entry.companions)
    assert [path.name for path in kept] == ["model.onnx", "model.onnx_data"]
    assert not any(path.is_symlink() for path in kept)
    assert onnx.load(entry.path).graph.initializer[0].raw_data == np.arange(4, dtype="<f4").tobytes()
    whole = library.add(snapshot, name="net", format="onnx")
    assert not any(path.is_symlink() for path in whole.path.rglob("*"))


def test_a_cache_behind_a_link_and_a_package_in_one_open_too(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(tmp_path / "hub")
    at = tmp_path / "elsewhere" / repository.name / "snapshots" / COMMIT
    assert inspect_file(at / "model.onnx")["nodes"] == 1
    made = openvino(tmp_path / "made.xml")
    snapshot = repository / "snapshots" / COMMIT
    for source, blob, name in ((made, "d" * 64, "ov.xml"), (made.with_suffix(".bin"), "e" * 64, "ov.bin")):
        shutil.move(source, repository / "blobs" / blob)
        (snapshot / name).symlink_to(Path("../../blobs") / blob)
    values = weight_loaders(snapshot / "ov.xml")["w"]()
    assert values is not None
    assert values.shape == (4, 2)


def _outside(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(4, dtype="<f4").tobytes())
    return secret


def _to(target: str) -> Callable[[Path, Path], None]:
    def change(repository: Path, tmp_path: Path) -> None:
        link = repository / "snapshots" / COMMIT / "model.onnx_data"
        link.unlink()
        link.symlink_to(target)

    return change


def _blob_is_a_link(repository: Path, tmp_path: Path) -> None:
    (repository / "blobs" / DATA).unlink()
    (repository / "blobs" / DATA).symlink_to(tmp_path / "secret")


def _blobs_is_a_link(repository: Path, tmp_path: Path) -> None:
    (repository / "blobs").rename(tmp_path / "moved")
    (repository / "blobs").symlink_to(tmp_path / "moved")


def _snapshots_is_a_link(repository: Path, tmp_path: Path) -> None:
    (repository / "snapshots").rename(repository / "moved")
    (repository / "snapshots").symlink_to("moved")


def _other_repository(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository, repository.with_name("models--org--other"), symlinks=True)
    _to(f"../../../models--org--other/blobs/{DATA}")(repository, tmp_path)


def _named(repository: Path, tmp_path: Path) -> None:
    shutil.copyfile(tmp_path / "secret", repository / "blobs" / "id_rsa")
    _to("../../blobs/id_rsa")(repository, tmp_path)


def _below_blobs(repository: Path, tmp_path: Path) -> None:
    (repository / "blobs" / "inner").mkdir()
    shutil.copyfile(tmp_path / "secret", repository / "blobs" / "inner" / DATA)
    _to(f"../../blobs/inner/{DATA}")(repository, tmp_path)


def _no_commit(repository: Path, tmp_path: Path) -> None:
    (repository / "snapshots" / COMMIT).rename(repository / "snapshots" / "main")


def _no_repository(repository: Path, tmp_path: Path) -> None:
    repository.rename(repository.with_name("net"))


@pytest.mark.parametrize(
    "change",
    [
        _to("../../../../secret"), _to("/etc/hostname"), _to("../../../../../../../../etc/hostname"), _blob_is_a_link,
        _blobs_is_a_link, _snapshots_is_a_link, _other_repository, _named, _below_blobs, _no_commit, _no_repository,
    ],
    ids=lambda change: change.__qualname__,
)  # fmt: skip
def test_a_cache_that_leads_elsewhere_is_refused(
    repository: Path, tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    _outside(tmp_path)
    change(repository, tmp_path)
    roots = [each for each in (tmp_path / "hub").iterdir() if each.name != "models--org--other"]
    folders = [each for root in roots for each in (root / "snapshots").iterdir()]
    model = folders[0] / "model.onnx"
    with pytest.raises(ModelError) as caught:
        inspect_file(model)
    assert caught.value.code == "hostile-model"
    with pytest.raises(ModelError, match="leads out of its folder"):
        inspect_file(model.parent)
    with pytest.raises(ModelError, match="leads out of its folder"):
        Library(tmp_path / "library").add(model.parent, name="net", format="onnx")
    assert not list((tmp_path / "library").rglob("model.onnx*"))


def test_links_of_other_folders_are_refused(tmp_path: Path) -> None:
    made, folder = convolution(tmp_path / "made.onnx"), tmp_path / "folder"
    folder.mkdir()
    (folder / "model.onnx").symlink_to(made)
    with pytest.raises(ModelError, match=r"leads out of its folder \(model.onnx\)"):
        detect(folder)
    (folder / "model.onnx").unlink()
    shutil.copyfile(made, folder / "model.onnx")
    (folder / "notes").symlink_to(tmp_path)
    with pytest.raises(ModelError, match=r"leads out of its folder \(notes\)"):
        detect(folder)
    shards = tmp_path / "shards"
    shards.mkdir()
    safetensors(tmp_path / "w.safetensors", {"w": np.ones((2, 3))})
    (shards / "w.safetensors").symlink_to(tmp_path / "w.safetensors")
    index = shards / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "w.safetensors"}}))
    with pytest.raises(ModelError, match="outside of its folder"):
        inspect_file(index)


def test_a_single_link_is_what_it_leads_to(tmp_path: Path) -> None:
    made = convolution(tmp_path / "made.onnx")
    link = tmp_path / "desk" / "net.onnx"
    link.parent.mkdir()
    link.symlink_to(made)
    assert inspect_file(link)["nodes"] == 5
    assert followed(link) == made.resolve()
    assert followed(made) == made
