"""The peak of activations: what is counted, and what is a weight in another form."""

from __future__ import annotations

from edgestudio.model.graph import Graph, Node, Tensor
from edgestudio.model.totals.memory import peak


def _graph(nodes: list[Node]) -> Graph:
    tensors = (
        Tensor("x", "float32", (10,)),
        Tensor("stored", "int8", (1000,), "constant"),
        Tensor("weight", "float32", (1000,)),
        Tensor("y", "float32", (10,)),
        Tensor("noise", "float32", (1000,)),
    )
    return Graph("main", tuple(nodes), tensors, (0,), (3,))


def test_a_weight_that_is_dequantised_is_no_activation() -> None:
    made = _graph([Node("d", "DequantizeLinear", (1,), (2,)), Node("m", "MatMul", (0, 2), (3,))])
    assert peak(made, [40, 1000, 4000, 40, 4000]).size_bytes == 80


def test_what_is_random_is_an_activation_though_it_reads_weights_alone() -> None:
    made = _graph([Node("r", "RandomNormalLike", (1,), (4,)), Node("m", "MatMul", (0, 4), (3,))])
    assert peak(made, [40, 1000, 4000, 40, 4000]).size_bytes == 4080
