"""Passes on small graphs whose right answer is known, and on shapes that exporters really write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestudio.optimize.passes import (
    canonical,
    cluster,
    edits,
    fp16,
    int8_dynamic,
    int8_static,
    onnx_file,
    prune,
    weight_only,
)
from edgestudio.optimize.step import Feeds, StepContext
from edgestudio.wire.errors import EdgeStudioError, ModelError, RecipeError, RefusedError

_rng = np.random.default_rng(5)


def _tensor(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(_rng.normal(size=shape).astype(np.float32), name)


def _model(path: Path, nodes: list[Any], weights: list[Any], **fields: Any) -> Path:
    inputs = fields.get("inputs") or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])]
    outputs = fields.get("outputs") or [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", fields.get("opset", 17))], ir_version=8
    )
    onnx.save(model, path)
    return path


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["m"], name="second"),
        helper.make_node("Add", ["m", "b2"], ["y"], name="add"),
    ]
    weights = [_tensor("w1", 128, 64), _tensor("b1", 128), _tensor("w2", 128, 40), _tensor("b2", 40)]
    return _model(tmp_path / "mlp.onnx", nodes, weights)


class _Samples:
    def __init__(self, count: int = 40, width: int = 64) -> None:
        self._data = _rng.normal(size=(count, 1, width)).astype(np.float32)
        self.passes = 0

    def __len__(self) -> int:
        return len(self._data)

    def feeds(self, start: int = 0, stop: int | None = None) -> Iterator[Feeds]:
        self.passes += 1
        for row in self._data[start:stop]:
            yield {"x": row}


def _context(tmp_path: Path, samples: _Samples | None = None) -> StepContext:
    return StepContext(tmp_path, samples)


def _run(path: Path, x: Any = None) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    value = np.linspace(-1, 1, 64, dtype=np.float32)[None] if x is None else x
    return session.run(None, {session.get_inputs()[0].name: value})[0]


def _cosine(a: Any, b: Any) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def test_static_quantisation_streams_its_samples_once(mlp: Path, tmp_path: Path) -> None:
    samples = _Samples(37)
    report = int8_static.run(mlp, tmp_path / "q.onnx", int8_static.Options(), _context(tmp_path, samples))
    assert (report.changed, report.total) == (2, 2)
    assert samples.passes == 1
    assert _cosine(_run(tmp_path / "q.onnx"), _run(mlp)) > 0.995
    assert report.figures["calibration_samples"] == 37


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
@pytest.mark.parametrize("layout", ["qdq", "qoperator"])
def test_every_way_of_static_quantisation_runs(method: Any, layout: Any, mlp: Path, tmp_path: Path) -> None:
    options = int8_static.Options(method=method, layout=layout, percentile=99.9)
    int8_static.run(mlp, tmp_path / "q.onnx", options, _context(tmp_path, _Samples()))
    assert _cosine(_run(tmp_path / "q.onnx"), _run(mlp)) > 0.97
    assert (tmp_path / "q.onnx").stat().st_size < 0.5 * mlp.stat().st_size


def test_dynamic_quantisation_changes_products_and_names_what_it_left(mlp: Path, tmp_path: Path) -> None:
    report = int8_dynamic.run(mlp, tmp_path / "q.onnx", int8_dynamic.Options(), _context(tmp_path))
    assert (report.changed, report.total) == (2, 2)
    assert _cosine(_run(tmp_path / "q.onnx"), _run(mlp)) > 0.99
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    conv = _model(tmp_path / "conv.onnx", nodes, [_tensor("w", 4, 3, 3, 3)], inputs=inputs)
    report = int8_dynamic.run(conv, tmp_path / "c.onnx", int8_dynamic.Options(), _context(tmp_path))
    assert report.sentence == "0 of 1 weights changed"
    assert "Conv" in report.warnings[0]


@pytest.mark.parametrize(
    ("options", "least"),
    [
        (weight_only.Options(), 0.999),
        (weight_only.Options(bits=4), 0.97),
        (weight_only.Options(kernel="onnxruntime", bits=8), 0.999),
        (weight_only.Options(kernel="onnxruntime", bits=4), 0.97),
    ],
)
def test_weights_in_few_bits(options: weight_only.Options, least: float, mlp: Path, tmp_path: Path) -> None:
    report = weight_only.run(mlp, tmp_path / "q.onnx", options, _context(tmp_path))
    assert (report.changed, report.total) == (2, 2)
    assert canonical.loads(tmp_path / "q.onnx") == ""
    assert _cosine(_run(tmp_path / "q.onnx"), _run(mlp)) > least
    assert (tmp_path / "q.onnx").stat().st_size < (0.2 if options.bits == 4 else 0.35) * mlp.stat().st_size


def test_half_precision_keeps_inputs_or_not(mlp: Path, tmp_path: Path) -> None:
    report = fp16.run(mlp, tmp_path / "a.onnx", fp16.Options(), _context(tmp_path))
    assert (report.changed, report.total) == (2, 2)
    assert np.allclose(_run(tmp_path / "a.onnx"), _run(mlp), atol=0.1)
    fp16.run(mlp, tmp_path / "b.onnx", fp16.Options(keep_io_types=False), _context(tmp_path))
    assert _run(tmp_path / "b.onnx", np.zeros((1, 64), np.float16)).dtype == np.float16
    fp16.run(mlp, tmp_path / "c.onnx", fp16.Options(arithmetic="float"), _context(tmp_path))
    assert np.allclose(_run(tmp_path / "c.onnx"), _run(mlp), atol=0.1)


def test_half_precision_says_what_it_clips(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.full((64, 8), 1e6, np.float32), "w")
    path = _model(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], [weight])
    report = fp16.run(path, tmp_path / "h.onnx", fp16.Options(), _context(tmp_path))
    assert "1 weights exceed" in report.warnings[0]


def test_pruning_reaches_its_sparsity_and_compresses(mlp: Path, tmp_path: Path) -> None:
    for scope in ("global", "layer"):
        options = prune.Options(sparsity=0.5, scope=scope)
        report = prune.run(mlp, tmp_path / "p.onnx", options, _context(tmp_path))
        assert report.figures["sparsity"] == pytest.approx(0.5, abs=0.01)
        assert int(report.figures["zlib_bytes"]) < 0.75 * mlp.stat().st_size
    report = prune.run(mlp, tmp_path / "p.onnx", prune.Options(scope="2:4"), _context(tmp_path))
    weight = onnx_file.array(onnx_file.float_weights(onnx_file.load(tmp_path / "p.onnx"))["w1"])
    assert ((weight.reshape(128, -1, 4) != 0).sum(axis=2) == 2).all()


@pytest.mark.parametrize(
    ("bits", "storage", "share"), [(4, "table", 0.2), (6, "table", 0.35), (4, "dense", 1.01)]
)
def test_clusters_have_as_many_values_as_asked(
    bits: Any, storage: Any, share: float, mlp: Path, tmp_path: Path
) -> None:
    report = cluster.run(
        mlp, tmp_path / "c.onnx", cluster.Options(bits=bits, storage=storage), _context(tmp_path)
    )
    assert report.changed == 2
    assert _cosine(_run(tmp_path / "c.onnx"), _run(mlp)) > 0.97
    assert (tmp_path / "c.onnx").stat().st_size < share * mlp.stat().st_size
    if storage == "dense":
        weight = onnx_file.array(onnx_file.float_weights(onnx_file.load(tmp_path / "c.onnx"))["w1"])
        assert len(np.unique(weight)) <= 2**bits


def test_kmeans_finds_well_separated_values() -> None:
    values = np.repeat(np.array([-3.0, 0.5, 2.0, 9.0], np.float32), 50)
    book, index = cluster.kmeans(values, 4)
    assert np.allclose(book, [-3, 0.5, 2, 9])
    assert np.array_equal(book[index], values)


def test_canonical_form_of_an_old_file(tmp_path: Path) -> None:
    """Weights among the inputs, opset 8, a [1, N] bias: as CNTK wrote them."""
    weight, bias = _tensor("w", 64, 10), _tensor("b", 1, 10)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 64]), ("w", [64, 10]), ("b", [1, 10]))
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])]
    path = _model(tmp_path / "old.onnx", nodes, [weight, bias], inputs=inputs, outputs=outputs, opset=8)
    report = canonical.run(path, tmp_path / "new.onnx", canonical.Options(), _context(tmp_path))
    model = onnx.load(tmp_path / "new.onnx")
    assert onnx_file.opset(model) == 17
    assert [entry.name for entry in model.graph.input] == ["x"]
    assert report.figures["opset"] == 17
    x = _rng.normal(size=(1, 64)).astype(np.float32)
    expected = x @ numpy_helper.to_array(weight) + numpy_helper.to_array(bias)
    assert np.allclose(_run(tmp_path / "new.onnx", x), expected, atol=1e-4)
    int8_static.run(
        tmp_path / "new.onnx", tmp_path / "q.onnx", int8_static.Options(), _context(tmp_path, _Samples())
    )
    assert canonical.loads(tmp_path / "q.onnx") == ""


def test_weights_in_branches_are_found(tmp_path: Path) -> None:
    def branch(name: str) -> Any:
        value = numpy_helper.from_array(_rng.normal(size=(64, 16)).astype(np.float32))
        nodes = [
            helper.make_node("Constant", [], [f"{name}_w"], value=value),
            helper.make_node("MatMul", ["x", f"{name}_w"], [f"{name}_y"]),
        ]
        return helper.make_graph(
            nodes, name, [], [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)]
        )

    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    path = _model(tmp_path / "if.onnx", [node], [], inputs=inputs)
    canonical.run(path, tmp_path / "c.onnx", canonical.Options(simplify=False), _context(tmp_path))
    report = weight_only.run(
        tmp_path / "c.onnx", tmp_path / "w.onnx", weight_only.Options(), _context(tmp_path)
    )
    assert (report.changed, report.total) == (2, 2)
    assert canonical.loads(tmp_path / "w.onnx") == ""
    with pytest.raises(RefusedError, match="sub-graphs"):
        int8_static.run(
            tmp_path / "c.onnx", tmp_path / "q.onnx", int8_static.Options(), _context(tmp_path, _Samples())
        )


def test_what_is_quantised_already_is_refused(mlp: Path, tmp_path: Path) -> None:
    int8_static.run(mlp, tmp_path / "q.onnx", int8_static.Options(), _context(tmp_path, _Samples()))
    with pytest.raises(RefusedError, match="quantised already"):
        fp16.run(tmp_path / "q.onnx", tmp_path / "h.onnx", fp16.Options(), _context(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"<html>404</html>"])
def test_files_that_are_no_models(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ModelError):
        canonical.run(tmp_path / "bad.onnx", tmp_path / "out.onnx", canonical.Options(), _context(tmp_path))


def test_renaming(mlp: Path, tmp_path: Path) -> None:
    options = edits.RenameOptions(names={"x": "image", "y": "scores", "first": "dense", "w1": "kernel"})
    edits.rename(mlp, tmp_path / "r.onnx", options, _context(tmp_path))
    model = onnx.load(tmp_path / "r.onnx")
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("image", "scores")
    assert model.graph.node[0].name == "dense"
    assert np.array_equal(_run(tmp_path / "r.onnx"), _run(mlp))
    for names in ({"nope": "z"}, {"x": "y"}, {"x": ""}, {"x": "z", "y": "z"}):
        with pytest.raises(RecipeError):
            edits.rename(mlp, tmp_path / "e.onnx", edits.RenameOptions(names=names), _context(tmp_path))
    assert not (tmp_path / "e.onnx").exists()


def test_dimensions_are_fixed_and_freed(mlp: Path, tmp_path: Path) -> None:
    options = edits.DimensionOptions(dimensions={"N": 2})
    edits.set_dimensions(mlp, tmp_path / "two.onnx", options, _context(tmp_path))
    model = onnx.load(tmp_path / "two.onnx")
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [2, 64]
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [2, 40]
    freed = edits.DimensionOptions(inputs={"x": ("batch", 64)})
    edits.set_dimensions(tmp_path / "two.onnx", tmp_path / "free.onnx", freed, _context(tmp_path))
    assert _run(tmp_path / "free.onnx", np.zeros((7, 64), np.float32)).shape == (7, 40)
    for bad in (
        {"dimensions": {"M": 1}},
        {"dimensions": {"N": 0}},
        {"inputs": {"x": (1,)}},
        {"inputs": {"z": (1, 64)}},
    ):
        with pytest.raises(RecipeError):
            edits.set_dimensions(mlp, tmp_path / "e.onnx", edits.DimensionOptions(**bad), _context(tmp_path))
    narrow = edits.DimensionOptions(inputs={"x": (1, 63)})
    with pytest.raises(RefusedError, match="does not take"):
        edits.set_dimensions(mlp, tmp_path / "e.onnx", narrow, _context(tmp_path))


def test_a_part_is_cut_out(mlp: Path, tmp_path: Path) -> None:
    options = edits.ExtractOptions(inputs=("r",), outputs=("y",))
    report = edits.extract(mlp, tmp_path / "part.onnx", options, _context(tmp_path))
    assert report.notes == ("2 nodes kept",)
    r = np.ones((1, 128), np.float32)
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(mlp).graph.initializer}
    assert np.allclose(_run(tmp_path / "part.onnx", r), r @ weights["w2"] + weights["b2"], atol=1e-4)
    names = {t.name for t in onnx.load(tmp_path / "part.onnx").graph.initializer}
    assert names == {"w2", "b2"}
    edits.extract(mlp, tmp_path / "head.onnx", edits.ExtractOptions(outputs=("r",)), _context(tmp_path))
    assert _run(tmp_path / "head.onnx").shape == (1, 128)
    with pytest.raises(RecipeError, match="also needs `x`"):
        edits.extract(
            mlp, tmp_path / "e.onnx", edits.ExtractOptions(inputs=("m",), outputs=("h",)), _context(tmp_path)
        )
    with pytest.raises(RecipeError, match="no tensor"):
        edits.extract(mlp, tmp_path / "e.onnx", edits.ExtractOptions(outputs=("yy",)), _context(tmp_path))


def test_outputs_are_dropped_with_what_they_needed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("MatMul", ["x", "w"], ["b"])]
    outputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("a", ["N", 64]), ("b", ["N", 9]))
    ]
    path = _model(tmp_path / "two.onnx", nodes, [_tensor("w", 64, 9)], outputs=outputs)
    edits.drop_outputs(path, tmp_path / "one.onnx", edits.DropOptions(outputs=("b",)), _context(tmp_path))
    model = onnx.load(tmp_path / "one.onnx")
    assert [output.name for output in model.graph.output] == ["a"]
    assert not model.graph.initializer
    for names in (("a", "b"), ("c",)):
        with pytest.raises(RecipeError):
            edits.drop_outputs(
                path, tmp_path / "e.onnx", edits.DropOptions(outputs=names), _context(tmp_path)
            )


def test_opsets_are_converted_or_refused(mlp: Path, tmp_path: Path) -> None:
    edits.convert_opset(mlp, tmp_path / "o.onnx", edits.OpsetOptions(opset=21), _context(tmp_path))
    assert onnx_file.opset(onnx.load(tmp_path / "o.onnx")) == 21
    assert np.allclose(_run(tmp_path / "o.onnx"), _run(mlp), atol=1e-5)
    node = helper.make_node("LayerNormalization", ["x", "s"], ["y"])
    path = _model(tmp_path / "ln.onnx", [node], [_tensor("s", 64)])
    with pytest.raises(EdgeStudioError):
        edits.convert_opset(path, tmp_path / "e.onnx", edits.OpsetOptions(opset=9), _context(tmp_path))


def test_functions_of_a_model_survive_another_opset(tmp_path: Path) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["c"])]
    function = helper.make_function("own", "Folded", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    path = _model(tmp_path / "f.onnx", [helper.make_node("Folded", ["x"], ["y"], domain="own")], [])
    model = onnx.load(path)
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, path)
    edits.convert_opset(path, tmp_path / "o.onnx", edits.OpsetOptions(opset=21), _context(tmp_path))
    assert [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node] == ["Relu", "Neg"]
    assert np.allclose(_run(tmp_path / "o.onnx"), _run(path))
