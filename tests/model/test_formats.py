"""The other formats, from files made here; and content that is hostile or no model at all."""

from __future__ import annotations

import json
import random
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgestudio.assets import resource
from edgestudio.model.detect import detect
from edgestudio.model.inspection import inspect_file
from edgestudio.model.reading import read_model
from edgestudio.wire.errors import ModelError
from tests.model import made
from tests.model.fuzz_formats import attempt


def test_safetensors(tmp_path: Path) -> None:
    summary = inspect_file(
        made.safetensors(tmp_path / "made.safetensors", {"a": np.zeros((2, 3)), "b": np.zeros(4)})
    )
    assert (summary["format"], summary["parameters"], summary["nodes"]) == ("safetensors", 10, 0)
    assert summary["macs"] is None
    assert "no graph" in summary["warnings"][0]


def test_state_dict(tmp_path: Path) -> None:
    model = read_model(made.state_dict(tmp_path / "made.pth"))
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in model.weights] == [
        ("fc.weight", "float32", (2, 3))
    ]


def test_openvino(tmp_path: Path) -> None:
    path = made.openvino(tmp_path / "made.xml")
    summary = inspect_file(path)
    assert summary["operators"] == {"MatMul": 1}
    assert (summary["macs"], summary["parameters"], summary["producer"]) == (8, 8, "OpenVINO 2026.4.1")
    assert summary["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, 4]}]
    assert read_model(path).companions == ("made.bin",)
    alone = inspect_file(made.openvino(tmp_path / "alone.xml", has_weights=False))
    assert "alone.bin with the weights is missing" in alone["warnings"][0]


def test_torch_export(tmp_path: Path) -> None:
    summary = inspect_file(made.torch_export(tmp_path / "made.pt2"))
    assert summary["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["s0", 4]}]
    assert summary["outputs"] == [{"name": "linear", "dtype": "float32", "shape": ["s0", 2]}]
    assert (summary["macs"], summary["parameters"]) == (8, 10)
    assert read_model(tmp_path / "made.pt2").main.nodes[0].scope == "fc"


def test_tensorrt_engine_tells_what_its_header_does(tmp_path: Path) -> None:
    path = tmp_path / "made.engine"
    path.write_bytes(b"ftrt" + (0x61).to_bytes(4, "little") + bytes(100))
    summary = inspect_file(path)
    assert (summary["format"], summary["format_version"]) == ("tensorrt", "serialization 0x0061")
    assert "built with" in summary["warnings"][0]


def test_keras_weights_without_a_model(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "made.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel:0", data=np.zeros((4, 2), np.float32))
    summary = inspect_file(path)
    assert (summary["parameters"], summary["nodes"]) == (8, 0)
    assert "weights only" in summary["warnings"][0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.onnx", b"", "empty"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        ("a.onnx", b"<!DOCTYPE html><html>404</html>", "web page"),
        ("a.gguf", b"GGUF" + bytes(100), "GGUF"),
        ("a.onnx", b"\x89PNG\r\n\x1a\n", "PNG"),
        ("a.onnx", b"\x1f\x8b\x08" + bytes(20), "gzip"),
        ("a.onnx", b"just some words", "its content is text"),
        ("a.bin", bytes(range(256)), "no model format"),
        ("a.json", b'{"a": 1}', "JSON"),
        ("a.xml", b"<?xml version='1.0'?><other/>", "no OpenVINO network"),
        ("a.pt2", b"PK\x03\x04" + bytes(40), "damaged zip"),
        ("a.safetensors", b"\xff" * 8 + b"{", "no model format|its content"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said) as caught:
        inspect_file(path)
    assert caught.value.hint


def test_no_file_and_odd_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no file"):
        detect(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="holds no model"):
        detect(tmp_path)
    made.convolution(tmp_path / "a.onnx")
    assert detect(tmp_path).file == tmp_path / "a.onnx"
    made.convolution(tmp_path / "b.onnx")
    with pytest.raises(ModelError, match=r"several models: a\.onnx, b\.onnx"):
        detect(tmp_path)


def test_a_suffix_that_lies_is_a_warning(tmp_path: Path) -> None:
    path = made.convolution(tmp_path / "made.tflite")
    assert inspect_file(path)["warnings"] == ["The name ends in .tflite, but the content is ONNX."]


def test_a_hostile_pickle_is_never_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    plain, zipped = tmp_path / "plain.pt", tmp_path / "zipped.pt"
    plain.write_bytes(made.hostile_pickle(mark))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", made.hostile_pickle(mark))
    for path in (plain, zipped):
        with pytest.raises(ModelError, match=r"would run code.*os\.system"):
            inspect_file(path)
    assert not mark.exists()


def test_entities_in_xml_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "made.xml"
    path.write_text(
        '<!DOCTYPE net [<!ENTITY a "aaaa">]><net version="11"><layers/>&a;</net>', encoding="utf-8"
    )
    with pytest.raises(ModelError, match="entities"):
        inspect_file(path)


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "made.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", b" " * (60 << 20))
    with pytest.raises(ModelError, match="unpacks"):
        inspect_file(path)


def test_a_core_ml_package_cannot_point_outside(tmp_path: Path) -> None:
    package = tmp_path / "made.mlpackage"
    (package / "Data").mkdir(parents=True)
    manifest = {"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": "../../x"}}}
    (package / "Manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ModelError, match="outside of the package"):
        inspect_file(package)


@pytest.mark.parametrize("depth", [100, 5000])
def test_deep_nesting_is_refused_not_followed(tmp_path: Path, depth: int) -> None:
    # A type of a sequence of a sequence of …, and JSON as deep: neither may exhaust the stack.
    payload = b""
    for _ in range(depth):
        inner = b"\x0a" + _length(len(payload)) + payload
        payload = b"\x22" + _length(len(inner)) + inner
    value = b"\x0a\x01x\x12" + _length(len(payload)) + payload
    graph = b"\x5a" + _length(len(value)) + value
    path = tmp_path / "made.onnx"
    path.write_bytes(b"\x08\x09\x3a" + _length(len(graph)) + graph + b"\x42\x02\x10\x11")
    with pytest.raises(ModelError, match="nested"):
        inspect_file(path)
    archive_path = tmp_path / "made.keras"
    with zipfile.ZipFile(archive_path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "[" * (depth * 100))
    with pytest.raises(ModelError):
        inspect_file(archive_path)
    assert sys.getrecursionlimit() >= 1000


def _length(size: int) -> bytes:
    out = bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


def test_mutated_files_end_in_results_or_refusals(tmp_path: Path) -> None:
    """A few hundred here; `tests/model/fuzz_formats.py` runs as many as one likes."""
    sources = [
        made.convolution(tmp_path / "a.onnx"),
        resource("sample", "digits.onnx"),
        made.openvino(tmp_path / "a.xml"),
        made.torch_export(tmp_path / "a.pt2"),
        made.state_dict(tmp_path / "a.pth"),
        made.safetensors(tmp_path / "a.safetensors", {"a": np.zeros(4)}),
    ]
    for number in range(300):
        outcome, detail = attempt(sources[number % len(sources)], random.Random(number))
        assert outcome in ("result", "refused"), f"mutation {number}: {detail}"


@pytest.mark.models
def test_mutated_real_files_end_in_results_or_refusals(models_root: Path) -> None:
    names = [
        "mnist/mnist_valid_q.tflite", "mnist/MNIST.mlmodel", "basic_pitch/nmp.mlpackage", "mnist/mnist_valid.h5",
        "ic01_mlperf_tiny/pretrainedResnet_keras3.keras", "kws01_mlperf_tiny/kws_ref_model_savedmodel",
        "pose_cpm/cpm_model.pb", "silero_vad/silero_vad.jit", "basic_pitch/nmp.onnx",
    ]  # fmt: skip
    for number in range(180):
        outcome, detail = attempt(models_root / names[number % len(names)], random.Random(number))
        assert outcome in ("result", "refused"), f"mutation {number}: {detail}"


@pytest.mark.parametrize("inner", ["saved_model.pb", "Manifest.json"])
def test_a_folder_whose_links_lead_out_is_refused(tmp_path: Path, inner: str) -> None:
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / inner).write_bytes(b"{}")
    (folder / "variables" / "again").symlink_to("..")
    secret = tmp_path / "secret"
    secret.write_text("mine")
    link = folder / "variables" / "notes"
    link.symlink_to("../../secret")
    with pytest.raises(ModelError, match=r"leads out of its folder \(variables/notes\)") as caught:
        inspect_file(folder)
    assert caught.value.code == "hostile-model"
    link.unlink()
    with pytest.raises(ModelError) as caught:
        inspect_file(folder)
    assert "leads out" not in caught.value.message


