"""Walks through an ONNX file's structure: graphs, functions, nodes, attributes, loops.

Field numbers are those of onnx.proto3. The walk keeps its own stack, so that no nesting can exhaust Python's.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgestudio.runtime.protobuf import LEN, VARINT, fields, message, repeated_ints, signed, text
from edgestudio.runtime.protobuf_runs import Run, fields_and_runs
from edgestudio.runtime.scan.findings import Findings
from edgestudio.runtime.scan.growth import INTERESTING, MAX_VALUES, Growth, Made
from edgestudio.runtime.scan.tensors import sparse, tensor, value_info

_STANDARD = ("", "ai.onnx")
_MAX_NAME = 65_536
_LISTS = frozenset({7, 8, 9})
"""Attributes' lists of numbers and texts."""
Key = tuple[str, str]
_MAIN: Key = ("", "")


@dataclass
class Operator:
    """What a node tells: its inputs and outputs, and the attributes that matter here."""

    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: list[memoryview] = field(default_factory=list)

    @classmethod
    def read(cls, view: memoryview) -> Operator:
        """A NodeProto without its documentation."""
        node = cls()
        for number, wire_type, value in fields(view):
            if wire_type != LEN:
                continue
            if number == 1:
                node.inputs.append(text(value, _MAX_NAME))
            elif number == 2:
                node.outputs.append(text(value, _MAX_NAME))
            elif number == 4:
                node.op = text(value, 1000)
            elif number == 5:
                node.attributes.append(message(value))
            elif number == 7:
                node.domain = text(value, 1000)
        return node


@dataclass
class Attributes:
    """The attributes of a node that matter: whole numbers, tensors, subgraphs."""

    ints: dict[str, list[int]] = field(default_factory=dict)
    made: dict[str, Made] = field(default_factory=dict)
    graphs: dict[str, list[memoryview]] = field(default_factory=dict)

    def read(self, view: memoryview, found: Findings) -> None:
        """Add one AttributeProto; ModelError for a value written twice: parsers would merge the two."""
        name = ""
        numbers: list[int] = []
        graphs: list[memoryview] = []
        made: Made | None = None
        singular: set[int] = set()
        for number, wire_type, value in fields_and_runs(view, _LISTS):
            if number in (5, 6, 22) and number in singular:
                raise found.refuse("writes an attribute's value twice", "malformed")
            singular.add(number)
            if isinstance(value, Run):
                numbers += _beginning(value, numbers) if number == 8 else ()
            elif number == 1:
                name = text(value, _MAX_NAME)
            elif number in (3, 8):
                numbers += repeated_ints(wire_type, value) if len(numbers) <= MAX_VALUES else ()
            elif wire_type == LEN and number in (5, 10):
                _, made = tensor(message(value), found)
            elif wire_type == LEN and number in (6, 11):
                graphs.append(message(value))
            elif wire_type == LEN and number in (22, 23):
                sparse(message(value), found)
        self.ints[name] = numbers
        self.graphs[name] = graphs
        if made is not None:
            self.made[name] = made

    def constant(self) -> Made | None:
        """The value of a Constant node, as far as it is known."""
        numbers = self.ints.get("value_ints") or self.ints.get("value_int")
        if numbers and len(numbers) <= MAX_VALUES:
            return Made(len(numbers), 8, tuple(numbers))
        return self.made.get("value")


@dataclass
class Pending:
    """A graph or function body that is still to be walked; `owner` is the function it belongs to."""

    view: memoryview
    depth: int
    growth: Growth
    owner: Key = _MAIN
    is_function: bool = False
    trips: int = 1


def scan_onnx(data: bytes | mmap.mmap, found: Findings) -> None:
    """Walk the whole file; ModelError for what is hostile, WireError for what is damaged."""
    graph, functions = _model(memoryview(data), found)
    _Walk(found).run(graph, functions)
    if found.nodes == 0:
        raise found.refuse("holds no operators", "empty-model")


