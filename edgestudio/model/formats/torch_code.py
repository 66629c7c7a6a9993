"""Turns TorchScript's code into graphs: calls become nodes, submodules are followed, branches become subgraphs."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from edgestudio.model.building import GraphBuilder
from edgestudio.model.formats.pickle_text import Made
from edgestudio.model.formats.torch_values import tensor_of
from edgestudio.model.graph import Graph, Node, Tensor, TensorKind

MAX_NODES = 300_000
_MAX_CALLS = 64
"""How deep calls may nest; modules of honest models stay below ten."""
_SILENT = {"ops.prim.RaiseException", "ops.prim.SetAttr"}
_TRANSPARENT = {"annotate", "unchecked_cast", "ops.prim.unchecked_cast"}


class Methods:
    """Classes and functions of an archive by their dotted names."""

    def __init__(self) -> None:
        self.functions: dict[str, ast.FunctionDef] = {}

    def add(self, module: str, tree: ast.Module) -> None:
        """Note every function and method of one file."""
        for item in tree.body:
            if isinstance(item, ast.FunctionDef):
                self.functions[f"{module}.{item.name}"] = item
            elif isinstance(item, ast.ClassDef):
                for member in item.body:
                    if isinstance(member, ast.FunctionDef):
                        self.functions[f"{module}.{item.name}.{member.name}"] = member


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor or other value that only exists while the model runs, by its unique name."""

    key: str


@dataclass(frozen=True, slots=True)
class Module:
    """A submodule, with the path by which the model holds it."""

    made: Made
    path: str


@dataclass(frozen=True, slots=True)
class Named:
    """A dotted name in the code, such as torch.conv2d."""

    path: str


@dataclass(slots=True)
class _Place:
    """Where nodes are added: a graph, and the variables that the code sees."""

    builder: GraphBuilder
    scope: str
    variables: dict[str, Any] = field(default_factory=dict)
    returned: Any = None
    depth: int = 0


