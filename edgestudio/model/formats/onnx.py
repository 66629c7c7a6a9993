"""Reads the structure of an ONNX model of any opset and size, subgraphs and functions included, without weights."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.content import opened
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import is_float, size_bytes
from edgestudio.model.formats.onnx_external import ExternalData
from edgestudio.model.formats.onnx_quantization import attach_quantization
from edgestudio.model.formats.onnx_values import (
    SMALL_COUNT,
    TensorHeader,
    attribute_value,
    header_values,
    tensor_header,
    type_info,
)
from edgestudio.model.graph import Dimension, Graph, Model, Node
from edgestudio.model.message import Message
from edgestudio.runtime.protobuf import WireError, fields
from edgestudio.wire.errors import ModelError

NEWEST_OPSET = 28
"""The newest opset of the default domain that this version was tried with (onnx 1.23)."""
NEWEST_IR = 14
STANDARD_DOMAINS = {"", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training"}
_CACHED_BYTES = 256
_MOST_LETTERS = 200
_FEW = 4
"""Real numbers are kept only as literals of the computation; whole ones are shapes and axes, which are longer."""


def read(found: Recognised) -> Model:
    """The model at `found.file`; raises ModelError when it is damaged or points outside of its folder."""
    with opened(found.file) as buffer:
        try:
            return _Reader(memoryview(buffer), found).model()
        except (WireError, RecursionError) as error:
            raise ModelError(
                f"{found.path.name} is an ONNX model that is damaged: {error}.",
                hint="Fetch it again and compare its size or checksum with the source.",
                code="damaged-model",
            ) from error


def scope_of(name: str) -> str:
    """The module path that a node's name holds: "/encoder/0/Add" came from "encoder/0"."""
    return name.strip("/").rpartition("/")[0]


