"""Models unlike pictures in, classes out: several inputs, tokens, random answers, lists, batches, sub-graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestudio.optimize.calibration import doctor_job
from edgestudio.optimize.evaluate import evaluate_job
from edgestudio.optimize.package import package_job
from edgestudio.optimize.run import optimize_job
from edgestudio.runtime.backend import open_session
from edgestudio.runtime.bench import bench_job
from edgestudio.wire.errors import InputError, ModelError, RecipeError, RefusedError
from edgestudio.wire.golden import Golden
from edgestudio.wire.progress import Silent

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
_rng = np.random.default_rng(11)


def _weight(name: str, *shape: int) -> Any:
    return numpy_helper.from_array((_rng.normal(size=shape) * 0.3).astype(np.float32), name)


def _value(name: str, kind: int, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _saved(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], *weights: Any) -> Path:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def _two_inputs(folder: Path) -> Path:
    nodes = [
        helper.make_node("MatMul", ["left", "wl"], ["p"]),
        helper.make_node("MatMul", ["right", "wr"], ["q"]),
        helper.make_node("Add", ["p", "q"], ["y"]),
    ]
    inputs = [_value("left", FLOAT, "N", 32), _value("right", FLOAT, "N", 16)]
    weights = (_weight("wl", 32, 8), _weight("wr", 16, 8))
    return _saved(folder / "two.onnx", nodes, inputs, [_value("y", FLOAT, "N", 8)], *weights)


def _tokens(folder: Path) -> Path:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["m"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    inputs = [_value("ids", INT64, "N", "T")]
    return _saved(
        folder / "tokens.onnx", nodes, inputs, [_value("y", FLOAT, "N", 4)],
        _weight("table", 50, 32), _weight("w", 32, 4),
    )  # fmt: skip


def test_data_for_several_inputs_is_an_array_for_each(tmp_path: Path) -> None:
    model, data = _two_inputs(tmp_path), tmp_path / "data.npz"
    left, right = _rng.random((40, 32), dtype=np.float32), _rng.random((40, 16), dtype=np.float32)
    labels = _rng.integers(0, 8, 40)
    np.savez(data, left=left, right=right, y=labels)
    params = {"path": str(model), "data": str(data), "golden_data": str(data), "recipe": "int8-static"}
    (tmp_path / "made").mkdir()
    result = optimize_job(params, tmp_path / "made", Silent())
    assert result["after"]["error"]["cosine"] > 0.99
    assert result["before"]["accuracy"]["n"] == 40
    (tmp_path / "packed").mkdir()
    files = package_job(params, tmp_path / "packed", Silent())["files"]
    with np.load(files["samples"]) as samples:
        assert set(samples.files) == {"left", "right", "y"}
    golden = Golden.load(Path(files["golden"]))
    assert set(golden.inputs) == {"left", "right"}


def test_what_is_missing_in_data_for_several_inputs_is_named(tmp_path: Path) -> None:
    model, data = _two_inputs(tmp_path), tmp_path / "data.npz"
    np.savez(data, left=np.zeros((4, 32), np.float32))
    with pytest.raises(RecipeError, match="'right', an input of the model"):
        doctor_job({"path": str(model), "data": str(data)}, tmp_path, Silent())
    np.savez(data, left=np.zeros((4, 32), np.float32), right=np.zeros((3, 16), np.float32))
    with pytest.raises(RecipeError, match="left 4, right 3"):
        doctor_job({"path": str(model), "data": str(data)}, tmp_path, Silent())


def test_made_up_tokens_differ_and_the_doctor_reads_integers(tmp_path: Path) -> None:
    model, data = _tokens(tmp_path), tmp_path / "data.npz"
    (tmp_path / "packed").mkdir()
    packed = package_job({"path": str(model)}, tmp_path / "packed", Silent())
    ids = Golden.load(Path(packed["files"]["golden"])).inputs["ids"]
    assert len(np.unique(ids.reshape(len(ids), -1), axis=0)) > 1
    np.savez(data, x=_rng.integers(0, 50, (30, 12)), y=_rng.integers(0, 4, 30))
    found = doctor_job({"path": str(model), "data": str(data)}, tmp_path, Silent())["findings"]
    assert {each["name"]: each["severity"] for each in found}["range"] == "ok"


def test_open_sizes_are_tried_until_the_model_runs(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Slice", ["x", "start", "stop", "axis"], ["part"]),
        helper.make_node("MatMul", ["part", "w"], ["y"]),
    ]
    bounds = [
        numpy_helper.from_array(np.array([at], np.int64), name)
        for name, at in (("start", 0), ("stop", 32), ("axis", 1))
    ]
    model = _saved(
        tmp_path / "open.onnx", nodes, [_value("x", FLOAT, "N", "T")], [_value("y", FLOAT, "N", 4)],
        *bounds, _weight("w", 32, 4),
    )  # fmt: skip
    assert bench_job({"path": str(model), "seconds": 0.05}, tmp_path, Silent())["latency_ms"]["n"] >= 100
    data = tmp_path / "data.npz"
    np.savez(data, x=np.zeros((4, 20), np.float32))
    with pytest.raises(ModelError, match="failed while running"):
        bench_job({"path": str(model), "seconds": 0.05, "data": str(data)}, tmp_path, Silent())


def test_random_answers_are_not_checked_and_no_error_is_made_up(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("RandomNormalLike", ["m"], ["r"]),
        helper.make_node("Add", ["m", "r"], ["y"]),
    ]
    model = _saved(
        tmp_path / "random.onnx", nodes, [_value("x", FLOAT, 1, 64)],
        [_value("y", FLOAT, 1, 8), _value("m", FLOAT, 1, 8)], _weight("w", 64, 8),
    )  # fmt: skip
    (tmp_path / "packed").mkdir()
    packed = package_job({"path": str(model)}, tmp_path / "packed", Silent())
    assert any("not always have the same answer (y)" in note for note in packed["notes"])
    assert set(Golden.load(Path(packed["files"]["golden"])).outputs) == {"m"}
    (tmp_path / "made").mkdir()
    result = optimize_job({"path": str(model), "recipe": "fp16"}, tmp_path / "made", Silent())
    assert result["after"]["error"] is None
    assert any("no error can be measured" in note for note in result["notes"])


def test_scores_as_a_row_of_classes_are_read_as_a_table(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("ZipMap", ["m"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
    ]
    row = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    output = helper.make_value_info("z", helper.make_sequence_type_proto(row))
    model = _saved(tmp_path / "zip.onnx", nodes, [_value("x", FLOAT, "N", 64)], [output], _weight("w", 64, 3))
    session = open_session(model)
    answer = session.run({"x": np.ones((2, 64), np.float32)})["z"]
    session.close()
    assert answer.shape == (2, 3)
    assert answer.dtype == np.float32
    result = bench_job({"path": str(model), "seconds": 0.05}, tmp_path, Silent())
    assert result["latency_ms"]["n"] >= 100
    made = optimize_job({"path": str(model), "recipe": "fp16"}, tmp_path, Silent())
    assert made["after"]["error"]["cosine"] > 0.999


def test_lists_and_text_are_refused_in_a_sentence(tmp_path: Path) -> None:
    split = [helper.make_node("SplitToSequence", ["x"], ["s"], axis=0)]
    listed = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    model = _saved(tmp_path / "list.onnx", split, [_value("x", FLOAT, "N", 8)], [listed])
    with pytest.raises(ModelError, match=r"answers with a list \(sequence\)"):
        open_session(model)
    taken = [helper.make_node("SequenceLength", ["s"], ["n"])]
    model = _saved(tmp_path / "takes.onnx", taken, [listed], [_value("n", INT64)])
    with pytest.raises(ModelError, match=r"takes a list \(sequence\)"):
        open_session(model)
    text = [helper.make_node("Identity", ["t"], ["u"])]
    kinds = [_value("t", TensorProto.STRING, "N")], [_value("u", TensorProto.STRING, "N")]
    model = _saved(tmp_path / "text.onnx", text, *kinds)
    with pytest.raises(RecipeError, match="takes text"):
        bench_job({"path": str(model), "seconds": 0.05}, tmp_path, Silent())
    short = [helper.make_node("Cast", ["b"], ["f"], to=FLOAT)]
    model = _saved(
        tmp_path / "b.onnx", short, [_value("b", TensorProto.BFLOAT16, 1)], [_value("f", FLOAT, 1)]
    )
    with pytest.raises(ModelError, match="a tensor of bfloat16"):
        open_session(model)


def test_a_model_without_inputs_cannot_go_onto_a_board(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["w"], ["y"])]
    model = _saved(tmp_path / "none.onnx", nodes, [], [_value("y", FLOAT, 4)], _weight("w", 4))
    with pytest.raises(RefusedError, match="takes no input"):
        package_job({"path": str(model)}, tmp_path, Silent())


def test_a_fixed_batch_is_filled_with_the_one_item(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    model = _saved(
        tmp_path / "batch.onnx", nodes, [_value("x", FLOAT, 4, 3, 16, 16)], [_value("y", FLOAT, 4, 20)],
        _weight("w", 3, 20),
    )  # fmt: skip
    assert bench_job({"path": str(model), "seconds": 0.05}, tmp_path, Silent())["latency_ms"]["n"] >= 100
    for name, x in (
        ("pixels", _rng.integers(0, 256, (8, 20, 20, 3), dtype=np.uint8)),
        ("reals", _rng.random((8, 3, 16, 16), dtype=np.float32)),
    ):
        data = tmp_path / f"{name}.npz"
        np.savez(data, x=x, y=np.arange(8))
        assert evaluate_job({"path": str(model), "data": str(data)}, tmp_path, Silent())["n"] == 8


def test_classes_beside_reals_do_not_drown_the_error(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    model = _saved(
        tmp_path / "both.onnx", nodes, [_value("x", FLOAT, "N", 64)],
        [_value("label", INT64, "N"), _value("scores", FLOAT, "N", 12)], _weight("w", 64, 12),
    )  # fmt: skip
    data = tmp_path / "data.npz"
    x = _rng.random((30, 64), dtype=np.float32)
    np.savez(data, x=x, y=_rng.integers(0, 12, 30))
    result = optimize_job(
        {"path": str(model), "recipe": "int8-dynamic", "data": str(data)}, tmp_path, Silent()
    )
    assert result["after"]["error"]["max_abs"] < 1
    assert result["after"]["accuracy"]["n"] == 30


def test_a_model_that_answers_nan_by_itself_is_warned_about(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Log", ["m"], ["y"])]
    model = _saved(
        tmp_path / "log.onnx", nodes, [_value("x", FLOAT, 1, 64)], [_value("y", FLOAT, 1, 64)],
        _weight("w", 64, 64),
    )  # fmt: skip
    recipe = {"name": "w4", "steps": [{"pass": "weight-only", "options": {"bits": 4}}]}
    result = optimize_job({"path": str(model), "recipe": recipe}, tmp_path, Silent())
    assert any("the model itself answers NaN" in warning for warning in result["warnings"])


def test_weights_around_a_loop_are_shrunk_too(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("MatMul", ["s", "w"], ["t"]), helper.make_node("Add", ["t", "r"], ["n"])],
        "body", [_value("s", FLOAT, 1, 32), _value("r", FLOAT, 1, 32)], [_value("n", FLOAT, 1, 32)],
    )  # fmt: skip
    nodes = [helper.make_node("Scan", ["s0", "x"], ["y"], body=body, num_scan_inputs=1)]
    inputs = [_value("s0", FLOAT, 1, 32), _value("x", FLOAT, 5, 1, 32)]
    model = _saved(tmp_path / "scan.onnx", nodes, inputs, [_value("y", FLOAT, 1, 32)], _weight("w", 32, 32))
    result = optimize_job({"path": str(model), "recipe": "int4-weights"}, tmp_path, Silent())
    assert result["steps"][-1]["report"]["changed"] == 1
    assert result["after"]["size_bytes"] < 0.5 * result["before"]["size_bytes"]


def test_the_doctor_goes_on_after_what_cannot_be_used(tmp_path: Path) -> None:
    model = _two_inputs(tmp_path)
    left, right = _rng.random((10, 32), dtype=np.float32), _rng.random((10, 16), dtype=np.float32)
    left[3, 0] = np.nan
    data = tmp_path / "data.npz"
    np.savez(data, left=left, right=right)
    params = {"path": str(model), "data": str(data)}
    finding = doctor_job(params, tmp_path, Silent())["findings"][0]
    assert finding["name"] == "unfit"
    assert "1 of 10 items" in finding["text"]
    assert "data.npz[3]" in finding["text"]
    with pytest.raises(InputError, match=r"data.npz\[3\]: the values for 'left' hold NaN"):
        optimize_job(params | {"recipe": "int8-static"}, tmp_path, Silent())


def test_reals_that_are_scaled_already_are_not_scaled_again(tmp_path: Path) -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    model = _saved(
        tmp_path / "pool.onnx", nodes, [_value("x", FLOAT, 1, 3, 16, 16)], [_value("y", FLOAT, 1, 3, 1, 1)]
    )
    data = tmp_path / "data.npz"
    np.savez(data, x=_rng.random((30, 16, 16, 3), dtype=np.float32))
    params = {"path": str(model), "data": str(data)}
    found = {each["name"]: each["text"] for each in doctor_job(params, tmp_path, Silent())["findings"]}
    assert "to 0.99" in found["range"]
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text("preprocess: [{kind: image}]\npostprocess: {kind: raw}\n", encoding="utf-8")
    findings = doctor_job(params | {"pipeline": str(pipeline)}, tmp_path, Silent())["findings"]
    assert any("next to nothing" in each["remedy"] for each in findings)
