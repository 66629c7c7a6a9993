"""The sketch of an ONNX file has the boxes that the whole reading gives, or there is none; no bytes make it fail."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.generated_graphs import FAMILIES
from edgestudio.model.detect import Recognised, detect
from edgestudio.model.formats.onnx_sketch import sketch
from edgestudio.model.inspection import inspect_job
from edgestudio.model.picture.boxes import Boxes, BoxKind, Names, build_boxes
from edgestudio.model.picture.layout import Layout, lay_out
from edgestudio.model.picture.outline import outline
from edgestudio.model.query import parse
from edgestudio.model.reading import read_model
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Silent
from tests.model.made import convolution, onnx_model

MODELS = os.environ.get("EDGESTUDIO_TEST_MODELS", "")


def same(sketched: Boxes, read: Boxes) -> None:
    """All but the numbers of tensors agree, which a sketch leaves open."""
    operators = read.kind == BoxKind.OPERATOR
    assert (sketched.tensor == -1).all()
    assert (sketched.ref[operators] == read.ref[operators]).all()
    assert sketched.names is not None
    assert read.names is not None
    assert sketched.names.texts() == read.names.texts()
    for column in ("kind", "label", "detail", "width", "height", "source", "target"):
        assert np.array_equal(getattr(sketched, column), getattr(read, column)), column
    assert (sketched.labels, sketched.details, sketched.folded) == (read.labels, read.details, read.folded)


def sketch_of(path: Path) -> Boxes | None:
    return sketch(Recognised("onnx", path, path))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_generated_graphs(tmp_path: Path, family: str) -> None:
    path = tmp_path / "g.onnx"
    onnx.save(FAMILIES[family](400), path)
    found = sketch_of(path)
    assert found is not None
    same(found, build_boxes(read_model(path).main))


def _nodes(*nodes: onnx.NodeProto) -> list[onnx.NodeProto]:
    return list(nodes)


def _shapes(path: Path) -> Path:
    """Shapes of values between, a kernel, an optional input and an optional output left out, a constant part."""
    model = onnx.load(convolution(path))
    graph = model.graph
    graph.node.insert(0, helper.make_node("Identity", ["conv.bias"], ["idle"], "folded"))
    graph.node[1].attribute.append(helper.make_attribute("kernel_shape", [3, 3]))
    graph.node[1].attribute.append(helper.make_attribute("strides", [2, 2]))
    graph.node.append(helper.make_node("Resize", ["r", "", "fc.bias"], ["big", ""], "resize"))
    graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, ["N", 8, 16, 16]))
    onnx.save(model, path)
    return path


def _old_inputs(path: Path) -> Path:
    """Weights among the inputs, as before IR version 4; names of equal length."""
    model = onnx.load(convolution(path))
    for weight in model.graph.initializer:
        value = helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))
        model.graph.input.append(value)
    model.graph.input.append(helper.make_tensor_value_info("fc.biaz", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    return path


def _branches(path: Path) -> Path:
    """A node with graphs of its own is drawn though nothing feeds it; so is one by chance."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["t"])], "b", [], [helper.make_tensor_value_info("t", 1, [1])]
    )
    nodes = _nodes(
        helper.make_node("If", ["flag"], ["i"], "branch", then_branch=body, else_branch=body),
        helper.make_node("RandomNormal", [], ["r"], "chance", shape=[1]),
        helper.make_node("Sum", ["i", "r", "x"], ["y"], "sum"),
    )
    return onnx_model(
        path, nodes, {"x": [1]}, {"y": [1]}, {"flag": np.array(True), "w": np.zeros(1, np.float32)}
    )


def _nothing_fed(path: Path) -> Path:
    """Nothing depends on an input: all of it is drawn."""
    nodes = _nodes(helper.make_node("Neg", ["w"], ["a"], "one"), helper.make_node("Neg", ["a"], ["y"], "two"))
    return onnx_model(path, nodes, {}, {"y": [1]}, {"w": np.zeros(1, np.float32)})


def _long(path: Path) -> Path:
    """Sizes that take two and three bytes, many inputs, a name that is no ASCII, one that is too long to show."""
    parts = [helper.make_node("Relu", ["x"], [f"p{at}"], f"τ{at}" * 40) for at in range(200)]
    whole = helper.make_node("Concat", [f"p{at}" for at in range(200)], ["y" * 50], "n" * 20_000, axis=0)
    return onnx_model(path, [*parts, whole], {"x": [1]}, {"y" * 50: [200]})


@pytest.mark.parametrize("make", [convolution, _shapes, _old_inputs, _branches, _nothing_fed, _long])
def test_what_files_may_hold(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "m.onnx")
    found = sketch_of(path)
    assert found is not None
    same(found, build_boxes(read_model(path).main))


