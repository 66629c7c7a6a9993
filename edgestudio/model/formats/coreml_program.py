"""Reads the functions of a Core ML ML Program (MIL): constants become tensors, small ones attributes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import size_bytes
from edgestudio.model.graph import Dimension, Graph, Node
from edgestudio.model.links import stays_inside
from edgestudio.model.message import Message
from edgestudio.wire.errors import ModelError

_DTYPES = {
    1: "bool", 2: "string", 10: "float16", 11: "float32", 12: "float64", 13: "bfloat16", 21: "int8", 22: "int16",
    23: "int32", 24: "int64", 25: "int4", 31: "uint8", 32: "uint16", 33: "uint32", 34: "uint64", 35: "uint4",
    36: "uint2", 37: "uint1", 38: "uint6", 39: "uint3", 40: "float8_e4m3fn", 41: "float8_e5m2",
}  # fmt: skip
_SMALL_COUNT = 64
# Arguments that are data even when they are small: the rest says how to compute, and reads as attributes.
_DATA = (
    "x", "y", "weight", "weight_ih", "weight_hh", "weight_ih_back", "weight_hh_back", "bias", "bias_back", "data",
    "values", "input", "query", "key", "value", "a", "b", "cond", "indices", "gamma", "beta", "mean", "variance",
    "initial_h", "initial_c", "attn_mask", "alpha_data",
)  # fmt: skip


class ProgramReader:
    """One ML Program; graphs of its nested blocks are appended to `graphs`."""

    def __init__(
        self, found: Recognised, graphs: list[Graph], warnings: list[str], opsets: dict[str, int]
    ) -> None:
        self.found = found
        self.graphs = graphs
        self.warnings = warnings
        self.opsets = opsets
        self.operations = 0
        self._missing: set[str] = set()

    def read(self, builder: GraphBuilder, program: Message, default: str = "") -> None:
        """Add the default function to `builder`, the first where there is none; others become graphs of their own."""
        functions = sorted(program.messages(2), key=lambda entry: entry.text(1) != default)
        for position, entry in enumerate(functions):
            function = entry.message(2)
            if function is None:
                continue
            opset = function.text(2)
            blocks = {block.text(1): block.message(2) for block in function.messages(3)}
            block = blocks.get(opset) or next(iter(blocks.values()), None)
            digits = "".join(letter for letter in opset if letter.isdigit())
            self.opsets["CoreML"] = max(self.opsets.get("CoreML", 0), int(digits[:4] or 0))
            if block is None:
                continue
            if position == 0:
                self._arguments(builder, function)
                self._block(builder, block, 0)
            else:
                self._function(entry.text(1), function, block)

    def _function(self, name: str, function: Message, block: Message) -> None:
        index = len(self.graphs)
        self.graphs.append(Graph("", (), (), (), ()))
        builder = GraphBuilder(name)
        inputs = self._arguments(builder, function)
        self._block(builder, block, 0)
        self.graphs[index] = builder.finish(inputs, [builder.find(text) for text in block.texts(2)])

    def _arguments(self, builder: GraphBuilder, function: Message) -> list[int]:
        found = []
        for value in function.messages(1):
            index = builder.find(value.text(1))
            dtype, shape = value_type(value.message(2))
            builder.describe(index, dtype, shape, "input")
            found.append(index)
        return found

    def _block(self, builder: GraphBuilder, block: Message, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ModelError(
                "The program is nested too deeply.", hint="Do not use this file.", code="hostile-model"
            )
        constants: dict[str, Any] = {}
        for operation in block.messages(3):
            self.operations += 1
            op = operation.text(1)
            if op == "const":
                self._constant(builder, operation, constants)
            else:
                self._operation(builder, operation, op, constants, depth)

    def _constant(self, builder: GraphBuilder, operation: Message, constants: dict[str, Any]) -> None:
        outputs = list(operation.messages(3))
        value = next((entry.message(2) for entry in operation.messages(5) if entry.text(1) == "val"), None)
        if not outputs or value is None:
            return
        name = outputs[0].text(1)
        shown = _immediate(value)
        if shown is not None:
            constants[name] = shown
        self._add_value(builder, name, value)

    def _add_value(self, builder: GraphBuilder, name: str, value: Message) -> int:
        dtype, shape = value_type(value.message(2))
        index = builder.find(name)
        builder.describe(index, dtype, shape, "constant", size_bytes(dtype, shape))
        shown = _immediate(value)
        if shown is not None:
            builder.values[index] = tuple(shown) if isinstance(shown, list) else (shown,)
        blob = value.message(5)
        if blob is not None:
            self._check_blob(blob.text(1), blob.integer(2))
        return index

    def _check_blob(self, name: str, offset: int) -> None:
        """Warn once about a weight file that is missing; refuse one outside of the package."""
        if name in self._missing:
            return
        path = blob_path(self.found, name)
        if not path.is_file():
            self._missing.add(name)
            relative = Path(name.replace("@model_path/", "", 1))
            self.warnings.append(f"the weight file {relative} is missing from the package; it cannot be run")
        elif offset >= path.stat().st_size:
            self._missing.add(name)
            self.warnings.append(f"the weight file {path.name} is shorter than the weights in it")

    def _operation(
        self, builder: GraphBuilder, operation: Message, op: str, constants: dict[str, Any], depth: int
    ) -> None:
        attributes: dict[str, Any] = {}
        slots: list[tuple[int, str, int]] = []
        for entry in operation.messages(2):
            key = entry.text(1)
            argument = entry.message(2)
            bindings = list(argument.messages(1)) if argument is not None else []
            names = [binding.text(1) for binding in bindings if 1 in binding]
            literals = [value for binding in bindings if (value := binding.message(2)) is not None]
            if len(literals) == 1 and (literals[0].message(5) is not None or _immediate(literals[0]) is None):
                first = next(operation.messages(3), None)
                owner = first.text(1) if first is not None else op
                slots.append((len(_DATA), key, self._add_value(builder, f"{owner}.{key}", literals[0])))
            elif literals:
                attributes[key] = (
                    _immediate(literals[0]) if len(literals) == 1 else [_immediate(v) for v in literals]
                )
            elif key not in _DATA and len(names) == 1 and names[0] in constants:
                attributes[key] = constants[names[0]]
            else:
                rank = _DATA.index(key) if key in _DATA else len(_DATA)
                slots += [(rank, key, builder.find(name)) for name in names]
        # Python's sort is stable: arguments of unknown names keep the file's order.
        slots.sort(key=lambda slot: slot[0])
        computed = [key for rank, key, _ in slots if rank == len(_DATA)]
        if computed:
            attributes["computed"] = computed
        name = self._attributes(builder, operation, op, attributes, slots)
        outputs = []
        for output in operation.messages(3):
            index = builder.find(output.text(1))
            dtype, shape = value_type(output.message(2))
            builder.describe(index, dtype, shape)
            outputs.append(index)
        subgraphs = [self._nested(builder, block, op, depth) for block in operation.messages(4)]
        name = name or (builder.names[outputs[0]] if outputs else op)
        builder.nodes.append(
            Node(
                name,
                op,
                tuple(index for _, _, index in slots),
                tuple(outputs),
                attributes,
                "",
                name.strip("/").rpartition("/")[0],
                tuple(subgraphs),
            )
        )

    def _attributes(
        self,
        builder: GraphBuilder,
        operation: Message,
        op: str,
        attributes: dict[str, Any],
        slots: list[tuple[int, str, int]],
    ) -> str:
        """Add an operation's own attributes, compressed weights as constants; returns its name."""
        name = ""
        for entry in operation.messages(5):
            key, value = entry.text(1), entry.message(2)
            if value is None:
                continue
            shown = _immediate(value)
            if key == "name":
                name = str(shown[0] if isinstance(shown, list) and shown else shown or "")
            elif value.message(5) is not None or shown is None:
                first = next(operation.messages(3), None)
                owner = first.text(1) if first is not None else op
                slots.append((0, key, self._add_value(builder, f"{owner}.{key}", value)))
            else:
                attributes[key] = shown
        return name

    def _nested(self, outer: GraphBuilder, block: Message, op: str, depth: int) -> int:
        index = len(self.graphs)
        self.graphs.append(Graph("", (), (), (), ()))
        builder = GraphBuilder(op)
        inputs = self._arguments(builder, block)
        self._block(builder, block, depth + 1)
        written = {tensor for node in builder.nodes for tensor in node.outputs} | set(inputs)
        for key, position in builder.keys.items():
            source = outer.keys.get(key)
            if source is not None and position not in written and builder.kinds[position] != "constant":
                builder.describe(position, outer.dtypes[source], outer.shapes[source])
        self.graphs[index] = builder.finish(inputs, [builder.find(text) for text in block.texts(2)])
        self.warnings += builder.warnings
        return index


