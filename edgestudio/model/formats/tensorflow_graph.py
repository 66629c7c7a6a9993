"""Builds graphs from TensorFlow's node lists: constants become tensors, called functions graphs of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.formats.tensorflow_values import Shape, attribute_of, dtype_of, shape_of, tensor_of
from edgestudio.model.graph import Graph, Node
from edgestudio.model.message import Message

_INPUTS = {"Placeholder", "PlaceholderV2", "PlaceholderWithDefault", "_Arg"}
_LISTS = {
    "While", "StatelessWhile", "_While", "If", "StatelessIf", "_If", "Case", "StatelessCase", "PartitionedCall",
    "StatefulPartitionedCall", "Split", "SplitV", "Unpack", "IdentityN", "SymbolicGradient",
}  # fmt: skip
_OUTPUT_NAMES = {
    "TopKV2": ("values", "indices"), "Switch": ("output_false", "output_true"), "Merge": ("output", "value_index"),
    "Unique": ("y", "idx"), "MaxPoolWithArgmax": ("output", "argmax"),
    "NonMaxSuppressionV4": ("selected_indices", "valid_outputs"),
    "NonMaxSuppressionV5": ("selected_indices", "selected_scores", "valid_outputs"),
    "CombinedNonMaxSuppression": ("nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections"),
    **{f"FusedBatchNorm{version}": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2",
                                    "reserve_space_3") for version in ("", "V2", "V3")},
}  # fmt: skip
"""Operators with several outputs, which functions refer to by these names."""
HAVE_PLACES = _LISTS | _OUTPUT_NAMES.keys()
"""Operators whose outputs keep their places in a node, read or not."""
_MAX_OUTPUTS = 10_000
_SILENT = {"NoOp", "Assert", "_Retval"}
_TYPE_KEYS = ("dtype", "DstT", "out_type", "output_type", "T", "Tparams")
_COUNTS = {"Shape", "ShapeN", "Size", "Rank"}
_TESTS = {
    "Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "LogicalAnd", "LogicalOr", "LogicalNot",
    "IsNan", "IsInf", "IsFinite", "All", "Any",
}  # fmt: skip
_LOWERED = {
    "Switch", "RefSwitch", "Enter", "RefEnter", "Exit", "RefExit", "NextIteration", "RefNextIteration", "LoopCond",
}  # fmt: skip
_HIDDEN = re.compile(
    r"^(_output_shapes|_class|_XlaMustCompile|config_proto|config|executor_type|_collective.*)$"
)
_MAX_FUNCTIONS = 2000


class NodeDef:
    """One node as it is in the file; decoded once."""

    __slots__ = ("attributes", "controls", "functions", "inputs", "name", "op", "shapes", "tensor")

    def __init__(self, message: Message) -> None:
        self.name = message.text(1)
        self.op = message.text(2)
        refs = message.texts(3)
        self.inputs = [
            ref.removesuffix(":0") if ref.count(":") == 1 else ref for ref in refs if not ref.startswith("^")
        ]
        self.controls = len(refs) - len(self.inputs)
        self.attributes: dict[str, Any] = {}
        self.functions: list[str] = []
        self.shapes: list[Shape] = []
        self.tensor: Message | None = None
        for entry in message.messages(5):
            key, value = entry.text(1), entry.message(2)
            if value is None:
                continue
            if key == "_output_shapes":
                items = value.message(1)
                self.shapes = [shape_of(shape) for shape in items.messages(7)] if items is not None else []
            elif key == "value" and self.op == "Const":
                self.tensor = value.message(8)
            elif not _HIDDEN.match(key):
                shown = self.attributes[key] = attribute_of(value)
                for item in shown if isinstance(shown, list) else [shown]:
                    if isinstance(item, dict) and "function" in item:
                        self.functions.append(item["function"])

    def type_of(self, slot: int) -> str:
        """Type of an output, as far as an attribute tells."""
        for key in ("Tout", "T", "output_types"):
            listed = self.attributes.get(key)
            if isinstance(listed, list) and slot < len(listed) and isinstance(listed[slot], str):
                return str(listed[slot])
        return self.dtype if slot == 0 or self.op in ("Split", "SplitV", "Unpack") else ""

    @property
    def dtype(self) -> str:
        """Type of the first output, as far as an attribute tells."""
        if self.op in _TESTS:
            return "bool"
        if self.op in _COUNTS and not isinstance(self.attributes.get("out_type"), str):
            return "int32"
        return next((value for key in _TYPE_KEYS if isinstance(value := self.attributes.get(key), str)), "")


class TensorFlowGraphs:
    """The graphs of one file: the main one and every function it reaches."""

    def __init__(self, library: Message | None) -> None:
        self.graphs: list[Graph] = []
        self.warnings: list[str] = []
        self.operations = 0
        self._functions: dict[str, memoryview] = {}
        self._indices: dict[str, int] = {}
        for view in library.views(1) if library is not None else ():
            signature = Message(view).message(1)
            if signature is not None:
                self._functions[signature.text(1)] = view

    def function(self, name: str) -> Message | None:
        """The FunctionDef of this name."""
        view = self._functions.get(name)
        return None if view is None else Message(view)

    def reserve(self) -> int:
        """Make room for the next graph, so that graphs called from it are numbered after it."""
        self.graphs.append(Graph("", (), (), (), ()))
        return len(self.graphs) - 1

    def add_nodes(
        self,
        index: int,
        name: str,
        nodes: list[NodeDef],
        outputs: Iterable[str] | None,
        depth: int = 0,
        arguments: Iterable[tuple[str, str, Shape]] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Fill graph `index`; `outputs` are references, None for whatever nothing reads.

        `arguments` are name, type and shape of a function's inputs, `names` what inputs are called outside.
        """
        builder = GraphBuilder(name)
        inputs = []
        for argument, dtype, shape in arguments:
            at = builder.find(argument)
            builder.describe(at, dtype, shape, "input")
            inputs.append(at)
        outputs = None if outputs is None else list(outputs)
        read = _outputs_read(nodes, outputs or ())
        aliases: dict[str, str] = {}
        kept = []
        # What lowering control flow leaves behind are placeholders that nothing reads.
        has_read_inputs = any(node.op in _INPUTS and node.name in read for node in nodes)
        for node in nodes:
            self.operations += 1
            if node.op in _INPUTS:
                at = builder.find(node.name, (names or {}).get(node.name, node.name))
                given = node.attributes.get("shape")
                shape = tuple(given) if isinstance(given, list) else (node.shapes[0] if node.shapes else None)
                builder.describe(at, node.dtype, shape, "input")
                if node.name in read or not has_read_inputs:
                    inputs.append(at)
            elif node.op == "Const" and node.tensor is not None:
                self._constant(builder, node, read, aliases)
            else:
                kept.append(node)
        for node in kept:
            self._node(builder, node, read, aliases, depth)
        ends = _ends(kept, read) if outputs is None else [aliases.get(ref, ref) for ref in outputs]
        found = [builder.keys[ref] for ref in ends if ref in builder.keys]
        for at in found:
            if builder.kinds[at] == "activation":
                builder.kinds[at] = "output"
        self.graphs[index] = builder.finish(inputs, found)
        self.warnings += builder.warnings

    def _constant(
        self, builder: GraphBuilder, node: NodeDef, read: dict[str, list[str]], aliases: dict[str, str]
    ) -> None:
        at = builder.find(node.name)
        assert node.tensor is not None
        dtype, shape, values = tensor_of(node.tensor)
        builder.describe(at, dtype, shape, "constant")
        if values is not None:
            builder.values[at] = values
        for ref in read.get(node.name, ()):
            aliases[ref] = node.name

    def _node(
        self,
        builder: GraphBuilder,
        node: NodeDef,
        read: dict[str, list[str]],
        aliases: dict[str, str],
        depth: int,
    ) -> None:
        inputs = [aliases.get(ref, ref) for ref in node.inputs]
        if node.op == "Identity" and inputs and builder.kinds[builder.find(inputs[0])] == "constant":
            # Frozen graphs keep a "read" operator behind every weight that was a variable.
            for ref in {*read.get(node.name, ()), node.name}:
                aliases[ref] = inputs[0]
            return
        outputs: list[int] = []
        # What only orders other operators writes nothing.
        refs = read.get(node.name) or ([] if node.op in _SILENT else [node.name])
        if node.op in _OUTPUT_NAMES:
            refs = sorted(refs, key=lambda ref: _place_of(node.op, ref))
        for position, ref in enumerate(refs):
            at = builder.find(ref)
            slot = position
            if node.op in HAVE_PLACES:
                slot = min(_place_of(node.op, ref), _MAX_OUTPUTS)
                outputs += [-1] * (slot - len(outputs))
            shape = node.shapes[slot] if slot < len(node.shapes) else None
            builder.describe(at, node.type_of(slot), shape)
            outputs.append(at)
        if node.controls:
            node.attributes["control_inputs"] = node.controls
        subgraphs = [index for name in node.functions if (index := self._call(name, depth)) is not None]
        indices = tuple(builder.find(ref) for ref in inputs)
        scope = node.name.rpartition("/")[0]
        builder.nodes.append(
            Node(node.name, node.op, indices, tuple(outputs), node.attributes, "", scope, tuple(subgraphs))
        )

    def _call(self, name: str, depth: int) -> int | None:
        """The graph of a function, read when it is first called."""
        if name in self._indices:
            return self._indices[name]
        function = self.function(name)
        if function is None or depth > MAX_DEPTH or len(self._indices) > _MAX_FUNCTIONS:
            return None
        index = self._indices[name] = self.reserve()
        self.add_function(index, name, function, depth + 1)
        return index

    def add_function(
        self, index: int, name: str, function: Message, depth: int = 0, names: Mapping[str, str] | None = None
    ) -> None:
        """Fill graph `index` with a function's body."""
        signature = function.message(1)
        shapes = _argument_shapes(function)
        arguments = []
        for position, argument in enumerate(signature.messages(2) if signature is not None else ()):
            key = argument.text(1)
            arguments.append((key, dtype_of(argument.integer(3)), shapes.get(position)))
        returned = {entry.text(1): entry.text(2) for entry in function.messages(4)}
        order = [out.text(1) for out in signature.messages(3)] if signature is not None else []
        outputs = [returned[out] for out in order if out in returned] or list(returned.values())
        nodes = [NodeDef(message) for message in function.messages(3)]
        self.add_nodes(index, name, nodes, outputs, depth, arguments, names)


