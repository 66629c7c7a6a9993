"""Turns TorchScript's code into graphs: calls become nodes, submodules are followed, branches become subgraphs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from edgestudio.model.building import GraphBuilder
from edgestudio.model.formats.pickle_text import Made
from edgestudio.model.formats.torch_nodes import NodeWriter, Place
from edgestudio.model.formats.torch_parts import (
    Grown,
    Methods,
    Module,
    Named,
    Packed,
    Ref,
    flat,
    operator_name,
    plain,
)
from edgestudio.model.formats.torch_plain import UNKNOWN, worked_out
from edgestudio.model.formats.torch_ranks import Ranks
from edgestudio.model.formats.torch_values import Placed, described, placed_of
from edgestudio.model.graph import Graph, Tensor

_MAX_CALLS = 64
"""How deep calls may nest; modules of honest models stay below ten."""
_SILENT = {"ops.prim.RaiseException", "ops.prim.SetAttr"}
_LIBRARY = "__torch__.torch."
"""Where PyTorch's own layers are, which take single rows and batches alike."""
_KINDS = {"ops.prim.dtype", "ops.prim.device"}
"""What code asks of a value to make another one alike: nothing is computed."""
_TRANSPARENT = {"annotate", "unchecked_cast", "ops.prim.unchecked_cast"}


