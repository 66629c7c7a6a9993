"""Reads a Core ML model of any specification: neural networks, ML programs, pipelines; names the classic kinds."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from edgestudio.assets import resource
from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.content import opened, tree_size_bytes
from edgestudio.model.detect import Recognised
from edgestudio.model.formats import coreml_network, coreml_program
from edgestudio.model.formats.coreml_shapes import infer_shapes
from edgestudio.model.graph import Dimension, Graph, Model, Node, Tensor
from edgestudio.model.message import Message
from edgestudio.wire.errors import ModelError

_NETWORKS = {"neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor"}
_PIPELINES = {"pipeline", "pipelineClassifier", "pipelineRegressor"}
_ARRAY_TYPES = {65552: "float16", 65568: "float32", 65600: "float64", 131104: "int32", 131080: "int8"}
_COLOURS = {10: "grayscale", 20: "RGB", 30: "BGR", 40: "grayscale_float16"}
_SCALARS = {1: "int64", 2: "float64", 3: "string", 6: "dictionary", 7: "sequence"}


@cache
def schema() -> dict[str, Any]:
    """Model kinds, layers and their fields by number, as the published specification lists them."""
    document = json.loads(resource("formats", "coreml.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def read(found: Recognised) -> Model:
    """The model at `found.file`; raises ModelError when it points outside of its package."""
    with opened(found.file) as buffer:
        model = _Reader(found).model(Message(memoryview(buffer)))
    return infer_shapes(model)


class _Reader:
    """One model file, with the models inside of a pipeline."""

    def __init__(self, found: Recognised) -> None:
        self.found = found
        self.graphs: list[Graph] = []
        self.warnings = list(found.warnings)
        self.opsets: dict[str, int] = {}
        self.metadata: dict[str, str] = {}
        self.features: dict[str, str] = {}

    def model(self, message: Message) -> Model:
        description = message.message(2)
        version = message.integer(1)
        kind = self._kind(message)
        self.metadata["type"] = kind
        if description is not None:
            self._describe(description)
        self.graphs.append(Graph("", (), (), (), ()))
        self.graphs[0] = self._graph(message, kind, 0)
        return Model(
            format="coreml",
            format_version=f"specification {version}",
            producer=self.metadata.get("com.github.apple.coremltools.version")
            and f"coremltools {self.metadata['com.github.apple.coremltools.version']}",
            opsets=self.opsets,
            graphs=tuple(self.graphs),
            size_bytes=tree_size_bytes(self.found.path),
            metadata=self.metadata,
            warnings=tuple(dict.fromkeys(self.warnings)),
        )

    def _kind(self, message: Message) -> str:
        types = schema()["types"]
        kinds = [types[str(number)] for number in message.numbers() if str(number) in types]
        if not kinds:
            raise ModelError(
                f"{self.found.path.name} is a Core ML model of a kind that is not known here.",
                hint="It may be newer than this version; try the extra `netron-view`.",
                code="unsupported-format",
            )
        return str(kinds[0])

    def _describe(self, description: Message) -> None:
        meta = description.message(100)
        if meta is None:
            return
        for number, key in ((1, "description"), (2, "version"), (3, "author"), (4, "license")):
            if meta.text(number):
                self.metadata[key] = meta.text(number)
        for entry in meta.messages(100):
            self.metadata[entry.text(1)] = entry.text(2)

    def _graph(self, message: Message, kind: str, depth: int) -> Graph:
        if depth > MAX_DEPTH:
            raise ModelError(
                "The pipeline is nested too deeply.", hint="Do not use this file.", code="hostile-model"
            )
        types = {name: int(number) for number, name in schema()["types"].items()}
        body = message.message(types[kind])
        description = message.message(2)
        builder = GraphBuilder(kind)
        inputs, outputs = self._described(builder, description)
        if body is None:
            pass
        elif kind in _NETWORKS:
            coreml_network.read_layers(builder, body, schema(), None, self.graphs)
            outputs = [builder.find(builder.names[index]) for index in outputs]
            for number in (100, 101):
                self._labels(body, number)
        elif kind == "mlProgram":
            reader = coreml_program.ProgramReader(self.found, self.graphs, self.warnings, self.opsets)
            reader.read(builder, body, description.text(21) if description is not None else "")
            self.metadata["operations"] = str(reader.operations)
        elif kind in _PIPELINES:
            pipeline = (body.message(1) or body) if kind != "pipeline" else body
            self._pipeline(builder, pipeline, depth)
        else:
            builder.nodes.append(Node(kind, kind, tuple(inputs), tuple(outputs)))
            self.warnings.append(
                f"a {_words(kind)} is shown as one operator; its parameters are not unfolded"
            )
        graph = builder.finish(inputs, outputs)
        self.warnings += builder.warnings
        return graph

    def _labels(self, body: Message, number: int) -> None:
        labels = body.message(number)
        if labels is not None and self.metadata["type"] == "neuralNetworkClassifier":
            count = len(labels.views(1)) if number == 100 else len(labels.integers(1))
            self.metadata["labels"] = f"{count} class labels"

    def _pipeline(self, builder: GraphBuilder, pipeline: Message, depth: int) -> None:
        names = pipeline.texts(2)
        for position, stage in enumerate(pipeline.messages(1)):
            kind = self._kind(stage)
            index = len(self.graphs)
            self.graphs.append(Graph("", (), (), (), ()))
            graph = self._graph(stage, kind, depth + 1)
            self.graphs[index] = graph
            name = names[position] if position < len(names) else f"{position + 1}. {_words(kind)}"
            ins = [_joined(builder, graph.tensors[tensor]) for tensor in graph.inputs]
            outs = [_joined(builder, graph.tensors[tensor]) for tensor in graph.outputs]
            builder.nodes.append(Node(name, kind, tuple(ins), tuple(outs), {}, "", "", (index,)))

    def _described(self, builder: GraphBuilder, description: Message | None) -> tuple[list[int], list[int]]:
        """Inputs and outputs; those of the default function where there are several."""
        functions = list(description.messages(20)) if description is not None else []
        if description is not None and functions and not description.views(1):
            default = description.text(21)
            chosen = next((each for each in functions if each.text(1) == default), functions[0])
            self.metadata["functions"] = ", ".join(each.text(1) for each in functions[:20])
            return self._features(builder, chosen, 2, "input"), self._features(builder, chosen, 3, "output")
        return self._features(builder, description, 1, "input"), self._features(
            builder, description, 10, "output"
        )

    def _features(
        self, builder: GraphBuilder, description: Message | None, number: int, kind: str
    ) -> list[int]:
        found = []
        for feature in description.messages(number) if description is not None else ():
            dtype, shape, note = _feature_type(feature.message(3))
            index = builder.find(feature.text(1))
            builder.describe(index, dtype, shape, "input" if kind == "input" else "output")
            found.append(index)
            if note:
                self.metadata[f"{kind} {feature.text(1)}"] = note
        return found


def _joined(builder: GraphBuilder, tensor: Tensor) -> int:
    index = builder.find(tensor.name)
    builder.describe(index, tensor.dtype, tensor.shape)
    return index


def _words(kind: str) -> str:
    """ "treeEnsembleClassifier" as "tree ensemble classifier"."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind).strip()


