"""Weights are held beside each other as what they stand for: reordered, quantised, with normalisations folded in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgestudio.model.compare.diff import compare
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
    before = model("onnx", nodes, tensors)
    after, made = biased((4, 3, 3, 2)), loaders(w=folded, b=beta - mean * factor)
    for result, key, said in (
        (compare(before, after, held, made), "removed", "into"),
        (compare(after, before, made, held), "added", "from"),
    ):
        assert result["changed"] == []
        assert [(row["op"], row[said]) for row in result[key]] == [("BatchNormalization", "c")]
    off = compare(before, after, held, loaders(w=folded, b=beta - mean * factor + 0.1))
    (row,) = off["changed"]
    assert [(weight["name"], round(weight["max_abs"], 6)) for weight in row["weights"]] == [("b", 0.1)]


def biased(shape: tuple[int, ...]) -> Model:
    """A TFLite convolution with a bias."""
    tensors = [
        Tensor("x", "float32", None, "input"),
        Tensor("w", "float32", shape, "constant"),
        Tensor("b", "float32", shape[:1], "constant"),
        Tensor("y", "float32"),
    ]
    return model("tflite", [Node("c", "CONV_2D", (0, 1, 2), (3,))], tensors)


def test_a_normalisation_that_stays_behind_as_products_and_sums_is_the_same() -> None:
    """A dilated convolution of TensorFlow: the normalisation cannot be folded across its rearranging."""
    rng = np.random.default_rng(4)
    kernel, factor, shift = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4), rng.normal(size=4)
    names = ("x", "w", "y", "gamma", "beta", "mean", "variance", "z")
    sizes = {"w": (4, 2, 3, 3)} | dict.fromkeys(("gamma", "beta", "mean", "variance"), (4,))
    tensors = [
        Tensor(name, "float32", sizes.get(name), "constant" if name in sizes else "activation")
        for name in names
    ]
    nodes = [Node("c", "Conv", (0, 1), (2,)), Node("n", "BatchNormalization", (2, 3, 4, 5, 6), (7,))]
    other = [
        Tensor("x", "float32"), Tensor("w", "float32", (4, 3, 3, 2), "constant"), Tensor("y", "float32"),
        Tensor("t", "float32"), Tensor("f", "float32", (4,), "constant"), Tensor("m", "float32"),
        Tensor("s", "float32", (4,), "constant"), Tensor("z", "float32"),
    ]  # fmt: skip
    apart = [
        Node("c", "CONV_2D", (0, 1), (2,)), Node("t", "BATCH_TO_SPACE_ND", (2,), (3,)),
        Node("m", "MUL", (3, 4), (5,)), Node("a", "ADD", (5, 6), (7,)),
    ]  # fmt: skip
    held = loaders(w=kernel, gamma=factor, beta=shift, mean=np.zeros(4), variance=np.ones(4) - 1e-5)
    made = loaders(w=kernel.transpose(0, 2, 3, 1), f=factor, s=shift)
    result = compare(model("onnx", nodes, tensors), model("tflite", apart, other), held, made)
    assert result["changed"] == []
    assert [row["into"] for row in result["removed"]] == ["c"]
    assert [(row["op"], row.get("from")) for row in result["added"]] == [
        ("BATCH_TO_SPACE_ND", None), ("MUL", "c"), ("ADD", "c"),
    ]  # fmt: skip


def test_an_epsilon_that_tensorflow_raised_explains_what_is_left() -> None:
    rng = np.random.default_rng(5)
    kernel, ones, zeros = rng.normal(size=(4, 2, 3, 3)), np.ones(4), np.zeros(4)
    variance = np.full(4, 1e-6)
    tensors = [
        Tensor("x", "float32"), Tensor("w", "float32", (4, 2, 3, 3), "constant"), Tensor("y", "float32"),
        *(Tensor(name, "float32", (4,), "constant") for name in ("gamma", "beta", "mean", "variance")),
        Tensor("z", "float32"),
    ]  # fmt: skip
    nodes = [
        Node("c", "Conv", (0, 1), (2,)),
        Node("n", "BatchNormalization", (2, 3, 4, 5, 6), (7,), {"epsilon": 1e-5}),
    ]
    folded = (kernel / np.sqrt(1e-6 + 1.001e-5)).transpose(0, 2, 3, 1)
    held = loaders(w=kernel, gamma=ones, beta=zeros, mean=zeros, variance=variance)
    result = compare(
        model("onnx", nodes, tensors), biased((4, 3, 3, 2)), held, loaders(w=folded, b=np.zeros(4))
    )
    (row,) = result["changed"]
    (weight,) = row["weights"]
    assert weight["epsilon"] == [1e-5, 1.001e-5]
    assert 1e-4 < weight["relative"] < 1e-3
    wrong = loaders(w=folded * 1.01, b=np.zeros(4))
    (row,) = compare(model("onnx", nodes, tensors), biased((4, 3, 3, 2)), held, wrong)["changed"]
    assert "epsilon" not in row["weights"][0]


@pytest.mark.parametrize(
    ("of", "op", "attributes", "order"),
    [
        ("keras", "Dense", {}, (1, 0)),
        ("tflite", "FULLY_CONNECTED", {}, (0, 1)),
        ("onnx", "MatMul", {}, (1, 0)),
        ("openvino", "MatMul", {"transpose_b": True}, (0, 1)),
        ("torch-export", "aten.linear.default", {}, (0, 1)),
    ],
)
def test_a_square_matrix_that_was_turned_is_another_one(
    of: str, op: str, attributes: dict[str, Any], order: tuple[int, int]
) -> None:
    """Sizes do not tell a transposed square matrix from a right one; what the operator does with it does."""
    matrix = np.random.default_rng(6).normal(size=(5, 5))

    def product(of: str, op: str, attributes: dict[str, Any]) -> Model:
        tensors = [
            Tensor("x", "float32", (1, 5), "input"), Tensor("w", "float32", (5, 5), "constant"),
            Tensor("y", "float32", (1, 5)),
        ]  # fmt: skip
        return model(of, [Node("d", op, (0, 1), (2,), attributes)], tensors)

    a, b = product("torchscript", "aten::linear", {}), product(of, op, attributes)
    right, wrong = matrix.transpose(order), matrix.transpose(order[::-1])
    assert compare(a, b, loaders(w=matrix), loaders(w=right))["changed"] == []
    assert len(compare(a, b, loaders(w=matrix), loaders(w=wrong))["changed"]) == 1


def test_gates_of_a_recurrent_layer_may_be_in_another_order() -> None:
    rng = np.random.default_rng(7)
    inputs, states, bias = rng.normal(size=(4, 3, 2)), rng.normal(size=(4, 3, 3)), rng.normal(size=(4, 3))

    def layer(of: str, op: str) -> Model:
        tensors = [Tensor("x", "float32", None, "input")]
        tensors += [Tensor(name, "float32", None, "constant") for name in "wrb"]
        return model(of, [Node("l", op, (0, 1, 2, 3), (4,))], [*tensors, Tensor("y", "float32")])

    def flat(order: list[int], change: float = 0.0) -> Any:
        return loaders(
            w=(inputs[order] + change).reshape(12, 2),
            r=states[order].reshape(12, 3),
            b=bias[order].reshape(12),
        )

    def kept(order: list[int]) -> Any:
        doubled = np.concatenate([bias[order].reshape(12), np.zeros(12)])
        return loaders(
            w=inputs[order].reshape(1, 12, 2), r=states[order].reshape(1, 12, 3), b=doubled.reshape(1, 24)
        )

    a, b = layer("torchscript", "aten::lstm"), layer("onnx", "LSTM")
    assert compare(a, b, flat([0, 1, 2, 3]), kept([0, 3, 1, 2]))["changed"] == []
    (row,) = compare(a, b, flat([0, 1, 2, 3], 0.1), kept([0, 3, 1, 2]))["changed"]
    assert [weight["name"] for weight in row["weights"]] == ["w"]


def test_weights_without_values_are_named_and_not_called_the_same() -> None:
    a, b = conv("onnx", "Conv", (2, 2, 1, 1)), conv("tflite", "CONV_2D", (2, 1, 1, 2))
    result = compare(a, b, loaders(w=np.ones((2, 2, 1, 1))), {})
    assert (result["changed"], result["unread"], result["identical"]) == ([], ["w"], False)


def test_lists_of_weights_are_compared_by_name() -> None:
    def listed(**shapes: tuple[int, ...]) -> Model:
        held = tuple(Tensor(name, "complex64", shape, "constant") for name, shape in shapes.items())
        return Model("safetensors", None, None, {}, (), 0, weights=held)

    waves = np.array([1 + 2j, 3 - 1j], np.complex64)
    a, b = listed(w=(2,), gone=(1,), odd=(2,)), listed(w=(2,), new=(1,), odd=(3,))
    result = compare(a, b, loaders(w=waves), loaders(w=waves + 1j))
    assert [row["name"] for row in (*result["added"], *result["removed"])] == ["new", "gone"]
    shape, values = result["changed"]
    assert shape["weights"] == [{"name": "odd", "shape": [[2], [3]]}]
    assert values["weights"][0]["max_abs"] == pytest.approx(1.0)
    assert compare(a, a, loaders(w=waves), loaders(w=waves))["unread"] == ["gone", "odd"]


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


def test_what_is_no_number_is_not_called_the_same() -> None:
    kernel = np.ones((2, 2, 1, 1))
    broken = kernel.copy()
    broken[0, 0] = np.nan
    a = conv("onnx", "Conv", (2, 2, 1, 1))
    (row,) = compare(a, a, loaders(w=kernel), loaders(w=broken))["changed"]
    assert (row["weights"][0]["relative"], row["weights"][0]["max_abs"]) == (1.0, 0.0)
    b = conv("tflite", "CONV_2D", (2, 1, 1, 2))
    turned = broken.transpose(0, 2, 3, 1)
    assert len(compare(a, b, loaders(w=kernel), loaders(w=turned))["changed"]) == 1
    assert compare(a, b, loaders(w=broken), loaders(w=turned))["changed"] == []
