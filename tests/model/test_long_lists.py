"""Tree ensembles: an ONNX operator whose attributes are lists of many thousands of numbers and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper

from edgestudio.model.compare.diff import compare
from edgestudio.model.formats.onnx_skeleton import skeleton
from edgestudio.model.graph import Model
from edgestudio.model.inspection import inspect_file
from edgestudio.model.reading import read_model
from edgestudio.runtime.scan.scan import scan_model
from edgestudio.wire.errors import ModelError
from tests.runtime.test_protobuf import varint

COUNT = 30_000


def lists() -> dict[str, list[Any]]:
    numbers = np.random.default_rng(1)
    return {
        "nodes_nodeids": list(range(COUNT)),
        "nodes_featureids": numbers.integers(-(2**62), 2**62, COUNT).tolist(),
        "nodes_values": numbers.random(COUNT).astype(np.float32).tolist(),
        "nodes_modes": ["LEAF" if at % 3 else "BRANCH_LEQ" for at in range(COUNT)],
        "post_transform_names": ["SOFTMAX"] * 40,
    }


def packed(attribute: AttributeProto) -> bytes:
    """The attribute as writers of proto3 put it: its numbers in one piece."""
    body = b"".join(varint(number) for number in attribute.ints)
    field = varint(8 << 3 | 2) + varint(len(body)) + body if attribute.ints else b""
    if attribute.floats:
        body = np.array(attribute.floats, "<f4").tobytes()
        field = varint(7 << 3 | 2) + varint(len(body)) + body
    rest = AttributeProto()
    rest.CopyFrom(attribute)
    del rest.ints[:], rest.floats[:]
    return field + rest.SerializeToString()


def ensemble(path: Path, is_packed: bool = False, **changes: list[Any]) -> Path:
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], "trees", domain="ai.onnx.ml", n_targets=1)
    attributes = [helper.make_attribute(name, values) for name, values in {**lists(), **changes}.items()]
    if not is_packed:
        node.attribute.extend(attributes)
    graph = helper.make_graph(
        [], "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
    )  # fmt: skip
    written = node.SerializeToString()
    if is_packed:
        for attribute in attributes:
            body = packed(attribute)
            written += varint(5 << 3 | 2) + varint(len(body)) + body
    graph_bytes = varint(1 << 3 | 2) + varint(len(written)) + written + graph.SerializeToString()
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = onnx.ModelProto(ir_version=8, opset_import=opsets).SerializeToString()
    path.write_bytes(model + varint(7 << 3 | 2) + varint(len(graph_bytes)) + graph_bytes)
    return path


def attributes(model: Model) -> dict[str, Any]:
    return dict(model.main.nodes[0].attributes)


@pytest.mark.parametrize("is_packed", [False, True])
def test_long_lists_are_told_by_length_beginning_and_digest(tmp_path: Path, is_packed: bool) -> None:
    path = ensemble(tmp_path / "trees.onnx", is_packed)
    assert onnx.load(path).graph.node[0].attribute[1].name == "nodes_nodeids"
    told = attributes(read_model(path))
    for name, values in lists().items():
        if len(values) <= 4096:
            assert told[name] == values
            continue
        assert told[name]["length"] == COUNT
        assert told[name]["first"] == values[:64]
    assert inspect_file(path)["outputs"] == [{"name": "y", "dtype": "float32", "shape": ["N", 1]}]
    assert scan_model(path).nodes == 1


def test_what_a_library_reads_of_the_copy_without_weights_is_the_same(tmp_path: Path) -> None:
    for is_packed in (False, True):
        path = ensemble(tmp_path / "trees.onnx", is_packed)
        copy = onnx.load_model_from_string(skeleton(memoryview(path.read_bytes())))
        assert copy == onnx.load(path)


def test_lists_of_subgraphs_and_tensors_are_still_followed(tmp_path: Path) -> None:
    tensors = [helper.make_tensor(f"t{at}", TensorProto.FLOAT, [500], [0.0] * 500) for at in range(60)]
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "r" * 2000)], "body", [], [])
    node = helper.make_node("Made", ["x"], ["y"], domain="made", tensors=tensors, bodies=[body] * 60)
    graph = helper.make_graph([node], "made", [], [])
    path = tmp_path / "made.onnx"
    onnx.save(helper.make_model(graph), path)
    assert len(read_model(path).graphs) == 61
    copy = onnx.load_model_from_string(skeleton(memoryview(path.read_bytes())))
    copied = {each.name: each for each in copy.graph.node[0].attribute}
    assert [each.name for each in copied["tensors"].tensors] == [each.name for each in tensors]
    assert not any(each.float_data for each in copied["tensors"].tensors)
    assert len(copied["bodies"].graphs) == 60


def test_a_difference_deep_in_a_long_list_is_a_change(tmp_path: Path) -> None:
    values = lists()["nodes_values"]
    values[-1] += 1.0
    names = lists()["nodes_modes"]
    names[-2:] = ["LEA", "FLEAF"]
    before = read_model(ensemble(tmp_path / "a.onnx"))
    after = read_model(ensemble(tmp_path / "b.onnx", nodes_values=values, nodes_modes=names))
    (row,) = compare(before, after)["changed"]
    assert sorted(row["attributes"]) == ["nodes_modes", "nodes_values"]
    same = read_model(ensemble(tmp_path / "c.onnx", is_packed=True))
    assert compare(before, same)["identical"]


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_list_that_ends_too_soon_or_claims_too_much(tmp_path: Path, is_packed: bool) -> None:
    whole = ensemble(tmp_path / "trees.onnx", is_packed).read_bytes()
    broken = tmp_path / "broken.onnx"
    for cut in (len(whole) // 3, len(whole) - 7):
        broken.write_bytes(whole[:cut])
        with pytest.raises(ModelError, match=r"damaged|cut short"):
            read_model(broken)
    at = whole.index(b"nodes_modes")
    sizes = whole.index(b"\x4a\x04LEAF", at)
    broken.write_bytes(whole[:sizes] + b"\x4a\xff\xff\xff\xff\x0fLEAF" + whole[sizes + 10 :])
    with pytest.raises(ModelError, match="damaged"):
        read_model(broken)