def _unsorted(path: Path) -> Path:
    nodes = _nodes(helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"]))
    return onnx_model(path, nodes, {"x": [1]}, {"y": [1]})


def _written_twice(path: Path) -> Path:
    nodes = _nodes(helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"]))
    return onnx_model(path, nodes, {"x": [1]}, {"y": [1]})


@pytest.mark.parametrize("make", [_unsorted, _written_twice])
def test_what_only_the_reader_understands(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "m.onnx")
    assert sketch_of(path) is None
    result = inspect_job({"path": str(path), "layout": True}, tmp_path, Silent())
    assert Layout.load(Path(result["layout"])).nodes == 2


def test_no_bytes_make_it_fail(tmp_path: Path) -> None:
    whole = _shapes(tmp_path / "m.onnx").read_bytes()
    dice, path = random.Random(7), tmp_path / "broken.onnx"
    for turn in range(400):
        broken = bytearray(whole if turn % 2 else whole[: dice.randrange(len(whole))])
        for _ in range(dice.randrange(4)):
            if broken:
                broken[dice.randrange(len(broken))] = dice.randrange(256)
        path.write_bytes(broken)
        found = sketch_of(path)
        if found is not None:
            lay_out_of = Layout(found, found.width, found.width, np.zeros(len(found.source)))
            assert len(lay_out_of) == len(found)
            assert found.source.size == 0 or 0 <= found.source.min() <= found.source.max() < len(found)


def test_a_file_of_nothing_but_fields_is_left_to_the_reader(tmp_path: Path) -> None:
    nodes = b"\x0a\x00" * 2_100_000
    path = tmp_path / "m.onnx"
    path.write_bytes(
        b"\x3a"
        + bytes(
            [
                len(nodes) & 127 | 128,
                len(nodes) >> 7 & 127 | 128,
                len(nodes) >> 14 & 127 | 128,
                len(nodes) >> 21,
            ]
        )
        + nodes
    )
    assert sketch_of(path) is None


def test_the_picture_comes_first_and_its_places_stay(tmp_path: Path) -> None:
    class Heard(Silent):
        def __init__(self) -> None:
            self.partials: list[tuple[str, Any]] = []

        def partial(self, key: str, value: Any) -> None:
            if key == "layout":
                value = Layout.load(Path(value))
            self.partials.append((key, value))

    heard = Heard()
    path = tmp_path / "m.onnx"
    onnx.save(FAMILIES["transformer"](300), path)
    result = inspect_job({"path": str(path), "layout": True}, tmp_path, heard)
    keys = [key for key, _ in heard.partials]
    assert keys == ["recognised", "recognised", "layout", "recognised", "graph"]
    assert heard.partials[1][1]["nodes"] == heard.partials[3][1]["nodes"] == len(read_model(path).main.nodes)
    early, final = heard.partials[2][1], Layout.load(Path(result["layout"]))
    assert (early.x == final.x).all()
    assert (early.y == final.y).all()
    wanted = lay_out(read_model(path).main)
    assert (final.x == wanted.x).all()
    assert (final.boxes.tensor == wanted.boxes.tensor).all()
    assert (final.boxes.tensor >= 0).all()


def test_names_survive_saving_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    layout = lay_out(read_model(_long(tmp_path / "m.onnx")).main)
    layout.save(tmp_path / "l.npz")
    loaded = Layout.load(tmp_path / "l.npz").boxes.names
    assert loaded is not None
    assert layout.boxes.names is not None
    assert loaded.texts() == layout.boxes.names.texts()
    for names in (
        Names(b"ab", np.array([1], np.int32)),
        Names(b"", loaded.stop),
        Names(loaded.text, -loaded.stop),
    ):
        replace(layout, boxes=replace(layout.boxes, names=names)).save(tmp_path / "bad.npz")
        with pytest.raises(ValueError, match="damaged"):
            Layout.load(tmp_path / "bad.npz")


def test_a_picture_can_be_searched_by_name_and_operator(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(FAMILIES["resnet"](300), path)
    graph, boxes = read_model(path).main, sketch_of(path)
    assert boxes is not None
    for text in ("conv2", "op:Conv name:*layer2*", "op:Add | -op:Conv"):
        query = parse(text)
        assert query.is_of_names
        assert query.matches(outline(boxes)) == query.matches(graph) != []
    for text in ("k>3", "conv shape:*,64", "-attr:axis", "op:Conv | macs>3"):
        assert not parse(text).is_of_names


@pytest.mark.skipif(not MODELS, reason="EDGESTUDIO_TEST_MODELS names no folder of models")
def test_real_files() -> None:
    compared = 0
    for path in sorted(Path(MODELS).rglob("*.onnx")):
        try:
            found = detect(path)
            if found.format != "onnx" or (boxes := sketch(found)) is None:
                continue
            main = read_model(path).main
        except ModelError:
            continue
        same(boxes, build_boxes(main))
        compared += 1
    assert compared >= 10


def test_weights_are_stepped_over(tmp_path: Path) -> None:
    """A weight whose bytes look like its name, and one whose name comes after its bytes."""
    path = convolution(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.frombuffer(b"B\x01x" * 4, np.uint8), "other"))
    onnx.save(model, path)
    found = sketch_of(path)
    assert found is not None
    same(found, build_boxes(read_model(path).main))
    assert (found.kind == BoxKind.INPUT).sum() == 1