class CodeReader(NodeWriter):
    """Reads the `forward` of a module; `graphs[0]` is the result."""

    def __init__(
        self, methods: Methods, constants: list[Any], weights: Mapping[Placed, Tensor] | None = None
    ) -> None:
        """`weights` are the module's tensors by where they lie: one that is held twice has one name."""
        super().__init__(weights)
        self.warnings: list[str] = []
        self._functions = methods.functions
        self._constants = constants
        self._ranks = Ranks(self._known, self.warnings)

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
        place = Place(GraphBuilder(module.name.rpartition(".")[2]), "")
        names = [argument.arg for argument in forward.args.args[:1]]
        place.variables.update((name, Module(module, "")) for name in names)
        inputs = []
        for argument in forward.args.args[1:]:
            place.variables[argument.arg] = Ref(argument.arg)
            self._ranks.inputs.add(argument.arg)
            index = place.builder.find(argument.arg)
            kind = ast.unparse(argument.annotation) if argument.annotation is not None else ""
            place.builder.describe(
                index, {"int": "int64", "float": "float64", "bool": "bool"}.get(kind, ""), None, "input"
            )
            inputs.append(index)
        self._body(place, forward.body)
        outputs = [self._index(place, item) for item in flat(place.returned)]
        for index in outputs:
            if index >= 0 and place.builder.kinds[index] == "activation":
                place.builder.kinds[index] = "output"
        self.graphs[0] = place.builder.finish(inputs, [index for index in outputs if index >= 0])
        self.warnings += [warning for warning in place.builder.warnings if "more than once" not in warning]

    def _body(self, place: Place, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(place, statement)

    def _statement(self, place: Place, statement: ast.stmt) -> None:
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

    def _assign(self, place: Place, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            place.variables[target.id] = value
        elif isinstance(target, ast.Tuple):
            items = value if isinstance(value, (tuple, list)) else (value,) * len(target.elts)
            if isinstance(value, Ref):
                items = self._node(place, "prim::TupleUnpack", [value], {}, len(target.elts))
            for part, item in zip(target.elts, items, strict=False):
                self._assign(place, part, item)
        elif isinstance(target, ast.Attribute):
            owner = self._value(place, target.value)
            if isinstance(owner, Module):
                place.variables[f"{owner.path}.{target.attr}"] = value

    def _branch(self, place: Place, statement: ast.If) -> None:
        raises = [_raises(side) for side in (statement.body, statement.orelse)]
        if raises[0] != raises[1]:  # what only refuses its input is no side that a model takes
            self._body(place, statement.orelse if raises[0] else statement.body)
            return
        test = self._value(place, statement.test)
        if isinstance(test, bool):  # how a module was made, not what it is given: only one side is ever run
            self._body(place, statement.body if test else statement.orelse)
            return
        sides = [self._nested(place, body) for body in (statement.body, statement.orelse)]
        changed = [
            name
            for name in dict.fromkeys((*sides[0].variables.written(), *sides[1].variables.written()))
            if any(side.variables.get(name) is not place.variables.get(name) for side in sides)
        ]
        # What both sides compute comes first, in the order of their graphs' outputs.
        both = [name for name in changed if all(_is_computed(side.variables.get(name)) for side in sides)]
        changed = [*both, *(name for name in changed if name not in both)]
        graphs = [self._close(side, [side.variables.get(name) for name in both]) for side in sides]
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

    def _loop(self, place: Place, statement: ast.While | ast.For) -> None:
        if isinstance(statement, ast.For):
            test = self._value(place, statement.iter)
            if isinstance(test, range) and self._budget.may_write_out(len(test)):
                for number in test:
                    self._assign(place, statement.target, number)
                    self._body(place, statement.body)
                return
            given = [statement.target.id] if isinstance(statement.target, ast.Name) else []
        else:
            test, given = self._value(place, statement.test), []
        inner = self._nested(place, statement.body, given)
        changed = [
            name
            for name in inner.variables.written()
            if inner.variables.get(name) is not place.variables.get(name)
        ]
        changed.sort(key=lambda name: not _is_computed(inner.variables.get(name)))
        graph = self._close(inner, [inner.variables.get(name) for name in changed])
        before = [place.variables.get(name) for name in changed]
        carried = [value for value in before if isinstance(value, Ref)]
        outs = self._node(place, "prim::Loop", [test, *carried], {}, max(len(changed), 1), (graph,))
        place.variables.update(zip(changed, outs, strict=False))

    def _nested(self, place: Place, body: list[ast.stmt], given: list[str] | None = None) -> Place:
        if place.depth >= _MAX_CALLS:
            raise ValueError("the code is nested too deeply")
        inner = Place(
            GraphBuilder("block"),
            place.scope,
            place.variables.block(),
            None,
            place.depth + 1,
            place.level + 1,
            place.is_library,
        )
        for name in given or ():
            inner.variables[name] = Ref(self._fresh(name))
        self._body(inner, body)
        return inner

    def _value(self, place: Place, expression: ast.expr, count: int = 1) -> Any:
        value = self._evaluated(place, expression, count)
        self._budget.step(value)
        return value

    def _evaluated(self, place: Place, expression: ast.expr, count: int) -> Any:
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
            if not items:
                return Grown(place.level)
            if all(isinstance(item, Tensor) for item in items):
                return Packed(tuple(items))  # the weights of a recurrent layer
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

    def _operator(self, place: Place, expression: ast.expr) -> Any:
        if isinstance(expression, ast.Subscript):
            owner, key = self._value(place, expression.value), self._value(place, expression.slice)
            if isinstance(owner, Named):  # a type, such as Optional[Tensor]
                return owner
            if isinstance(owner, (tuple, list)) and isinstance(key, int) and -len(owner) <= key < len(owner):
                return owner[key]
            return self._node(place, "aten::__getitem__", [owner, key], {})[0]
        if isinstance(expression, ast.IfExp):
            test = self._value(place, expression.test)
            if isinstance(test, bool):
                return self._value(place, expression.body if test else expression.orelse)
            sides = [self._value(place, expression.body), self._value(place, expression.orelse)]
            return self._node(place, "prim::If", [test, *sides], {})[0]
        if isinstance(expression, ast.Dict) and not expression.keys:
            return {}
        parts = [
            self._value(place, part)
            for part in ast.iter_child_nodes(expression)
            if isinstance(part, ast.expr)
        ]
        return self._node(place, f"prim::{type(expression).__name__}", parts, {})[0] if parts else None

    def _attribute(self, place: Place, expression: ast.Attribute) -> Any:
        return self._member(place, self._value(place, expression.value), expression.attr)

    def _member(self, place: Place, owner: Any, name: str) -> Any:
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
            state = owner.made.state
            if isinstance(state, tuple):
                self._restore(place, owner, state)
                return place.variables.get(f"{owner.path}.{name}")
            return self._held(path, state.get(name)) if isinstance(state, dict) else None
        return self._node(place, f"prim::{name}", [owner], {})[0]

    def _held(self, path: str, value: Any) -> Any:
        """What a module holds at a path: a weight, a submodule or a plain value."""
        self._budget.step(value)
        if isinstance(value, Made):
            placed = placed_of(value)
            if placed is not None:
                return self._weights.get(placed) or described(path, placed)
            if value.name.startswith("torch.jit._pickle.") and value.arguments:  # a list with its type
                return self._held(path, value.arguments[0])
            return Module(value, path)
        if isinstance(value, (tuple, list)):
            items = [self._held(f"{path}.{at}", item) for at, item in enumerate(value)]
            is_weights = isinstance(value, list) and all(isinstance(item, Tensor) for item in items)
            return Packed(tuple(items)) if items and is_weights else type(value)(items)
        return value

    def _restore(self, place: Place, owner: Module, state: tuple[Any, ...]) -> None:
        """Follow how a module that lists its fields, as quantised ones do, puts them back."""
        function = self._functions.get(f"{owner.made.name}.__setstate__")
        if function is not None:
            fields = self._held(owner.path, state)
            self._inline(place, function, [owner, fields], {}, owner.path)

    def _unpacked(self, arguments: list[Any]) -> list[Any]:
        """The arguments with the weights in the place of what keeps them packed for a quantised operator."""
        found: list[Any] = []
        for item in arguments:
            if isinstance(item, Module) and ".torch.classes." in item.made.name:
                parts = flat(self._held(item.path, item.made.state))
                found += [part for part in parts if isinstance(part, Tensor)]
            else:
                found += item.parts if isinstance(item, Packed) else [item]
        return found

    def _call(self, place: Place, call: ast.Call, count: int) -> Any:
        arguments = [self._value(place, item) for item in call.args]
        keywords = {word.arg or "": self._value(place, word.value) for word in call.keywords}
        if isinstance(call.func, ast.Attribute):
            owner = self._value(place, call.func.value)
            if isinstance(owner, Module):
                function = self._functions.get(f"{owner.made.name}.{call.func.attr}")
                if function is not None:
                    is_library = owner.made.name.startswith(_LIBRARY)
                    return self._inline(
                        place, function, [owner, *arguments], keywords, owner.path, is_library=is_library
                    )
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
            return self._inline(
                place, function, arguments, keywords, None, is_library=path.startswith(_LIBRARY)
            )
        return self._operation(place, path, self._unpacked(arguments), keywords, count)

    def _operation(
        self, place: Place, path: str, arguments: list[Any], keywords: dict[str, Any], count: int
    ) -> Any:
        """What one of the library's operators gives: what is known without data, else a node's results."""
        if path.endswith("_prepack"):
            return Packed(tuple(item for item in arguments if isinstance(item, (Ref, Tensor))))
        if path == "torch.append" and len(arguments) == 2:
            grown = arguments[0]
            if isinstance(grown, Grown) and grown.level == place.level:
                grown.append(arguments[1])
                return grown
        if path in _KINDS and arguments:
            return Named(f"{path[9:]} of a value")
        arguments = [self._ranks.number(item) for item in arguments]
        known = self._ranks.answer(path, arguments, is_library=place.is_library)
        known = worked_out(path, arguments, self._told) if known is None else known
        if known is not UNKNOWN:
            return known
        attributes = {
            key: plain(value) for key, value in keywords.items() if not isinstance(value, (Ref, Tensor))
        }
        arguments += [value for value in keywords.values() if isinstance(value, (Ref, Tensor))]
        outs = self._node(place, operator_name(path), arguments, attributes, count)
        if arguments and isinstance(arguments[0], Ref):
            self._ranks.note(path, arguments[0], outs[0], place.builder.nodes[-1])
        return outs[0] if count == 1 else outs

    def _inline(
        self,
        place: Place,
        function: ast.FunctionDef,
        arguments: list[Any],
        keywords: dict[str, Any],
        path: str | None,
        *,
        is_library: bool = False,
    ) -> Any:
        if place.depth >= _MAX_CALLS:
            raise ValueError("calls are nested too deeply")
        self._fresh("call")
        names = [argument.arg for argument in function.args.args]
        defaults = function.args.defaults
        variables = place.variables.method()
        for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
            variables[name] = self._value(place, default)
        variables.update(zip(names, arguments, strict=False))
        variables.update((key, value) for key, value in keywords.items() if key in names)
        scope = place.scope if path is None else path.replace(".", "/")
        inner = Place(place.builder, scope, variables, None, place.depth + 1, place.level, is_library)
        self._body(inner, function.body)
        return inner.returned


def _raises(body: list[ast.stmt]) -> bool:
    """True for a block that ends in an error, whatever else is in it."""
    calls = [
        item.value.func for item in body if isinstance(item, ast.Expr) and isinstance(item.value, ast.Call)
    ]
    return any(isinstance(call, ast.Attribute) and call.attr == "RaiseException" for call in calls)


def _is_computed(value: Any) -> bool:
    return isinstance(value, (Ref, Tensor))
