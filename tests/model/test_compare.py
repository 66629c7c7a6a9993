"""Differences between models, statistics of weights, and the check against runtimes and boards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgestudio.model.compare.diff import diff_job
from edgestudio.model.statistics import describe, statistics_job
from edgestudio.model.target.check import check_job
from edgestudio.model.target.table import runtime_tables
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.errors import UsageError
from edgestudio.wire.progress import Silent
from tests.model.made import convolution, onnx_model, openvino, safetensors


def test_a_model_is_identical_to_itself(tmp_path: Path) -> None:
    path = convolution(tmp_path / "a.onnx")
    result = diff_job({"a": str(path), "b": str(path)}, tmp_path, Silent())
    assert (result["identical"], result["added"], result["removed"], result["changed"]) == (True, [], [], [])


def test_changes_are_told_by_operator(tmp_path: Path) -> None:
    a = convolution(tmp_path / "a.onnx")
    model = onnx.load(a)
    weight = next(item for item in model.graph.initializer if item.name == "conv.weight")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] += 0.5
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "conv.weight"))
    model.graph.node[0].attribute.append(helper.make_attribute("strides", [2, 2]))
    model.graph.node[1].op_type = "Sigmoid"
    onnx.save(model, tmp_path / "b.onnx")
    result = diff_job({"a": str(a), "b": str(tmp_path / "b.onnx")}, tmp_path, Silent())
    assert not result["identical"]
    assert [row["op"] for row in result["removed"]] == ["Relu"]
    assert [row["op"] for row in result["added"]] == ["Sigmoid"]
    (changed,) = result["changed"]
    assert changed["attributes"] == {"strides": [None, [2, 2]]}
    assert changed["weights"][0]["max_abs"] == pytest.approx(0.5, abs=1e-6)
    assert changed["weights"][0]["cosine"] < 1
    assert len(result["pairs"]) == 4


def test_an_attribute_left_out_is_not_changed_by_writing_its_default(tmp_path: Path) -> None:
    weights = {"w": np.zeros((8, 3, 3, 5), np.float32)}
    shapes = {"x": [1, 3, 16, 16]}, {"y": [16, 14, 8, 1]}

    def made(name: str, **written: dict[str, object]) -> str:
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"], "c", **written.get("Conv", {})),
            helper.make_node("LeakyRelu", ["c"], ["l"], "l", **written.get("LeakyRelu", {})),
            helper.make_node("Transpose", ["l"], ["y"], "t", **written.get("Transpose", {})),
        ]
        return str(onnx_model(tmp_path / name, nodes, *shapes, weights))

    bare = made("bare.onnx")
    full = made(
        "full.onnx",
        Conv={"group": 1, "strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4, "kernel_shape": [3, 5],
              "auto_pad": "NOTSET"},
        LeakyRelu={"alpha": 0.01}, Transpose={"perm": [3, 2, 1, 0]},
    )  # fmt: skip
    other = made(
        "other.onnx",
        Conv={"group": 1, "auto_pad": "VALID", "kernel_shape": [3, 5]},
        LeakyRelu={"alpha": 0.02},
        Transpose={"perm": [3, 2, 0, 1]},
    )
    for a, b in ((bare, full), (full, bare)):
        assert diff_job({"a": a, "b": b}, tmp_path, Silent())["changed"] == []
    rows = diff_job({"a": bare, "b": other}, tmp_path, Silent())["changed"]
    assert {row["name"]: sorted(row["attributes"]) for row in rows if "attributes" in row} == {
        "c": ["auto_pad"], "l": ["alpha"], "t": ["perm"],
    }  # fmt: skip


@pytest.mark.models
def test_a_quantised_variant_is_matched_operator_by_operator(models_root: Path, tmp_path: Path) -> None:
    folder = models_root / "ic01_mlperf_tiny"
    params = {
        "a": str(folder / "pretrainedResnet.tflite"),
        "b": str(folder / "pretrainedResnet_quant.tflite"),
    }
    result = diff_job(params, tmp_path, Silent())
    assert (len(result["pairs"]), result["added"], result["removed"]) == (16, [], [])
    distances = [
        weight for row in result["changed"] for weight in row.get("weights", ()) if "relative" in weight
    ]
    assert len(distances) >= 10
    assert all(weight["relative"] < 0.02 and weight["cosine"] > 0.999 for weight in distances)


@pytest.mark.models
def test_formats_are_compared_by_what_operators_mean(models_root: Path, tmp_path: Path) -> None:
    params = {
        "a": str(models_root / "basic_pitch" / "nmp.onnx"),
        "b": str(models_root / "basic_pitch" / "nmp.tflite"),
    }
    result = diff_job(params, tmp_path, Silent())
    assert result["totals"]["macs"] == [524_079_648, 524_079_648]
    assert len(result["pairs"]) > 100


def test_statistics_of_weights(tmp_path: Path) -> None:
    values = np.array([[0.0, 1.0, -1.0], [0.0, 2.0, 0.0]], np.float32)
    path = safetensors(tmp_path / "a.safetensors", {"w": values})
    result = statistics_job({"path": str(path)}, tmp_path, Silent())
    (tensor,) = result["tensors"]
    assert (tensor["min"], tensor["max"], tensor["zeros"], tensor["sparsity"]) == (-1.0, 2.0, 3, 0.5)
    assert tensor["mean"] == pytest.approx(values.mean())
    assert tensor["std"] == pytest.approx(values.std())
    assert sum(tensor["histogram"]) == 6
    assert result["sparsity"] == 0.5


def test_statistics_of_odd_values() -> None:
    assert describe(np.array([], np.float32))["min"] is None
    odd = describe(np.array([np.nan, np.inf, 1.0]))
    assert (odd["not_finite"], odd["min"], odd["max"]) == (2, 1.0, 1.0)
    assert sum(describe(np.full(5, 2**63 - 1, np.int64))["histogram"]) == 5


@pytest.mark.parametrize("kind", ["onnx", "openvino", "safetensors"])
def test_weights_are_read_by_name(tmp_path: Path, kind: str) -> None:
    if kind == "onnx":
        path = convolution(tmp_path / "a.onnx")
        expected = {"conv.weight": (8, 3, 3, 3), "fc.bias": (10,)}
    elif kind == "openvino":
        path = openvino(tmp_path / "a.xml")
        expected = {"w": (4, 2)}
    else:
        path = safetensors(tmp_path / "a.safetensors", {"w": np.ones((2, 3))})
        expected = {"w": (2, 3)}
    loaders = weight_loaders(path)
    for name, shape in expected.items():
        values = loaders[name]()
        assert values is not None
        assert values.shape == shape


def test_every_table_of_a_runtime_is_sound() -> None:
    tables = runtime_tables()
    assert set(tables) >= {
        "onnxruntime",
        "litert",
        "tflite-micro",
        "coreml",
        "tensorrt",
        "openvino",
        "edge-tpu",
        "hailo",
    }
    for word, table in tables.items():
        assert table.id == word
        assert table.source
        assert len(set(table.operators)) == len(table.operators)


def test_a_model_that_runs(tmp_path: Path) -> None:
    path = convolution(tmp_path / "a.onnx")
    result = check_job({"path": str(path), "target": "pi5"}, tmp_path, Silent())
    assert (result["verdict"], result["runtime"]) == ("runs", "onnxruntime")
    assert result["runtimes"]["litert"] == "does not run"
    assert {row["status"] for row in result["operators"]} == {"supported"}
    assert result["memory"]["needed_bytes"] > result["memory"]["activation_bytes"]


def test_an_operator_that_does_not_run_is_named_and_cut_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Magic", ["r"], ["m"], "spell", domain="own"),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    path = onnx_model(tmp_path / "a.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]}, opset_imports=opsets)
    result = check_job({"path": str(path), "target": "onnxruntime"}, tmp_path, Silent())
    assert result["verdict"] == "does not run"
    worst = result["operators"][0]
    assert (worst["op"], worst["count"], worst["status"]) == ("own.Magic", 1, "unsupported")
    assert worst["reason"]
    assert worst["remedy"]
    (failing,) = result["failing"]
    assert [node.op_type for node in onnx.load(failing).graph.node] == ["Magic"]


def test_formats_precision_and_sizes_are_judged(tmp_path: Path) -> None:
    path = convolution(tmp_path / "a.onnx", batch=1)
    refused = check_job({"path": str(path), "target": "litert"}, tmp_path, Silent())
    assert refused["verdict"] == "does not run"
    assert "Convert it to TFLite" in refused["findings"][0]["remedy"]
    model = onnx.load(path)
    model.opset_import[0].version = 99
    onnx.save(model, tmp_path / "new.onnx")
    newer = check_job({"path": str(tmp_path / "new.onnx"), "target": "onnxruntime"}, tmp_path, Silent())
    assert newer["verdict"] == "unknown"
    with pytest.raises(UsageError, match="neither a runtime nor a board"):
        check_job({"path": str(path), "target": "toaster"}, tmp_path, Silent())


@pytest.mark.models
@pytest.mark.parametrize(
    ("path", "target", "verdict"),
    [
        ("mnist/mnist_valid_q.tflite", "mcu-class", "runs"),
        ("mobilenet_coral/mobilenet_v2_1.0_224_quant.tflite", "mcu-class", "runs with limits"),
        ("mnist/mnist_valid_f.tflite", "edge-tpu", "does not run"),
        ("mobilenet_coral/mobilenet_v1_0.25_128_quant.tflite", "edge-tpu", "runs"),
        ("bad/tflite/custom_sinh.tflite", "litert", "does not run"),
        ("bad/tflite/audio_preprocessor_int8_tflm_signal_ops.tflite", "tflite-micro", "runs"),
        ("silero_vad/silero_vad.onnx", "onnxruntime", "runs"),
        ("basic_pitch/nmp.mlpackage", "coreml", "runs"),
    ],
)
def test_verdicts_on_real_models(
    models_root: Path, tmp_path: Path, path: str, target: str, verdict: str
) -> None:
    assert (
        check_job({"path": str(models_root / path), "target": target}, tmp_path, Silent())["verdict"]
        == verdict
    )