class _Reader:
    """One pass over one file."""

    def __init__(self, view: memoryview, found: Recognised) -> None:
        self.view = view
        self.found = found
        self.graphs: list[Graph] = []
        self.warnings: list[str] = list(found.warnings)
        self.functions: dict[tuple[str, str], int] = {}
        self.external = ExternalData(found.file)
        self.attributes: dict[bytes, tuple[str, Any]] = {}
        self.types: dict[bytes, tuple[str, tuple[Dimension, ...] | None]] = {}
        self.domains: dict[str, set[str]] = {}

    def model(self) -> Model:
        message = Message(self.view)
        graphs = message.views(7)
        if not graphs:
            raise ModelError(
                f"{self.found.path.name} is an ONNX file that holds no graph.", hint="Export the model again."
            )
        functions = list(message.messages(25))
        self.graphs = [Graph("", (), (), (), ())] * (1 + len(functions))
        for index, function in enumerate(functions, start=1):
            self.functions[(function.text(10), function.text(1))] = index
        for index, function in enumerate(functions, start=1):
            self.graphs[index] = self._function(function)
        self.graphs[0] = self._graph(graphs[-1], ())
        opsets = {
            "" if opset.text(1) == "ai.onnx" else opset.text(1): opset.integer(2)
            for opset in message.messages(8)
        }
        ir_version = message.integer(1)
        self._judge(opsets, ir_version)
        self.warnings += self.external.warnings()
        # Some producers write pages of how they were built into their version.
        words = (message.text(2).split("\n")[0], message.text(3).strip().split("\n")[0])
        producer = " ".join(words).strip()[:_MOST_LETTERS]
        metadata = {entry.text(1): entry.text(2) for entry in message.messages(14)}
        for number, key in ((4, "domain"), (6, "description")):
            if message.text(number):
                metadata.setdefault(key, message.text(number))
        if message.integer(5):
            metadata.setdefault("model_version", str(message.integer(5)))
        return Model(
            format="onnx",
            format_version=f"IR {ir_version}" if ir_version else None,
            producer=producer or None,
            opsets=opsets,
            graphs=tuple(self.graphs),
            size_bytes=len(self.view) + self.external.size_bytes,
            metadata=metadata,
            warnings=tuple(dict.fromkeys(self.warnings)),
            companions=tuple(name for name, size in self.external.files.items() if size is not None),
        )

    def _judge(self, opsets: dict[str, int], ir_version: int) -> None:
        """Warn about what other tools will stumble over."""
        say = self.warnings.append
        if not opsets:
            say(
                "the file does not say which opset it uses (opset_import is missing); most runtimes refuse it"
            )
        newest = opsets.get("", 0)
        if newest > NEWEST_OPSET:
            say(
                f"opset {newest} is newer than the newest one known here ({NEWEST_OPSET}); figures may be incomplete"
            )
        if ir_version > NEWEST_IR:
            say(f"IR version {ir_version} is newer than the newest one known here ({NEWEST_IR})")
        if not self.graphs[0].nodes:
            say("the graph has no operators")
        for domain, operators in sorted(self.domains.items()):
            shown = ", ".join(sorted(operators)[:5]) + (" …" if len(operators) > 5 else "")
            if opsets and domain not in opsets:
                say(
                    f"operators of {domain or 'ai.onnx'} are used, but the file imports no opset for them: {shown}"
                )
            if domain not in STANDARD_DOMAINS:
                say(
                    f"operators of {domain} are not part of the standard; the runtime must bring them: {shown}"
                )

    def _graph(self, view: memoryview, outer: tuple[GraphBuilder, ...]) -> Graph:
        if len(outer) > MAX_DEPTH:
            raise WireError("subgraphs are nested too deeply", 0)
        message = Message(view)
        builder = GraphBuilder(message.text(2))
        constants = self._initializers(builder, message)
        inputs = [self._value(builder, value) for value in message.views(11)]
        local = {*constants, *inputs}
        for index in inputs:
            if index not in constants:
                builder.kinds[index] = "input"
        outputs = [self._value(builder, value) for value in message.views(12)]
        for index in outputs:
            if builder.kinds[index] == "activation":
                builder.kinds[index] = "output"
        for value in message.views(13):
            self._value(builder, value)
        for node in message.views(1):
            self._node(builder, node, outer)
        if outer:
            _inherit(builder, outer, local)
        attach_quantization(builder, constants)
        graph = builder.finish([index for index in inputs if index not in constants], outputs)
        self.warnings += builder.warnings
        return graph

    def _initializers(self, builder: GraphBuilder, graph: Message) -> dict[int, TensorHeader]:
        constants: dict[int, TensorHeader] = {}
        for view in graph.views(5):
            header = tensor_header(view)
            constants[self._constant(builder, header)] = header
        for sparse in graph.messages(15):
            for view in sparse.views(1)[-1:]:
                header = tensor_header(view)
                stored = size_bytes(header.dtype, header.dims)
                header = header._replace(dims=tuple(sparse.integers(3)), raw=None, typed=())
                index = self._constant(builder, header)
                builder.sizes[index] = stored
                constants[index] = header
        return constants

    def _constant(self, builder: GraphBuilder, header: TensorHeader) -> int:
        name = header.name.decode("utf-8", "replace")
        index = builder.find(header.name, name)
        builder.describe(index, header.dtype, header.dims, "constant")
        expected = builder.sizes[index] = size_bytes(header.dtype, header.dims)
        if header.external:
            self.external.add(name, header.external, expected)
        elif header.raw is not None and expected is not None and len(header.raw) != expected:
            self.warnings.append(f"weight {name} holds {len(header.raw)} bytes where {expected} are due")
        values = header_values(header, _FEW if is_float(header.dtype) else SMALL_COUNT)
        if values is not None:
            builder.values[index] = values
        return index

    def _value(self, builder: GraphBuilder, view: memoryview) -> int:
        """A ValueInfoProto: find its tensor and add type and shape."""
        name, dtype, shape = b"", "", None
        for number, _, value in fields(view):
            if not isinstance(value, memoryview):
                continue
            if number == 1:
                name = bytes(value)
            elif number == 2:
                key = bytes(value)
                known = self.types.get(key)
                if known is None:
                    known = self.types[key] = type_info(value)
                dtype, shape = known
        index = builder.keys.get(name)
        if index is None:
            index = builder.find(name, name.decode("utf-8", "replace"))
        if builder.kinds[index] != "constant":
            builder.describe(index, dtype, shape)
        return index

    def _node(self, builder: GraphBuilder, view: memoryview, outer: tuple[GraphBuilder, ...]) -> None:
        keys = builder.keys
        inputs: list[int] = []
        outputs: list[int] = []
        texts = {3: "", 4: "", 7: ""}
        attributes: dict[str, Any] = {}
        subgraphs: list[int] = []
        metadata: list[memoryview] = []
        for number, _, value in fields(view):
            if not isinstance(value, memoryview):
                continue
            if number in (1, 2):
                key = bytes(value)
                index = keys.get(key)
                if index is None:
                    index = builder.find(key, key.decode("utf-8", "replace")) if key else -1
                (inputs if number == 1 else outputs).append(index)
            elif number == 5:
                self._attribute(builder, value, outer, attributes, subgraphs)
            elif number in texts:
                texts[number] = str(value, "utf-8", "replace")
            elif number == 9:
                metadata.append(value)
        name, op, domain = texts.values()
        domain = "" if domain == "ai.onnx" else domain
        called = self.functions.get((domain, op))
        if called is not None:
            subgraphs.append(called)
        else:
            self.domains.setdefault(domain, set()).add(op)
        if op == "Constant" and not inputs and outputs and outputs[0] >= 0:
            self._constant_node(builder, outputs[0], attributes)
        scope = self._scope(metadata) if metadata else scope_of(name)
        builder.nodes.append(
            Node(name, op, tuple(inputs), tuple(outputs), attributes, domain, scope, tuple(subgraphs))
        )

    def _constant_node(self, builder: GraphBuilder, output: int, attributes: dict[str, Any]) -> None:
        value = attributes.get("value")
        if isinstance(value, dict) and "dtype" in value:
            builder.describe(output, value["dtype"], value["shape"])
            if "values" in value:
                builder.values[output] = tuple(value["values"])
        elif isinstance(attributes.get("value_ints"), dict) and "length" in attributes["value_ints"]:
            builder.describe(output, "int64", (attributes["value_ints"]["length"],))
        elif isinstance(attributes.get("value_ints"), list):
            builder.describe(output, "int64", (len(attributes["value_ints"]),))
            builder.values[output] = tuple(attributes["value_ints"])
        elif "value_int" in attributes or "value_float" in attributes:
            dtype, key = ("int64", "value_int") if "value_int" in attributes else ("float32", "value_float")
            builder.describe(output, dtype, ())
            builder.values[output] = (attributes[key],)

    def _attribute(
        self,
        builder: GraphBuilder,
        view: memoryview,
        outer: tuple[GraphBuilder, ...],
        attributes: dict[str, Any],
        subgraphs: list[int],
    ) -> None:
        """Add one attribute; equal ones, which are most, are decoded once."""
        key = bytes(view) if len(view) <= _CACHED_BYTES else b""
        known = self.attributes.get(key) if key else None
        if known is not None:
            attributes[known[0]] = known[1]
            return
        message = Message(view)
        name = message.text(1)
        graphs = message.views(6) + message.views(11)
        if not graphs:
            value = attribute_value(message)
            attributes[name] = value
            if key:
                self.attributes[key] = (name, value)
            return
        indices = []
        for body in graphs:
            index = len(self.graphs)
            self.graphs.append(Graph("", (), (), (), ()))
            graph = self._graph(body, (*outer, builder))
            self.graphs[index] = replace(graph, name=graph.name or name)
            indices.append(index)
        subgraphs += indices
        attributes[name] = {"graph": indices[0]} if len(indices) == 1 else {"graphs": indices}

    def _scope(self, metadata: list[memoryview]) -> str:
        """The module path from the metadata that PyTorch's exporter writes."""
        for view in metadata:
            entry = Message(view)
            if entry.text(1) == "pkg.torch.onnx.name_scopes":
                scopes = [scope for scope in re.findall(r"'([^']*)'", entry.text(2))[:-1] if scope]
                return scopes[-1].replace(".", "/") if scopes else ""
        return ""

    def _function(self, function: Message) -> Graph:
        builder = GraphBuilder(function.text(1))
        inputs = [builder.find(text.encode(), text) for text in function.texts(4)]
        outputs = [builder.find(text.encode(), text) for text in function.texts(5)]
        for index in inputs:
            builder.kinds[index] = "input"
        for value in function.views(12):
            self._value(builder, value)
        for node in function.views(7):
            self._node(builder, node, (builder,))
        graph = builder.finish(inputs, outputs)
        self.warnings += builder.warnings
        return graph


def _inherit(builder: GraphBuilder, outer: tuple[GraphBuilder, ...], local: set[int]) -> None:
    """Give tensors of the surrounding graphs that a subgraph reads the type and shape they have there."""
    written = {tensor for node in builder.nodes for tensor in node.outputs}
    for key, index in builder.keys.items():
        if index in local or index in written:
            continue
        for graph in reversed(outer):
            source = graph.keys.get(key)
            if source is not None:
                builder.describe(index, graph.dtypes[source], graph.shapes[source])
                if source in graph.values:
                    builder.values[index] = graph.values[source]
                break
