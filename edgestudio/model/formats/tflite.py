"""Reads the structure of a TensorFlow Lite model: subgraphs, quantisation, options, signatures, metadata."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np

from edgestudio.assets import resource
from edgestudio.model.building import GraphBuilder
from edgestudio.model.content import Buffer, opened
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import BITS, elements
from edgestudio.model.graph import Dimension, Graph, Model, Node, Quantization
from edgestudio.runtime.flatbuffer import FlatBuffer, FlatBufferError, Table
from edgestudio.wire.errors import ModelError

_SMALL_COUNT = 64
_SHOWN_COUNT = 4096
_EDGE_TPU = "edgetpu-custom-op"
_BODIES = {
    "then_subgraph_index", "else_subgraph_index", "cond_subgraph_index", "body_subgraph_index", "subgraph",
    "init_subgraph_index", "decomposition_subgraph_index", "branches",
}  # fmt: skip
_METADATA_TEXTS = {0: "name", 1: "description", 2: "version", 4: "author", 5: "license"}


@cache
def schema() -> dict[str, Any]:
    """Operator names, element types and option fields by number, as the published schema lists them."""
    document = json.loads(resource("formats", "tflite.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def read(found: Recognised) -> Model:
    """The model at `found.file`; raises ModelError when its parts do not fit together."""
    with opened(found.file) as buffer:
        try:
            return _Reader(buffer, found).model()
        except FlatBufferError as error:
            raise ModelError(
                f"{found.path.name} is a TFLite model that is cut short or damaged: {error}.",
                hint="Fetch it again and compare its size or checksum with the source.",
                code="damaged-model",
            ) from error


def place(file: FlatBuffer, table: Table) -> tuple[int, int]:
    """Start and size of a buffer's bytes, which in files above 2 GB lie behind the FlatBuffer."""
    offset, size = table.scalar(1, "Q"), table.scalar(2, "Q")
    if offset > 1 and size:
        if offset + size > file.size:
            raise FlatBufferError(f"a weight at offset {offset} reaches past the end of the file")
        return offset, size
    return table.span(0)