def _argument_shapes(function: Message) -> dict[int, Shape]:
    """Shapes of arguments by position, from what the function keeps about each."""
    found: dict[int, Shape] = {}
    for entry in function.messages(7):
        attributes = entry.message(2)
        for pair in attributes.messages(1) if attributes is not None else ():
            value = pair.message(2)
            items = value.message(1) if value is not None and pair.text(1) == "_output_shapes" else None
            shapes = [shape_of(shape) for shape in items.messages(7)] if items is not None else []
            if shapes:
                found[entry.integer(1)] = shapes[0]
    return found


def _outputs_read(nodes: list[NodeDef], outputs: Iterable[str]) -> dict[str, list[str]]:
    """For each node the references by which its outputs are read, first output first."""
    found: dict[str, set[str]] = {}
    for refs in (*(node.inputs for node in nodes), outputs):
        for ref in refs:
            found.setdefault(ref.split(":")[0], set()).add(ref)
    return {name: sorted(refs, key=_slot) for name, refs in found.items()}


def _slot(ref: str) -> tuple[int, str]:
    last = ref.rpartition(":")[2]
    return (int(last), ref) if last.isdigit() and ":" in ref else (0, ref)


def _place_of(op: str, ref: str) -> int:
    """The number of the output that a reference means."""
    names, parts = _OUTPUT_NAMES.get(op, ()), ref.split(":")
    return names.index(parts[1]) if len(parts) == 3 and parts[1] in names else _slot(ref)[0]


def _ends(nodes: list[NodeDef], read: dict[str, list[str]]) -> list[str]:
    """What nothing reads; of lowered branches and loops, which leave such behind, only where there is nothing else."""
    ends = [node for node in nodes if node.name not in read and node.op not in _SILENT]
    switches = {node.name for node in nodes if node.op in ("Switch", "RefSwitch")}
    proper = [
        node
        for node in ends
        if node.op not in _LOWERED
        and not (node.op == "Identity" and node.inputs and node.inputs[0].split(":")[0] in switches)
    ]
    exits = [node for node in ends if node.op in ("Exit", "RefExit", "Merge", "RefMerge")]
    return [node.name for node in proper or exits or ends]


def ancestors(nodes: list[NodeDef], outputs: Iterable[str]) -> list[NodeDef]:
    """The nodes that these outputs depend on, in the file's order."""
    by_name = {node.name: node for node in nodes}
    waiting = [ref.split(":")[0] for ref in outputs]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        node = by_name.get(name)
        if node is None or name in found:
            continue
        found.add(name)
        waiting += [ref.split(":")[0] for ref in node.inputs]
    return [node for node in nodes if node.name in found]
