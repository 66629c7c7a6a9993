"""Reads the layers of a Core ML neural network, with the shapes of their weights."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from edgestudio.model.building import GraphBuilder
from edgestudio.model.graph import Dimension, Node, Quantization
from edgestudio.model.message import Message

_WEIGHTS = "WeightParams"
_MAX_LIST, _SMALL_COUNT = 4096, 64


class Stored(NamedTuple):
    """A weight as the file holds it, with the shape that its layer gives it."""

    message: Message
    dtype: str
    shape: tuple[int, ...]


def read_layers(
    builder: GraphBuilder, network: Message, schema: dict[str, Any], places: dict[str, Stored] | None = None
) -> None:
    """Add every layer of the network message to the builder, and to `places` where each weight is."""
    places = {} if places is None else places
    known = schema["messages"]["NeuralNetworkLayer"]
    for layer in network.messages(1):
        name = layer.text(1)
        number = next((number for number in layer.numbers() if number >= 100), 0)
        op, _, kind = (known.get(str(number)) or [f"layer {number}", "m", ""])[:3]
        inputs = [builder.find(text) for text in layer.texts(2)]
        outputs = [builder.find(text) for text in layer.texts(3)]
        _declared(builder, layer, outputs)
        attributes: dict[str, Any] = {}
        params = layer.message(number) if number else None
        weights: list[int] = []
        if params is not None:
            weights = _Params(builder, schema, name, places).read(params, kind, attributes)
        node = Node(
            name, op, (*inputs, *weights), tuple(outputs), attributes, "", name.strip("/").rpartition("/")[0]
        )
        builder.nodes.append(node)
        for index in outputs:
            builder.describe(index, builder.dtypes[index] or "float32")


def _declared(builder: GraphBuilder, layer: Message, outputs: list[int]) -> None:
    """Take over output shapes that the file gives."""
    for index, tensor in zip(outputs, layer.messages(5), strict=False):
        sizes = tensor.integers(2)
        if sizes:
            shape: tuple[Dimension, ...] = tuple(size if size > 0 else None for size in sizes)
            builder.describe(index, "float32", shape)


class _Params:
    """The parameters of one layer: plain ones become attributes, weights become constants."""

    def __init__(
        self, builder: GraphBuilder, schema: dict[str, Any], layer: str, places: dict[str, Stored]
    ) -> None:
        self.places = places
        self.builder = builder
        self.schema = schema
        self.layer = layer
        self.weights: list[int] = []

    def read(self, message: Message, kind: str, attributes: dict[str, Any], depth: int = 0) -> list[int]:
        """Fill `attributes`; returns the tensor indices of the weights, the kernel first."""
        fields = self.schema["messages"].get(kind, {})
        # What a weight's shape follows from may stand behind it.
        known = [(number, fields[str(number)]) for number in message.numbers() if str(number) in fields]
        for number, (name, code, *inner) in sorted(known, key=lambda each: each[1][2:] == [_WEIGHTS]):
            if code == "m" and inner == [_WEIGHTS]:
                weight = message.message(number)
                if weight is not None:
                    self._weight(name, weight, attributes)
            elif code == "m" and depth < 6:
                self._nested(name, message, number, inner, attributes, depth)
            elif code == "*m" and inner == ["BorderAmounts.EdgeSizes"]:
                edges = [(edge.integer(1), edge.integer(2)) for edge in message.messages(number)]
                attributes[name] = [list(edge) for edge in edges[:_MAX_LIST]]
            elif code == "*m" and name == "weightParams" and inner and depth < 6:
                for direction in message.messages(number):
                    self.read(direction, inner[0], dict(attributes), depth + 1)
            elif code == "*m":
                attributes[name] = f"{len(message.views(number))} entries"
            else:
                attributes[name] = self._plain(message, number, code, inner)
        return self.weights

    def _nested(
        self,
        name: str,
        message: Message,
        number: int,
        inner: list[str],
        attributes: dict[str, Any],
        depth: int,
    ) -> None:
        nested = message.message(number)
        if nested is None:
            return
        # Weights inside of a message take their sizes from the layer around it.
        values: dict[str, Any] = dict(attributes) if name == "weightParams" else {}
        self.read(nested, inner[0] if inner else "", values, depth + 1)
        attributes[name] = values or True

    def _plain(self, message: Message, number: int, code: str, inner: list[str]) -> Any:
        if code == "s":
            return message.text(number)
        if code == "b":
            return bool(message.integer(number))
        if code == "e":
            value = message.integer(number)
            return self.schema["enums"].get(inner[0], {}).get(str(value), value) if inner else value
        if code == "i":
            return message.integer(number)
        if code in ("f", "d"):
            return message.real(number)
        if code == "*b":
            return [bool(value) for value in message.integers(number)[:_MAX_LIST]]
        if code == "*i":
            return message.integers(number)[:_MAX_LIST]
        if code in ("*f", "*d"):
            return message.reals(number, double=code == "*d")[:_MAX_LIST]
        return message.texts(number)[:_MAX_LIST] if code == "*s" else None

    def _weight(self, name: str, weight: Message, attributes: dict[str, Any]) -> None:
        count, dtype, size, quantization = _stored(weight)
        if count == 0:
            return
        shape = _weight_shape(name, count, attributes)
        shown = f"{self.layer}.{name}"
        if shown in self.places:  # the backward half of a layer that reads both ways
            shown = f"{shown} ({sum(key.startswith(shown) for key in self.places) + 1})"
        self.places[shown] = Stored(weight, dtype, shape)
        index = self.builder.add(shown, dtype, shape, "constant", size)
        if quantization is not None:
            self.builder.quantizations[index] = quantization
        if dtype == "float32" and count <= _SMALL_COUNT:  # sizes are numbers of this type here as well
            numbers = weight.reals(1)
            self.builder.values[index] = tuple(int(n) if n == n // 1 else n for n in numbers)
        self.weights.append(index)


def _stored(weight: Message) -> tuple[int, str, int, Quantization | None]:
    """Number of elements, type, bytes and quantisation of a WeightParams."""
    for number, dtype, width in ((1, "float32", 4), (2, "float16", 2), (31, "int8", 1)):
        size = sum(len(view) for view in weight.views(number))
        if size:
            return size // width, dtype, size, None
    size = sum(len(view) for view in weight.views(30))
    quantization = weight.message(40)
    bits = quantization.integer(1) if quantization is not None else 8
    if not size or quantization is None or not 1 <= bits <= 16:
        return 0, "", 0, None
    dtype = f"uint{bits}"
    linear = quantization.message(101)
    if linear is None:
        return size * 8 // bits, dtype, size, Quantization((), (), None, f"{dtype} look-up table")
    scale, bias = linear.reals(1), linear.reals(2)
    zero = tuple(round(-b / s) if s else 0 for s, b in zip(scale, bias or [0.0] * len(scale), strict=False))
    return (
        size * 8 // bits,
        dtype,
        size,
        Quantization(tuple(scale), zero, 0 if len(scale) > 1 else None, dtype),
    )


def _weight_shape(name: str, count: int, attributes: dict[str, Any]) -> tuple[int, ...]:
    """The shape of a kernel from the layer's other parameters, when they multiply to its size."""
    if name == "weights" and "kernelDepth" in attributes:
        kernel = [attributes[f"kernel{axis}"] for axis in ("Depth", "Height", "Width")]
        groups, ins, outs = (
            attributes.get("nGroups") or 1,
            attributes["inputChannels"],
            attributes["outputChannels"],
        )
        is_turned = attributes.get("isDeconvolution", False)
        wide = (ins, outs // groups, *kernel) if is_turned else (outs, ins // groups, *kernel)
        return wide if math.prod(wide) == count else (count,)
    if name == "weights" and "outputChannels" in attributes:
        outs = attributes["outputChannels"]
        if "inputChannels" in attributes:
            shape: tuple[int, ...] = (outs, attributes["inputChannels"])
        else:
            groups = attributes.get("nGroups") or 1
            kernel = attributes.get("kernelSize") or [3, 3]
            channels = attributes.get("kernelChannels", 1)
            is_turned = attributes.get("isDeconvolution", False)
            shape = (channels, outs // groups, *kernel) if is_turned else (outs, channels, *kernel)
        product = 1
        for size in shape:
            product *= size
        if product == count:
            return shape
    sizes = (attributes.get("outputVectorSize"), attributes.get("inputVectorSize"))
    if all(isinstance(size, int) and size > 0 for size in sizes) and name.endswith("Matrix"):
        for width in sizes:
            if isinstance(width, int) and count == (sizes[0] or 0) * width:
                return (sizes[0] or 0, width)
    return (count,)