class _Reader:
    """One pass over one file."""

    def __init__(self, buffer: Buffer, found: Recognised) -> None:
        self.file = FlatBuffer(buffer)
        self.found = found
        self.warnings: list[str] = list(found.warnings)
        self.buffers: list[tuple[int, int]] = []
        self.operators: list[tuple[str, bool, int]] = []
        self.subgraph_count = 0

    def model(self) -> Model:
        root = self.file.root()
        self.buffers = [place(self.file, table) for table in root.tables(4)]
        self.operators = [self._operator(table) for table in root.tables(1)]
        tables = list(root.tables(2))
        self.subgraph_count = len(tables)
        if not tables:
            raise ModelError(
                f"{self.found.path.name} is a TFLite file that holds no graph.",
                hint="Convert the model again.",
                code="no-graph",
            )
        graphs = tuple(self._graph(table, index) for index, table in enumerate(tables))
        metadata = self._metadata(root)
        metadata.update(self._signatures(root))
        custom = sorted({name for name, is_custom, _ in self.operators if is_custom})
        if _EDGE_TPU in custom:
            metadata["compiled_for"] = "Edge TPU"
            self.warnings.append(
                "this file is compiled for the Coral Edge TPU and runs only there; its layers are inside of one "
                "operator. Optimise the file that it was compiled from"
            )
        flex = [name for name in custom if name.startswith("Flex")]
        if flex:
            self.warnings.append(f"needs TensorFlow operators beside TFLite (Flex): {', '.join(flex[:5])}")
        others = [name for name in custom if name not in flex and name != _EDGE_TPU]
        if others:
            self.warnings.append(f"custom operators that the runtime must bring: {', '.join(others[:8])}")
        version = root.scalar(0, "I")
        return Model(
            format="tflite",
            format_version=f"schema {version}",
            producer=root.text(3).strip("\0 ") or None,
            opsets={},
            graphs=graphs,
            size_bytes=self.file.size,
            metadata=metadata,
            warnings=tuple(dict.fromkeys(self.warnings)),
        )

    def _operator(self, table: Table) -> tuple[str, bool, int]:
        names = schema()["operators"]
        # Codes above 127 are in the newer field; older files have only the older one.
        code = max(table.scalar(0, "b"), table.scalar(3, "i"))
        version = table.scalar(2, "i", 1)
        if code == names.index("CUSTOM"):
            return table.text(1) or "CUSTOM", True, version
        if 0 <= code < len(names):
            return names[code], False, version
        self.warnings.append(f"operator number {code} is newer than the schema known here")
        return f"OPERATOR_{code}", False, version

    def _graph(self, table: Table, index: int) -> Graph:
        builder = GraphBuilder(table.text(4) or ("main" if index == 0 else f"subgraph {index}"))
        # Files of older converters do not tell a scalar from a tensor whose rank is open.
        tells_rank = any(tensor.scalar(8, "?", default=False) for tensor in table.tables(0))
        for position, tensor in enumerate(table.tables(0)):
            self._tensor(builder, tensor, position, tells_rank=tells_rank)
        inputs, outputs = self._indices(builder, table, 1), self._indices(builder, table, 2)
        for tensor_index in outputs:
            if tensor_index >= 0 and builder.kinds[tensor_index] == "activation":
                builder.kinds[tensor_index] = "output"
        for tensor_index in inputs:
            if tensor_index >= 0:
                builder.kinds[tensor_index] = "input"
        for operator in table.tables(3):
            self._node(builder, operator)
        graph = builder.finish([i for i in inputs if i >= 0], [i for i in outputs if i >= 0])
        self.warnings += builder.warnings
        return graph

    def _indices(self, builder: GraphBuilder, table: Table, slot: int) -> list[int]:
        indices: list[int] = table.array(slot, np.int32).tolist()
        self.file.spend(len(indices))
        count = len(builder.names)
        if any(index < -1 or index >= count for index in indices):
            raise FlatBufferError(f"a tensor number is outside of the {count} tensors of the graph")
        return indices

    def _tensor(self, builder: GraphBuilder, table: Table, position: int, *, tells_rank: bool) -> None:
        types = schema()["types"]
        code = table.scalar(1, "b")
        dtype = types[code] if 0 <= code < len(types) else ""
        shape: list[Dimension] = table.array(0, np.int32).tolist()
        signature = table.array(7, np.int32).tolist()
        self.file.spend(len(shape) + len(signature))
        if len(signature) == len(shape):
            shape = [None if known == -1 else size for size, known in zip(shape, signature, strict=True)]
        has_rank = table.scalar(8, "?", default=False) or bool(shape) or dtype == "string"
        shape = [size if isinstance(size, int) and size >= 0 else None for size in shape]
        at = table.scalar(2, "I")
        start, size = self.buffers[at] if at < len(self.buffers) else (0, 0)
        if at >= len(self.buffers) and at:
            raise FlatBufferError(f"tensor {position} refers to buffer {at} of {len(self.buffers)}")
        is_scalar = not has_rank and not size and not tells_rank
        known = () if is_scalar else shape if has_rank or size else None
        index = builder.add(table.text(3) or f"tensor {position}", dtype, known)
        if size:
            builder.describe(index, kind="constant", size=size)
            values = self._values(dtype, shape, start, size)
            if values is not None:
                builder.values[index] = values
        quantization = table.table(4)
        if quantization is not None:
            self._quantization(builder, index, quantization)

    def _values(self, dtype: str, shape: list[Dimension], start: int, size: int) -> tuple[Any, ...] | None:
        count = elements(shape)
        if (
            count is None
            or count > _SMALL_COUNT
            or BITS.get(dtype, 0) < 8
            or dtype.startswith(("bfloat", "float8"))
        ):
            return None
        kind = np.dtype(dtype).newbyteorder("<")
        if kind.kind == "c" or count * kind.itemsize != size:
            return None
        return tuple(np.frombuffer(bytes(self.file.buffer[start : start + size]), kind).tolist())

    def _quantization(self, builder: GraphBuilder, index: int, table: Table) -> None:
        scale, zero = table.array(2, np.float32), table.array(3, np.int64)
        if not len(scale):
            return
        self.file.spend(len(scale) + len(zero))
        channels = len(scale) > 1
        builder.quantizations[index] = Quantization(
            tuple(scale.tolist()),
            tuple(zero.tolist()) if len(zero) else (0,) * len(scale),
            table.scalar(6, "i") if channels else None,
            builder.dtypes[index],
        )

    def _node(self, builder: GraphBuilder, table: Table) -> None:
        code = table.scalar(0, "I")
        if code >= len(self.operators):
            raise FlatBufferError(f"an operator has number {code} of {len(self.operators)}")
        op, is_custom, version = self.operators[code]
        inputs, outputs = self._indices(builder, table, 1), self._indices(builder, table, 2)
        attributes = self._options(table)
        subgraphs = self._bodies(attributes)
        if is_custom:
            size = table.span(5)[1]
            if size:
                attributes["custom_options_bytes"] = size
        if version > 1:
            attributes["version"] = version
        first = next((tensor for tensor in outputs if tensor >= 0), -1)
        name = builder.names[first] if first >= 0 else ""
        # Fused operators are named after everything they replaced, separated by semicolons.
        scope = name.split(";")[0].strip("/").rpartition("/")[0]
        builder.nodes.append(
            Node(
                name=name,
                op=op,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                attributes=attributes,
                domain="custom" if is_custom else "",
                scope=scope,
                subgraphs=subgraphs,
            )
        )

    def _bodies(self, attributes: dict[str, Any]) -> tuple[int, ...]:
        bodies: list[int] = []
        for key in _BODIES & attributes.keys():
            value = attributes[key]
            bodies += value if isinstance(value, list) else [value]
        return tuple(
            sorted(index for index in bodies if isinstance(index, int) and 0 < index < self.subgraph_count)
        )

    def _options(self, table: Table) -> dict[str, Any]:
        document = schema()
        for kind_slot, slot, key in ((3, 4, "options"), (11, 12, "options2")):
            fields = document[key].get(str(table.scalar(kind_slot, "B")))
            options = table.table(slot)
            if fields and options is not None:
                return {field[1]: _option(options, *field) for field in fields}
        return {}

    def _metadata(self, root: Table) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in root.tables(6):
            name, at = entry.text(0), entry.scalar(1, "I")
            start, size = self.buffers[at] if at < len(self.buffers) else (0, 0)
            data = bytes(self.file.buffer[start : start + size])
            if name == "TFLITE_METADATA":
                found.update(_model_metadata(data))
            elif size <= _SHOWN_COUNT and data.rstrip(b"\0").isascii() and data.rstrip(b"\0"):
                text = data.rstrip(b"\0").decode("ascii")
                found[name] = text if text.isprintable() else f"{size} bytes"
            else:
                found[name] = f"{size} bytes"
        return found

    def _signatures(self, root: Table) -> dict[str, str]:
        found: dict[str, str] = {}
        for signature in root.tables(7):
            inputs = ", ".join(entry.text(0) for entry in signature.tables(0))
            outputs = ", ".join(entry.text(0) for entry in signature.tables(1))
            found[f"signature {signature.text(2)}"] = f"({inputs}) → ({outputs})"
        return found


