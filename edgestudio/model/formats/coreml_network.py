"""Reads the layers of a Core ML neural network, with the shapes of their weights."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.graph import Dimension, Graph, Node, Quantization
from edgestudio.model.message import Message

_WEIGHTS = "WeightParams"
_CONDITION = "conditionNetwork"
_MAX_LIST, _SMALL_COUNT = 4096, 64


class Stored(NamedTuple):
    """A weight as the file holds it, with the shape that its layer gives it."""

    message: Message
    dtype: str
    shape: tuple[int, ...]


def read_layers(
    builder: GraphBuilder,
    network: Message,
    schema: dict[str, Any],
    places: dict[str, Stored] | None = None,
    graphs: list[Graph] | None = None,
) -> None:
    """Add every layer of the network message to the builder, and to `places` where each weight is.

    The networks inside of loops and branches go to `graphs`. Raises ValueError when they are nested too deeply.
    """
    _Layers(builder, schema, {} if places is None else places, [] if graphs is None else graphs, 0).read(
        network
    )


class _Layers:
    """One network, the main one or one inside of a loop or branch.

    There a layer may write a name again: from then on the name stands for another value.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        schema: dict[str, Any],
        places: dict[str, Stored],
        graphs: list[Graph],
        depth: int,
    ) -> None:
        if depth > MAX_DEPTH:
            raise ValueError("networks are nested too deeply")
        self.builder = builder
        self.schema = schema
        self.places = places
        self.graphs = graphs
        self.depth = depth
        self.read_first: dict[str, int] = {}
        self.written: dict[str, None] = {}

    def read(self, network: Message) -> None:
        """Add all layers."""
        for layer in network.messages(1):
            self._layer(layer)

    def _layer(self, layer: Message) -> None:
        builder, name = self.builder, layer.text(1)
        number = next((number for number in layer.numbers() if number >= 100), 0)
        known = self.schema["messages"]["NeuralNetworkLayer"]
        op, _, kind = (known.get(str(number)) or [f"layer {number}", "m", ""])[:3]
        attributes: dict[str, Any] = {}
        params = layer.message(number) if number else None
        weights: list[int] = []
        bodies: list[tuple[str, _Layers]] = []
        if params is not None:
            weights = _Params(builder, self.schema, name, self.places).read(params, kind, attributes)
            bodies = self._bodies(params, kind, name)
        names = self._read_inside(bodies)
        inputs = [self._reads(text) for text in (*names, *layer.texts(2))]
        given = layer.texts(3)
        results = [each for label, each in bodies if label != _CONDITION]
        inside = dict.fromkeys(text for each in results for text in each.written)
        written = [*given, *(text for text in inside if text not in given)]
        outputs = [self._writes(text) for text in written]
        _declared(builder, layer, outputs)
        subgraphs = tuple(self._closed(label, each, names, written, attributes) for label, each in bodies)
        scope = name.strip("/").rpartition("/")[0]
        builder.nodes.append(
            Node(name, op, (*inputs, *weights), tuple(outputs), attributes, "", scope, subgraphs)
        )
        for index in outputs:
            builder.describe(index, builder.dtypes[index] or "float32")

    def _reads(self, text: str) -> int:
        index = self.builder.find(text)
        if text not in self.written:
            self.read_first.setdefault(text, index)
        return index

    def _writes(self, text: str) -> int:
        if text in self.written or text in self.read_first:
            index = self.builder.find((text, len(self.builder.nodes)), text)
            old = self.builder.keys[text]
            if self.builder.kinds[old] == "output":
                self.builder.kinds[old], self.builder.kinds[index] = "activation", "output"
            self.builder.keys[text] = index
        self.written[text] = None
        return self.builder.find(text)

    def _bodies(self, params: Message, kind: str, name: str) -> list[tuple[str, _Layers]]:
        """The networks inside of a layer, the condition of a loop first; one without layers is none."""
        found = []
        for field, (label, _, *inner) in self.schema["messages"].get(kind, {}).items():
            network = params.message(int(field)) if inner == ["NeuralNetwork"] else None
            if network is not None and network.views(1):
                inside = GraphBuilder(f"{name}/{label}")
                body = _Layers(inside, self.schema, self.places, self.graphs, self.depth + 1)
                body.read(network)
                found.append((label, body))
        return found

    def _read_inside(self, bodies: list[tuple[str, _Layers]]) -> list[str]:
        """What the networks inside read from this one, and what they may leave as it was."""
        read = dict.fromkeys(text for _, each in bodies for text in each.read_first)
        kept = (text for _, each in bodies for text in each.written if text in self.written)
        return list(dict.fromkeys((*read, *kept)))

    def _closed(
        self, label: str, body: _Layers, read: list[str], written: list[str], attributes: dict[str, Any]
    ) -> int:
        """A body as a graph: it is given what the layer reads, and gives what it writes, or its test."""
        inside = body.builder
        given = [
            body.read_first[text] if text in body.read_first else inside.find((text, "given"), text)
            for text in read
        ]
        for index in given:
            inside.kinds[index] = "input"
        test = attributes.get("conditionVar")
        wanted = [test] if label == _CONDITION and isinstance(test, str) and test else written
        given_by = dict(zip(read, given, strict=True))
        outputs = [inside.find(text) if text in body.written else given_by.get(text, -1) for text in wanted]
        self.graphs.append(inside.finish(given, [index for index in outputs if index >= 0]))
        return len(self.graphs) - 1


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
            elif code == "m" and inner == ["NeuralNetwork"]:
                continue  # a graph of its own
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
