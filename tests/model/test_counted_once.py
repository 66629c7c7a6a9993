"""Weights that a file holds twice, training's leftovers and operators that never run do not count."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edgestudio.model.detect import Recognised
from edgestudio.model.formats import openvino
from edgestudio.model.formats.pickle_text import Made, Named, Stored
from edgestudio.model.formats.state_dict import _without_optimizers
from edgestudio.model.formats.torch_values import placed_below, tensors_below
from edgestudio.model.graph import Graph, Model, Node, Tensor
from edgestudio.model.inspection import inspect_file
from edgestudio.model.statistics import statistics_job
from edgestudio.model.totals.analysis import analyse
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Silent


def _tensor(storage: str, *shape: int) -> Made:
    key = ("storage", Named("torch.FloatStorage"), storage)
    return Made(Named("torch._utils._rebuild_tensor_v2"), (Stored(key), 0, shape, (1,) * len(shape)))


def _network(path: Path, offsets: list[int], shape: str) -> Path:
    """An OpenVINO IR: a constant for each offset, all read by one Concat."""
    size = 4 * math.prod(int(item) for item in shape.split(","))
    constants = "".join(
        f'<layer id="{at}" name="w{at}" type="Const" version="opset1">'
        f'<data element_type="f32" shape="{shape}" offset="{offset}" size="{size}"/>'
        f'<output><port id="0" precision="FP32"/></output></layer>'
        for at, offset in enumerate(offsets)
    )
    ports = "".join(f'<port id="{at}"/>' for at in range(len(offsets)))
    edges = "".join(
        f'<edge from-layer="{at}" from-port="0" to-layer="99" to-port="{at}"/>' for at in range(len(offsets))
    )
    path.write_text(
        f'<net name="n" version="11"><layers>{constants}<layer id="99" name="c" type="Concat" version="opset1">'
        f'<input>{ports}</input><output><port id="9"/></output></layer></layers><edges>{edges}</edges></net>'
    )
    path.with_suffix(".bin").write_bytes(bytes(4096))
    return path


@pytest.mark.parametrize(
    ("shape", "offsets", "expected"),
    [
        ("4,8", [0, 0, 0], 32),  # one matrix, read three times
        ("4,8", [0, 128, 0], 64),
        ("8,1", [0, 0, 0], 24),  # three biases of zeros, which the exporter writes once
    ],
)
def test_a_matrix_in_one_place_is_one_weight(
    tmp_path: Path, shape: str, offsets: list[int], expected: int
) -> None:
    path = _network(tmp_path / "made.xml", offsets, shape)
    assert inspect_file(path)["parameters"] == expected
    graph = openvino.read(Recognised("openvino", path, path)).main
    assert len(graph.nodes[0].inputs) == len(offsets)
    names = {row["name"] for row in statistics_job({"path": str(path)}, tmp_path, Silent())["tensors"]}
    assert names >= {graph.tensors[at].name for at in graph.nodes[0].inputs}


def test_cells_of_a_quantised_recurrent_layer_have_their_weights() -> None:
    def packed(weight: str, bias: str) -> Made:
        found = Made(Named("__torch__.torch.classes.quantized.LinearPackedParamsBase"), ())
        found.state = (_tensor(weight, 16, 4), _tensor(bias, 16))
        return found

    cell = Made(Named("__torch__.torch.classes.rnn.CellParamsBase"), ())
    biases = Made(Named("torch.jit._pickle.build_tensorlist"), ([_tensor("4", 16), _tensor("5", 16)],))
    listed = Made(Named("torch.jit._pickle.restore_type_tag"), ([packed("0", "1"), packed("2", "3")], "List"))
    cell.state = ("quantized_dynamic", biases, [], [], listed)
    shapes = [placed.shape for _, placed in placed_below({"l": cell})]
    assert shapes == [(16, 4), (16,), (16, 4), (16,)]


def test_an_optimizer_is_named_apart() -> None:
    moments = {"state": {0: {"exp_avg": _tensor("1", 4), "step": _tensor("2")}}, "param_groups": []}
    saved = {
        "model": {"w": _tensor("0", 4), "state": _tensor("3", 2)},
        "optimizers": [moments],
        "adam": moments,
    }
    kept, others = _without_optimizers(saved, tensors_below(saved, lambda _: None))
    assert [tensor.name for tensor in kept] == ["model.w", "model.state"]
    assert others == 2  # the one that is held twice is met once


def test_a_file_of_an_optimizer_alone_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "optimizer.pt"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00K\x04\x85K\x01\x85\x89NtR"
    )
    path.write_bytes(
        b"\x80\x02}(X\x05\x00\x00\x00state}K\x00}X\x07\x00\x00\x00exp_avg" + tensor + b"ss"
        b"X\x0c\x00\x00\x00param_groups]u."
    )
    with pytest.raises(ModelError, match="state of an optimizer"):
        inspect_file(path)


def test_what_a_function_never_runs_costs_nothing() -> None:
    tensors = (
        Tensor("x", "float32", (2, 4), "input"), Tensor("w", "float32", (4, 4), "constant"),
        Tensor("y", "float32", (2, 4), "output"), Tensor("unread", "float32", (2, 4)),
        Tensor("kept", "float32", (2, 4)),
    )  # fmt: skip
    nodes = (
        Node("a", "MatMul", (0, 1), (2,)), Node("b", "MatMul", (0, 1), (3,)), Node("c", "MatMul", (0, 1), (4,)),
        Node("d", "AssignVariableOp", (1, 4), ()),
    )  # fmt: skip
    graphs = (Graph("main", nodes, tensors, (0,), (2,)),)
    found = analyse(Model("savedmodel", None, None, {}, graphs, 0))
    assert found.macs == 64
    assert [node.macs for node in found.model.main.nodes] == [32, 0, 32, 0]
    assert analyse(Model("graphdef", None, None, {}, graphs, 0)).macs == 96