def _option(options: Table, slot: int, name: str, code: str, default: Any = None) -> Any:
    """One field of an operator's options; enumerations by name."""
    if code == "s":
        return options.text(slot)
    if code.startswith("["):
        if code[1] not in "bBhHiIqQfd":
            return options.length(slot)
        kind = {
            "b": "i1",
            "B": "u1",
            "h": "i2",
            "H": "u2",
            "i": "i4",
            "I": "u4",
            "q": "i8",
            "Q": "u8",
            "f": "f4",
        }
        values = options.array(slot, kind.get(code[1], "f8"))
        options.file.spend(min(len(values), _SHOWN_COUNT))
        return values[:_SHOWN_COUNT].tolist()
    if code == "T":
        return None
    value = options.scalar(slot, code, default)
    document = schema()
    is_type = name.endswith("_type") and name != "kernel_type"
    names = document["types"] if is_type else document["enums"].get(name)
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def _model_metadata(data: bytes) -> dict[str, str]:
    """Texts of TFLite's model metadata, a FlatBuffer of its own."""
    try:
        root = FlatBuffer(data).root()
        texts = {key: root.text(slot) for slot, key in _METADATA_TEXTS.items()}
    except FlatBufferError:
        return {"TFLITE_METADATA": f"{len(data)} bytes, damaged"}
    return {key: text for key, text in texts.items() if text}