def test_functions_that_call_each_other_twice_are_not_followed(tmp_path: Path) -> None:
    def function(name: str, op: str, domain: str) -> onnx.FunctionProto:
        nodes = [
            helper.make_node(op, ["x"], ["a"], domain=domain),
            helper.make_node(op, ["a"], ["y"], domain=domain),
        ]
        return helper.make_function("d", name, ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])

    functions = [function(f"f{at}", f"f{at + 1}", "d") for at in range(50)] + [function("f50", "Relu", "")]
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("f0", ["x"], ["y"], domain="d")], "g", value[:1], value[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
    path = tmp_path / "made.onnx"
    onnx.save(helper.make_model(graph, functions=functions, opset_imports=opsets), path)
    found = inspect_file(path)
    assert found["nodes"] == 1
    assert any("call each other too often" in warning for warning in found["warnings"])


def test_sizes_that_no_weight_has_give_no_figures(tmp_path: Path) -> None:
    path = tmp_path / "made.safetensors"
    entry = {"dtype": "F32", "data_offsets": [0, 4]}
    header = {"a": {**entry, "shape": [10**400, 4]}, "b": {**entry, "shape": [2] * 20_000}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    found = inspect_file(path)
    assert found["parameters"] is None
    assert json.dumps(found)


def test_a_layer_larger_than_numbers_has_no_figures(tmp_path: Path) -> None:
    layer = {
        "name": "c",
        "filters": 4,
        "kernel_size": [3, 3],
        "batch_input_shape": [None, 10**300, 10**300, 3],
    }
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Conv2D", "config": layer}]}}
    path = tmp_path / "made.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
    assert inspect_file(path)["macs"] is None


@pytest.mark.parametrize(
    "pickle",
    [b"]" * 100_000 + b"a" * 99_999, b"N" + b"\x85" * 100_000, b"}K\x01" * 9999 + b"N" + b"s" * 9999],
)
def test_a_pickle_that_nests_without_end_is_refused(tmp_path: Path, pickle: bytes) -> None:
    path = tmp_path / "made.pth"
    path.write_bytes(b"\x80\x02" + pickle + b".")
    with pytest.raises(ModelError, match="nested deeper than any model"):
        inspect_file(path)


def test_an_archive_inside_of_one_that_is_cut_short_is_not_taken_for_it(tmp_path: Path) -> None:
    inner = made.state_dict(tmp_path / "inner.pt").read_bytes()
    path = tmp_path / "made.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("p/models/model.json", "{}")
        archive.writestr("p/data/weights.pt", inner)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(inner) + len(inner)])
    with pytest.raises(ModelError, match="damaged zip archive"):
        inspect_file(path)
