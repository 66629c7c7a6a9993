"""Weights are held beside each other as what they stand for: reordered, quantised, with normalisations folded in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgestudio.model.diff import compare
from edgestudio.model.graph import Graph, Model, Node, Quantization, Tensor


def loaders(**values: Any) -> Any:
    return {name: (lambda value=value: value) for name, value in values.items()}


def model(of: str, nodes: list[Node], tensors: list[Tensor]) -> Model:
    return Model(of, None, None, {}, (Graph("", tuple(nodes), tuple(tensors), (0,), (len(tensors) - 1,)),), 0)


def conv(of: str, op: str, shape: tuple[int, ...], name: str = "w") -> Model:
    tensors = [
        Tensor("x", "float32", None, "input"),
        Tensor(name, "float32", shape, "constant"),
        Tensor("y", "float32"),
    ]
    return model(of, [Node("c", op, (0, 1), (2,))], tensors)


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (8, 4, 3, 5), (3, 3, 3, 3)])
def test_the_order_of_dimensions_does_not_count(shape: tuple[int, ...]) -> None:
    kernel = np.random.default_rng(1).normal(size=shape)
    other = kernel.transpose(0, 2, 3, 1)
    a, b = conv("onnx", "Conv", shape), conv("tflite", "CONV_2D", other.shape)
    assert compare(a, b, loaders(w=kernel), loaders(w=other))["changed"] == []
    (row,) = compare(a, b, loaders(w=kernel), loaders(w=other * 1.1))["changed"]
    assert row["weights"][0]["relative"] == pytest.approx(0.1)
    assert row["weights"][0]["cosine"] == pytest.approx(1.0)


def test_a_dequantised_weight_is_the_operators_own() -> None:
    kernel = np.array([[[[0.5]], [[-1.27]]]])
    tensors = [
        Tensor("x", "float32", None, "input"),
        Tensor("q", "int8", (1, 2, 1, 1), "constant", None, Quantization((0.01,), (0,), None, "int8")),
        Tensor("scale", "float32", (), "constant"),
        Tensor("dq", "float32", (1, 2, 1, 1)),
        Tensor("y", "float32"),
    ]
    nodes = [Node("d", "DequantizeLinear", (1, 2), (3,)), Node("c", "Conv", (0, 3), (4,))]
    quantised = np.array([[[[51]], [[-127]]]], np.int8)
    result = compare(
        conv("onnx", "Conv", (1, 2, 1, 1)),
        model("onnx", nodes, tensors),
        loaders(w=kernel),
        loaders(q=quantised),
    )
    (row,) = result["changed"]
    (weight,) = row["weights"]
    assert weight["dtype"] == ["float32", "int8"]
    assert weight["max_abs"] == pytest.approx(0.01)
    assert [(each["op"], each.get("role")) for each in result["added"]] == [
        ("DequantizeLinear", "quantisation")
    ]


def test_a_normalisation_that_was_folded_is_folded_before() -> None:
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(4, 2, 3, 3))
    gamma, beta, mean, variance = (
        rng.normal(size=4),
        rng.normal(size=4),
        rng.normal(size=4),
        rng.uniform(1, 2, 4),
    )
    names = ("x", "w", "y", "gamma", "beta", "mean", "variance", "z")
    tensors = [
        Tensor(name, "float32", (4, 2, 3, 3) if name == "w" else (4,) if len(name) > 1 else None,
               "constant" if name == "w" or len(name) > 1 else "activation")
        for name in names
    ]  # fmt: skip
    nodes = [
        Node("c", "Conv", (0, 1), (2,)),
        Node("n", "BatchNormalization", (2, 3, 4, 5, 6), (7,), {"epsilon": 0.001}),
    ]
    factor = gamma / np.sqrt(variance + 0.001)
    folded = (kernel * factor[:, None, None, None]).transpose(0, 2, 3, 1)
    held = loaders(w=kernel, gamma=gamma, beta=beta, mean=mean, variance=variance)
    result = compare(
        model("onnx", nodes, tensors), conv("tflite", "CONV_2D", (4, 3, 3, 2)), held, loaders(w=folded)
    )
    assert result["changed"] == []
    assert [(row["op"], row["into"]) for row in result["removed"]] == [("BatchNormalization", "c")]


def test_branches_of_one_size_are_told_apart_by_their_weights() -> None:
    rng = np.random.default_rng(3)
    kernels = [rng.normal(size=(4, 4, 3, 3)) * (1 + at) for at in range(3)]

    def branches(of: str, op: str, order: list[int]) -> tuple[Model, Any]:
        tensors, nodes, values = [Tensor("x", "float32", None, "input")], [], {}
        for at, which in enumerate(order):
            value = kernels[which] if of == "onnx" else kernels[which].transpose(0, 2, 3, 1)
            values[f"w{at}"] = value
            tensors += [Tensor(f"w{at}", "float32", value.shape, "constant"), Tensor(f"y{at}", "float32")]
            nodes.append(Node(f"{of}{at}", op, (0, len(tensors) - 2), (len(tensors) - 1,)))
        return model(of, nodes, tensors), loaders(**values)

    a, of_a = branches("onnx", "Conv", [0, 1, 2])
    b, of_b = branches("tflite", "CONV_2D", [2, 0, 1])
    result = compare(a, b, of_a, of_b)
    assert result["pairs"] == [[0, 1], [1, 2], [2, 0]]
    assert result["changed"] == []