def blob_path(found: Recognised, name: str) -> Path:
    """Where a weight file lies; raises ModelError for one outside of the package."""
    root = found.file.parent
    inside = name.replace("@model_path/", "", 1)
    path = root / inside
    if ".." in Path(inside).parts or not stays_inside(path, root):
        raise ModelError(
            f"{found.path.name} wants to read weights from outside of its package ({name!r}): refused.",
            hint="Do not use this file: a model has no business elsewhere on the disk.",
            code="hostile-model",
        )
    return path


def value_type(message: Message | None) -> tuple[str, tuple[Dimension, ...] | None]:
    """Element type and shape of a ValueType."""
    if message is None:
        return "", None
    tensor = message.message(1)
    if tensor is None:
        state = message.message(5)
        inner = state.message(1) if state is not None else None
        if inner is not None:
            return value_type(inner)
        return (
            "list" if 2 in message else "tuple" if 3 in message else "dictionary" if 4 in message else ""
        ), None
    dims: list[Dimension] = []
    for dimension in tensor.messages(3):
        constant = dimension.message(1)
        dims.append(constant.integer(1) if constant is not None else None)
    return _DTYPES.get(tensor.integer(1), ""), tuple(dims)


def _immediate(value: Message) -> Any:
    """The elements of a small value held in the file: a list, or one element for a scalar; None otherwise."""
    immediate = value.message(3)
    tensor = immediate.message(1) if immediate is not None else None
    if tensor is None:
        return None
    dtype, shape = value_type(value.message(2))
    count = math.prod(size for size in shape or () if isinstance(size, int))
    if count > _SMALL_COUNT:
        return None
    found: list[Any] = []
    for number in tensor.numbers():
        inner = tensor.message(number)
        if inner is None:
            continue
        if number in (2, 5):
            found = list(inner.integers(1))
        elif number == 3:
            found = [bool(item) for item in inner.integers(1)]
        elif number == 4:
            found = list(inner.texts(1))
        elif number in (1, 6):
            found = inner.reals(1, double=number == 6)
        elif number == 7 and dtype in ("int8", "uint8"):
            found = list(inner.data(1))
        else:
            return None
    if len(found) > _SMALL_COUNT:
        return None
    return found[0] if shape == () and len(found) == 1 else found