class CodeReader:
    """Reads the `forward` of a module; `graphs[0]` is the result."""

    def __init__(self, methods: Methods, constants: list[Any]) -> None:
        self.graphs: list[Graph] = []
        self.warnings: list[str] = []
        self.used_weights: set[str] = set()
        self._functions = methods.functions
        self._constants = constants
        self._count = 0
        self._kinds: dict[str, tuple[str, TensorKind]] = {}

    def read(self, module: Made) -> None:
        """Add the graph of the module's forward method."""
        self.graphs.append(Graph("", (), (), (), ()))
        forward = self._functions.get(f"{module.name}.forward")
        if forward is None:
            methods = [
                name.rpartition(".")[2] for name in self._functions if name.startswith(f"{module.name}.")
            ]
            self.warnings.append(
                f"the module has no forward method (it has {', '.join(methods[:5]) or 'none'})"
            )
            return
        place = _Place(GraphBuilder(module.name.rpartition(".")[2]), "")
        names = [argument.arg for argument in forward.args.args[:1]]
        place.variables.update({name: Module(module, "") for name in names})
        inputs = []
        for argument in forward.args.args[1:]:
            place.variables[argument.arg] = Ref(argument.arg)
            index = place.builder.find(argument.arg)
            kind = ast.unparse(argument.annotation) if argument.annotation is not None else ""
            place.builder.describe(
                index, {"int": "int64", "float": "float64", "bool": "bool"}.get(kind, ""), None, "input"
            )
            inputs.append(index)
        self._body(place, forward.body)
        outputs = [self._index(place, item) for item in _flat(place.returned)]
        for index in outputs:
            if index >= 0 and place.builder.kinds[index] == "activation":
                place.builder.kinds[index] = "output"
        self.graphs[0] = place.builder.finish(inputs, [index for index in outputs if index >= 0])
        self.warnings += [warning for warning in place.builder.warnings if "more than once" not in warning]

    def _body(self, place: _Place, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(place, statement)

    def _statement(self, place: _Place, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            count = len(target.elts) if isinstance(target, ast.Tuple) else 1
            self._assign(place, target, self._value(place, statement.value, count))
        elif isinstance(statement, ast.Return):
            place.returned = self._value(place, statement.value) if statement.value is not None else None
        elif isinstance(statement, ast.Expr):
            self._value(place, statement.value)
        elif isinstance(statement, ast.If):
            self._branch(place, statement)
        elif isinstance(statement, (ast.While, ast.For)):
            self._loop(place, statement)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            self._assign(place, statement.target, self._value(place, statement.value))

    def _assign(self, place: _Place, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            place.variables[target.id] = value
        elif isinstance(target, ast.Tuple):
            items = value if isinstance(value, tuple) else (value,) * len(target.elts)
            if isinstance(value, Ref):
                items = self._node(place, "prim::TupleUnpack", [value], {}, len(target.elts))
            for part, item in zip(target.elts, items, strict=False):
                self._assign(place, part, item)
        elif isinstance(target, ast.Attribute):
            owner = self._value(place, target.value)
            if isinstance(owner, Module):
                place.variables[f"{owner.path}.{target.attr}"] = value

    def _branch(self, place: _Place, statement: ast.If) -> None:
        test = self._value(place, statement.test)
        sides = [self._nested(place, body) for body in (statement.body, statement.orelse)]
        changed = [
            name
            for name in {**sides[0].variables, **sides[1].variables}
            if any(side.variables.get(name) is not place.variables.get(name) for side in sides)
        ]
        graphs = [self._close(side, [side.variables.get(name) for name in changed]) for side in sides]
        if not any(self.graphs[index].nodes for index in graphs) and not changed:
            return
        outs = self._node(place, "prim::If", [test], {}, max(len(changed), 1), tuple(graphs))
        for name, out in zip(changed, outs, strict=False):
            before = [side.variables.get(name) for side in sides]
            # Both sides naming the same submodule or number is no choice that data depends on.
            place.variables[name] = (
                before[0] if isinstance(before[0], Module) or before[0] == before[1] else out
            )
        for side in sides:
            if side.returned is not None:
                place.returned = side.returned if place.returned is None else place.returned

    def _loop(self, place: _Place, statement: ast.While | ast.For) -> None:
        if isinstance(statement, ast.For):
            test = self._value(place, statement.iter)
            given = [statement.target.id] if isinstance(statement.target, ast.Name) else []
        else:
            test, given = self._value(place, statement.test), []
        inner = self._nested(place, statement.body, given)
        changed = [name for name, value in inner.variables.items() if value is not place.variables.get(name)]
        graph = self._close(inner, [inner.variables[name] for name in changed])
        carried = [place.variables[name] for name in changed if isinstance(place.variables.get(name), Ref)]
        outs = self._node(place, "prim::Loop", [test, *carried], {}, max(len(changed), 1), (graph,))
        place.variables.update(zip(changed, outs, strict=False))

    def _nested(self, place: _Place, body: list[ast.stmt], given: list[str] | None = None) -> _Place:
        if place.depth >= _MAX_CALLS:
            raise ValueError("the code is nested too deeply")
        inner = _Place(GraphBuilder("block"), place.scope, dict(place.variables), None, place.depth + 1)
        for name in given or ():
            inner.variables[name] = Ref(self._fresh(name))
        self._body(inner, body)
        return inner

    def _close(self, place: _Place, results: list[Any]) -> int:
        outputs = [index for item in results for index in [self._index(place, item)] if index >= 0]
        index = len(self.graphs)
        self.graphs.append(place.builder.finish([], outputs))
        return index

    def _fresh(self, name: str) -> str:
        self._count += 1
        if self._count > MAX_NODES:
            raise ValueError(f"the code unfolds to more than {MAX_NODES} operators")
        return f"{name}.{self._count}"

    def _node(
        self,
        place: _Place,
        op: str,
        arguments: list[Any],
        attributes: dict[str, Any],
        count: int = 1,
        subgraphs: tuple[int, ...] = (),
    ) -> tuple[Ref, ...]:
        name = self._fresh(op.rpartition("::")[2])
        inputs = []
        for position, argument in enumerate(arguments):
            index = self._index(place, argument)
            if index >= 0:
                inputs.append(index)
            elif argument is not None:
                attributes.setdefault(f"argument {position}", _plain(argument))
        outs = tuple(Ref(name if count == 1 else f"{name}:{slot}") for slot in range(count))
        indices = tuple(place.builder.find(out.key) for out in outs)
        shown = f"{place.scope}/{name}" if place.scope else name
        place.builder.nodes.append(
            Node(shown, op, tuple(inputs), indices, attributes, "", place.scope, subgraphs)
        )
        return outs

    def _index(self, place: _Place, value: Any) -> int:
        """The tensor index of a value in the place's graph, -1 for what is no tensor."""
        builder = place.builder
        if isinstance(value, Ref):
            return builder.find(value.key)
        if isinstance(value, Tensor):
            index = builder.find(("weight", value.name), value.name)
            if builder.kinds[index] != "constant":
                kind: TensorKind = "activation" if value.name in self.used_weights else "constant"
                builder.describe(index, value.dtype, value.shape, kind, value.size_bytes)
                self.used_weights.add(value.name)
            return index
        return -1

    def _value(self, place: _Place, expression: ast.expr, count: int = 1) -> Any:
        if isinstance(expression, ast.Constant):
            return expression.value
        if isinstance(expression, ast.Name):
            return place.variables.get(expression.id, Named(expression.id))
        if isinstance(expression, ast.Attribute):
            return self._attribute(place, expression)
        if isinstance(expression, (ast.Tuple, ast.List)):
            items = [self._value(place, item) for item in expression.elts]
            if isinstance(expression, ast.Tuple):
                return tuple(items)
            if any(isinstance(item, (Ref, Tensor)) for item in items):
                return self._node(place, "prim::ListConstruct", items, {})[0]
            return items
        if isinstance(expression, ast.Call):
            return self._call(place, expression, count)
        if isinstance(expression, ast.UnaryOp):
            operand = self._value(place, expression.operand)
            if isinstance(operand, (int, float)) and isinstance(expression.op, ast.USub):
                return -operand
            return self._node(place, f"aten::{type(expression.op).__name__.lower()}", [operand], {})[0]
        return self._operator(place, expression)

    def _operator(self, place: _Place, expression: ast.expr) -> Any:
        if isinstance(expression, ast.Subscript):
            owner, key = self._value(place, expression.value), self._value(place, expression.slice)
            if isinstance(owner, (tuple, list)) and isinstance(key, int) and -len(owner) <= key < len(owner):
                return owner[key]
            return self._node(place, "aten::__getitem__", [owner, key], {})[0]
        if isinstance(expression, ast.IfExp):
            test = self._value(place, expression.test)
            sides = [self._value(place, expression.body), self._value(place, expression.orelse)]
            return self._node(place, "prim::If", [test, *sides], {})[0]
        parts = [
            self._value(place, part)
            for part in ast.iter_child_nodes(expression)
            if isinstance(part, ast.expr)
        ]
        return self._node(place, f"prim::{type(expression).__name__}", parts, {})[0] if parts else None

    def _attribute(self, place: _Place, expression: ast.Attribute) -> Any:
        return self._member(place, self._value(place, expression.value), expression.attr)

    def _member(self, place: _Place, owner: Any, name: str) -> Any:
        if isinstance(owner, Named):
            if owner.path == "CONSTANTS" and name[:1] == "c" and name[1:].isdigit():
                at = int(name[1:])
                return self._constants[at] if at < len(self._constants) else None
            return Named(f"{owner.path}.{name}")
        if isinstance(owner, Module):
            path = f"{owner.path}.{name}" if owner.path else name
            changed = place.variables.get(f"{owner.path}.{name}")
            if changed is not None:
                return changed
            state = owner.made.state if isinstance(owner.made.state, dict) else {}
            value = state.get(name)
            if isinstance(value, Made):
                return tensor_of(path, value) or Module(value, path)
            return value
        return self._node(place, f"prim::{name}", [owner], {})[0]

    def _call(self, place: _Place, call: ast.Call, count: int) -> Any:
        arguments = [self._value(place, item) for item in call.args]
        keywords = {word.arg or "": self._value(place, word.value) for word in call.keywords}
        if isinstance(call.func, ast.Attribute):
            owner = self._value(place, call.func.value)
            if isinstance(owner, Module):
                function = self._functions.get(f"{owner.made.name}.{call.func.attr}")
                if function is not None:
                    return self._inline(place, function, [owner, *arguments], keywords, owner.path)
        target = self._value(place, call.func)
        path = target.path if isinstance(target, Named) else ""
        if path == "getattr" and len(arguments) == 2 and isinstance(arguments[1], str):
            # Submodules whose names are no identifiers, such as the numbers in a Sequential.
            return self._member(place, arguments[0], arguments[1])
        if path in _TRANSPARENT and arguments:
            return arguments[-1]
        if path == "uninitialized" or path in _SILENT:
            return None
        function = self._functions.get(path)
        if function is not None:
            return self._inline(place, function, arguments, keywords, None)
        attributes = {
            key: _plain(value) for key, value in keywords.items() if not isinstance(value, (Ref, Tensor))
        }
        arguments += [value for value in keywords.values() if isinstance(value, (Ref, Tensor))]
        outs = self._node(place, _operator_name(path), arguments, attributes, count)
        return outs[0] if count == 1 else outs

    def _inline(
        self,
        place: _Place,
        function: ast.FunctionDef,
        arguments: list[Any],
        keywords: dict[str, Any],
        path: str | None,
    ) -> Any:
        if place.depth >= _MAX_CALLS:
            raise ValueError("calls are nested too deeply")
        self._fresh("call")
        names = [argument.arg for argument in function.args.args]
        defaults = function.args.defaults
        variables = {name: value for name, value in place.variables.items() if "." in name}
        for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
            variables[name] = self._value(place, default)
        variables.update(zip(names, arguments, strict=False))
        variables.update({key: value for key, value in keywords.items() if key in names})
        scope = place.scope if path is None else path.replace(".", "/")
        inner = _Place(place.builder, scope, variables, None, place.depth + 1)
        self._body(inner, function.body)
        place.variables.update({name: value for name, value in inner.variables.items() if "." in name})
        return inner.returned


def _operator_name(path: str) -> str:
    if path.startswith("torch."):
        return f"aten::{path[6:].rpartition('.')[2]}"
    if path.startswith("ops."):
        space, _, name = path[4:].partition(".")
        return f"{space}::{name}"
    return f"prim::{path or 'call'}"


def _plain(value: Any) -> Any:
    """A literal as an attribute; anything else by its kind."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value[:256]]
    if isinstance(value, Named):
        return value.path
    return type(value).__name__


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [item for inner in value for item in _flat(inner)]
    return [value]