class _Walk:
    def __init__(self, found: Findings) -> None:
        self.found = found
        self.pending: list[Pending] = []
        self.functions: set[Key] = set()
        self.calls: dict[Key, Counter[Key]] = {}
        self.sizes: Counter[Key] = Counter()

    def run(self, graph: memoryview, functions: list[memoryview]) -> None:
        """Walk the main graph and every function, then judge what inlining would make of them."""
        growth = Growth(self.found)
        for view in functions:
            key = _function_key(view)
            self.functions.add(key)
            self.pending.append(Pending(view, 1, growth.child(), key, is_function=True))
        self.pending.append(Pending(graph, 0, growth))
        while self.pending:
            task = self.pending.pop()
            if task.depth > self.found.limits.max_depth:
                raise self.found.refuse(f"nests graphs deeper than {self.found.limits.max_depth}", "too-deep")
            for view in self._body(task):
                self._node(Operator.read(view), task)
        if self.functions:
            self._judge_inlining()

    def _body(self, task: Pending) -> Iterator[memoryview]:
        """Yield a graph's nodes after judging its tensors, which may follow the nodes that use them."""
        nodes: list[memoryview] = []
        node_field = 7 if task.is_function else 1
        for number, wire_type, value in fields(task.view):
            if wire_type != LEN:
                continue
            if number == node_field:
                self.found.count_nodes()
                self.sizes[task.owner] += 1
                nodes.append(message(value))
            elif task.is_function:
                continue
            elif number == 5:
                name, made = tensor(message(value), self.found)
                task.growth.set(name, made)
            elif number == 15:
                sparse(message(value), self.found)
            elif number in (11, 12, 13):
                declared = value_info(message(value), self.found)
                if number == 11 and declared is not None:
                    task.growth.declare(*declared)  # what is said of other values is a claim, not believed
        yield from nodes

    def _node(self, node: Operator, task: Pending) -> None:
        key = (node.domain, node.op)
        if key in self.functions:
            self.calls.setdefault(task.owner, Counter())[key] += 1
        elif node.domain not in self.found.limits.domains:
            self.found.custom[f"{node.domain}.{node.op}"[:200]] = None
        attributes = Attributes()
        for view in node.attributes:
            attributes.read(view, self.found)
        if node.op == "Constant":
            task.growth.set(node.outputs[0] if node.outputs else "", attributes.constant())
        elif node.op in INTERESTING:
            task.growth.apply(
                node.op, node.inputs, node.outputs, attributes.ints, attributes.made.get("value")
            )
        trips = task.trips
        if node.op == "Loop" and node.domain in _STANDARD:
            trips *= self._trips(node, attributes, task)
            if trips > self.found.limits.max_trips:
                raise self.found.refuse(
                    f"holds a loop of {trips} rounds, which would not end", "endless-loop"
                )
        for bodies in attributes.graphs.values():
            for body in bodies:
                self.pending.append(
                    Pending(body, task.depth + 1, task.growth.child(), task.owner, trips=trips)
                )

    def _trips(self, node: Operator, attributes: Attributes, task: Pending) -> int:
        """How often a Loop's body runs at least, as far as the file fixes it; 1 where data decides."""
        count_name, start_name = [*node.inputs, "", ""][:2]
        count = task.growth.values(count_name)
        if task.growth.values(start_name) == (0,):
            return 0
        goes_on = any(self._always_continues(body) for body in attributes.graphs.get("body", ()))
        if not count_name and (goes_on or not start_name):
            raise self.found.refuse(
                "holds a loop without count whose condition never turns false", "endless-loop"
            )
        if count and (goes_on or not start_name):
            return max(count[0], 1)
        self.found.warn("a loop's number of rounds is decided when the model runs")
        return 1

    def _always_continues(self, body: memoryview) -> bool:
        """Whether a Loop body's condition is constantly true, or its own condition input passed through."""
        inputs: list[str] = []
        outputs: list[str] = []
        truths: set[str] = set()
        copies: dict[str, str] = {}
        for number, wire_type, value in fields(body):
            if wire_type != LEN:
                continue
            if number in (11, 12):
                names = [text(part, _MAX_NAME) for index, _, part in fields(message(value)) if index == 1]
                (inputs if number == 11 else outputs).extend(names[-1:])
            elif number == 5:
                name, made = tensor(message(value), self.found)
                if made.values == (1,):
                    truths.add(name)
            elif number == 1:
                self._note_truth(Operator.read(message(value)), truths, copies)
        truths.update(inputs[1:2])
        condition = outputs[0] if outputs else ""
        for _ in range(64):
            if condition in truths:
                return True
            condition = copies.get(condition, "")
        return False

    def _note_truth(self, node: Operator, truths: set[str], copies: dict[str, str]) -> None:
        """Remember an output that is constantly true, or that merely copies an input."""
        if node.op in ("Identity", "Cast") and node.inputs and node.outputs:
            copies[node.outputs[0]] = node.inputs[0]
        elif node.op == "Constant" and node.outputs:
            attributes = Attributes()
            for view in node.attributes:
                attributes.read(view, self.found)
            made = attributes.constant()
            if made is not None and made.values == (1,):
                truths.add(node.outputs[0])

    def _judge_inlining(self) -> None:
        """ModelError when functions call themselves, or call each other so often that inlining would explode."""
        expanded: dict[Key, int] = {}
        open_keys: list[Key] = [*self.functions, _MAIN]
        active: set[Key] = set()
        while open_keys:
            key = open_keys[-1]
            if key in expanded:
                open_keys.pop()
                continue
            callees = self.calls.get(key, Counter())
            missing = [callee for callee in callees if callee not in expanded]
            if not missing:
                expanded[key] = self.sizes[key] + sum(
                    expanded[callee] * times for callee, times in callees.items()
                )
                active.discard(key)
                open_keys.pop()
            elif key in active:
                raise self.found.refuse("holds functions that call themselves", "endless-loop")
            else:
                active.add(key)
                open_keys.extend(missing)
        limit = self.found.limits.max_nodes
        if expanded[_MAIN] > limit:
            raise self.found.refuse(
                f"unfolds to {expanded[_MAIN]} nodes, more than {limit}", "too-many-nodes"
            )


