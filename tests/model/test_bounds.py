"""Small files that would take a library for ever, or that say what cannot be: a result or a sentence, and soon."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgestudio.model.detect import detect
from edgestudio.model.inspection import inspect_file
from edgestudio.model.statistics import describe, statistics_job
from edgestudio.model.texts import writable
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Silent
from tests.model.made import onnx_model


def test_a_shape_that_doubles_forty_times_is_not_followed_to_its_end(tmp_path: Path) -> None:
    nodes = [helper.make_node("Shape", ["x"], ["s0"])]
    nodes += [helper.make_node("Concat", [f"s{i}", f"s{i}"], [f"s{i + 1}"], axis=0) for i in range(40)]
    nodes.append(helper.make_node("Reshape", ["x", "s40"], ["y"]))
    path = onnx_model(tmp_path / "doubling.onnx", nodes, {"x": [2, 2]}, {"y": [None]})
    summary = inspect_file(path)
    assert summary["nodes"] == 42
    assert any("more time or memory" in warning for warning in summary["warnings"])


def test_what_onnx_says_of_a_model_it_cannot_infer_is_passed_on(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", [], ["y"])]
    path = onnx_model(tmp_path / "nothing.onnx", nodes, {"x": [1]}, {"y": [None]})
    assert any("shapes could not be inferred: " in said for said in inspect_file(path)["warnings"])


@pytest.mark.parametrize(
    ("key", "said", "is_read"),
    [
        ("offset", "9" * 6000, False),
        ("offset", "-4", False),
        ("offset", "1e3", False),
        ("length", "all", False),
        ("offset", " 64\n", True),
    ],
)
def test_places_of_outside_weights_that_are_no_numbers(
    tmp_path: Path, key: str, said: str, is_read: bool
) -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=1)
    for name, text in {"location": "w.bin", key: said}.items():
        entry = weight.external_data.add()
        entry.key, entry.value = name, text
    (tmp_path / "w.bin").write_bytes(np.arange(32, dtype=np.float32).tobytes())
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = onnx_model(tmp_path / "outside.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]})
    model = onnx.load(path)
    model.graph.initializer.append(weight)
    path.write_bytes(model.SerializeToString())
    warnings = " ".join(inspect_file(path)["warnings"])
    assert ("is no number" in warnings) is not is_read
    values = weight_loaders(path)["w"]()
    assert (None if values is None else values.reshape(-1).tolist()) == (
        list(range(16, 32)) if is_read else None
    )


@pytest.mark.parametrize(
    ("content", "named", "code"),
    [
        (b'<\n  ir_version: 10, opset_import: ["" : 17]>\ng (float[1] x)', "ONNX model in text", "unknown-format"),
        (b"ir_version: 8\ngraph {\n}\n", "ONNX model in text", "unknown-format"),
        (b'{"irVersion": "8", "graph": {}}', "ONNX model in JSON", "unknown-format"),
        (b'{"format": "graph-model", "modelTopology": {}}', "TensorFlow.js", "unknown-format"),
        (b'{"nodes": [], "arg_nodes": []}', "MXNet", "unknown-format"),
        (b'<?xml version="1.0"?>\n<PMML version="4.4"/>', "PMML", "not-a-model"),
        (b"[net]\nwidth=32\n", "Darknet", "unknown-format"),
        (b"tree\nversion=v4\n", "LightGBM", "unknown-format"),
        (b'name: "x"\nlayer { name: "d" type: "Input" }', "Caffe", "unknown-format"),
        (b"cposix\nsystem\n(S'touch here'\ntR.", "Python pickle in an old form", "not-a-model"),
        (b"GGUF" + bytes(40), "GGUF", "unknown-format"),
        (b"\x01HEF" + bytes(40), "Hailo", "not-a-model"),
        (bytes(8192), "only zeros", "not-a-model"),
        (b"\x04\x22\x4d\x18" + bytes(40), "LZ4", "not-a-model"),
    ],
)  # fmt: skip
def test_other_formats_are_named_and_left_to_netron_where_it_reads_them(
    tmp_path: Path, content: bytes, named: str, code: str
) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=named) as caught:
        detect(path)
    assert caught.value.code == code
    assert caught.value.hint


def test_data_sets_without_numbers_are_listed_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "odd.h5"
    layer = {"class_name": "Dense", "config": {"name": "d", "units": 2, "batch_input_shape": [None, 3]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}})
        group = file.create_group("model_weights/d/d")
        group.create_dataset("kernel:0", data=np.ones((3, 2), np.float32))
        group.create_dataset("nothing", data=h5py.Empty("f4"))
        group.create_dataset("words", (2,), h5py.string_dtype())
    assert inspect_file(path)["nodes"] == 1
    values = {name: load() for name, load in weight_loaders(path).items()}
    assert [array.tolist() for array in values.values() if array is not None] == [[[1.0, 1.0]] * 3]


@pytest.mark.parametrize(
    ("values", "mean", "std"),
    [
        (1e4 + np.array([-1e-3, 1e-3] * 500), 1e4, 1e-3),
        (np.array([1.7e308, -1.7e308]), 0.0, 1.7e308),
        (np.array([1e200, 3e200]), 2e200, 1e200),
        (np.array([np.nan, np.inf, 1.0, 3.0], np.float32), 2.0, 1.0),
        (np.full(10, 7.3), 7.3, 0.0),
    ],
)
def test_statistics_keep_their_digits(values: np.ndarray, mean: float, std: float) -> None:
    found = describe(values)
    assert found["mean"] == pytest.approx(mean, rel=1e-9)
    assert found["std"] == pytest.approx(std, rel=1e-6)
    assert sum(found["histogram"]) == np.isfinite(values).sum()


def test_a_weight_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "two.h5"
    layer = {"class_name": "Dense", "config": {"name": "d", "units": 2, "batch_input_shape": [None, 3]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}})
        group = file.create_group("model_weights/d/d")
        group.create_dataset("bias:0", data=np.ones(2, np.float32))
        group.create_dataset("kernel:0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024), compression="gzip")
    assert [row["mean"] for row in statistics_job({"path": str(path)}, tmp_path, Silent())["tensors"]] == [
        1.0
    ]
    names = [name for name in weight_loaders(path) if "kernel" in name]
    with pytest.raises(ModelError, match="too much to unpack"):
        statistics_job({"path": str(path), "names": names}, tmp_path, Silent())


def test_names_with_half_a_surrogate_pair_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    header = b'{"w\\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": {"k": "\\udfff"}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    summary = inspect_file(path)
    assert json.dumps(summary, ensure_ascii=False).encode()
    assert "?" in summary["metadata"].values()
    assert [row["name"] for row in statistics_job({"path": str(path)}, tmp_path, Silent())["tensors"]] == [
        "w?"
    ]


def test_what_is_writable_is_the_same_object() -> None:
    kept = {"a": ("b", ["ü"], 1.5, None)}
    assert writable(kept) is kept
    assert writable({"\ud800": ("x\udfff",)}) == {"?": ("x?",)}