def _feature_type(message: Message | None) -> tuple[str, tuple[Dimension, ...] | None, str]:
    """Type, shape and what else there is to say of a feature; an image is shown as its pixels."""
    if message is None:
        return "", None, ""
    for number, name in _SCALARS.items():
        if number in message:
            return name, () if number < 4 else None, ""
    image = message.message(4)
    if image is not None:
        colour = _COLOURS.get(image.integer(3), "")
        channels = 1 if colour.startswith("gray") else 3
        size = (image.integer(2), image.integer(1))
        dtype = "float16" if colour.endswith("float16") else "uint8"
        return dtype, (1, channels, *size), f"image, {colour}, {size[1]} x {size[0]} pixels"
    array = message.message(5) or message.message(8)
    if array is not None and 8 in message:
        array = array.message(1)
    if array is None:
        return "", None, ""
    shape: tuple[Dimension, ...] = tuple(array.integers(1))
    ranges = array.message(31)
    if ranges is not None:
        limits = [(size.integer(1), size.integer(2)) for size in ranges.messages(1)]
        if len(limits) == len(shape):
            shape = tuple(
                None if low != high else size for size, (low, high) in zip(shape, limits, strict=True)
            )
    choices = array.message(21)
    note = f"{len(choices.views(1))} enumerated shapes" if choices is not None else ""
    return _ARRAY_TYPES.get(array.integer(2), ""), shape or None, note