def _beginning(run: Run, before: list[int]) -> list[int]:
    """As many of a run's numbers as are looked at, where `before` does not hold so many already."""
    wanted = max(MAX_VALUES + 1 - len(before), 0)
    return [number for each in run.first(wanted) for number in repeated_ints(run.wire, each)]


def _function_key(view: memoryview) -> Key:
    name = domain = ""
    for number, wire_type, value in fields(view):
        if number == 1 and wire_type == LEN:
            name = text(value, 1000)
        elif number == 10 and wire_type == LEN:
            domain = text(value, 1000)
    return domain, name


def _model(view: memoryview, found: Findings) -> tuple[memoryview, list[memoryview]]:
    graph: memoryview | None = None
    functions: list[memoryview] = []
    ir_version = 0
    for number, wire_type, value in fields(view):
        if number == 1 and isinstance(value, int) and wire_type == VARINT:
            ir_version = signed(value)
        elif number == 7 and wire_type == LEN:
            if graph is not None:
                raise found.refuse("holds two graphs where one belongs", "malformed")
            graph = message(value)
        elif number == 8 and wire_type == LEN:
            _opset(message(value), found)
        elif number == 20:
            found.warn("the file carries training information, which is not used")
        elif number == 25 and wire_type == LEN:
            functions.append(message(value))
    if graph is None:
        raise found.refuse("holds no graph", "malformed", "The export did not finish.")
    limit = found.limits.max_ir_version
    if not 1 <= ir_version <= limit:
        raise found.refuse(
            f"has IR version {ir_version}; versions 1 to {limit} are known",
            "future-version",
            "Export it for an older one.",
        )
    if not found.opsets and ir_version >= 3:
        raise found.refuse("does not say which opset it uses", "malformed", "Export it again.")
    return graph, functions


def _opset(view: memoryview, found: Findings) -> None:
    domain, version = "", 0
    for number, _, value in fields(view):
        if number == 1:
            domain = text(value, 1000)
        elif number == 2 and isinstance(value, int):
            version = signed(value)
    if domain in ("", "ai.onnx") and not 1 <= version <= found.limits.max_opset:
        raise found.refuse(
            f"uses opset {version}; opsets 1 to {found.limits.max_opset} are known",
            "future-version",
            "Export it for an older opset.",
        )
    found.opsets[domain] = version
