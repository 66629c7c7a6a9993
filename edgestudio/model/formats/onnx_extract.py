"""Writes one operator of an ONNX model as a model of its own, small enough for a bug report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestudio.model.content import opened
from edgestudio.model.formats.onnx_skeleton import skeleton
from edgestudio.model.formats.onnx_values import DTYPES
from edgestudio.model.graph import Model, Tensor
from edgestudio.wire.errors import ModelError

_CODES = {name: code for code, name in DTYPES.items()}
_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class _Found:
    """A node of the file, the graphs around it from the outside in, the calls that lead to it, its opsets."""

    node: Any
    scopes: tuple[Any, ...]
    calls: tuple[Any, ...]
    opsets: Any


def write_node(path: Path, model: Model, place: tuple[int, int], target: Path) -> None:
    """The node at `place`, graph and number, alone or with its bodies; it may be inside of a body or a function.

    Constants up to 1 KiB come along, larger weights become inputs, as does what bodies read from around them.
    Raises ModelError when the file has no such node.
    """
    import onnx

    with opened(path) as buffer:
        source = onnx.load_model_from_string(skeleton(memoryview(buffer)))
    graph = model.graphs[place[0]]
    wanted = graph.nodes[place[1]]
    outputs = [graph.tensors[t].name for t in wanted.outputs if t >= 0]
    every = _nodes(source) if place[0] else _inside(source.graph, (), (), source.opset_import, is_flat=True)
    found = next(
        (
            each
            for each in every
            if each.node.op_type == wanted.op and [o for o in each.node.output if o] == outputs
        ),
        None,
    )
    if found is None:
        raise ModelError(f"{path.name} has no node that writes {', '.join(outputs) or 'nothing'}.")
    node = _bound(found)
    tensors = {tensor.name: tensor for each in (*model.graphs, graph) for tensor in each.tensors}
    kept, constants = _known(found.scopes)
    read = [item for item in dict.fromkeys((*node.input, *_free(node))) if item]
    made = onnx.helper.make_graph(
        [*(constants[item] for item in read if item in constants), node],
        f"{node.op_type} alone",
        [_info(tensors.get(item), item) for item in read if item not in kept and item not in constants],
        [_info(tensors.get(item), item) for item in node.output if item],
        [kept[item] for item in read if item in kept],
    )
    opsets = found.opsets if len(found.opsets) else source.opset_import
    alone = onnx.helper.make_model(made, opset_imports=opsets, ir_version=source.ir_version)
    alone.functions.extend(source.functions)
    onnx.save(alone, target)


def _nodes(source: Any) -> Iterator[_Found]:
    """All nodes of a file: of its graph, of bodies, and of functions as often as they are called."""
    yield from _inside(source.graph, (), (), source.opset_import)
    calls: dict[tuple[str, str], Any] = {}
    for each in _inside(source.graph, (), (), source.opset_import):
        calls.setdefault((each.node.domain, each.node.op_type), each.node)
    functions = {(each.domain, each.name): each for each in source.functions}
    waiting: list[tuple[tuple[str, str], tuple[Any, ...]]] = [
        (key, (calls[key],)) for key in functions if key in calls
    ]
    for key, chain in waiting:  # grows while it is walked: functions call functions
        function = functions[key]
        for each in _inside(function, (), chain, function.opset_import):
            yield each
            inner = (each.node.domain, each.node.op_type)
            if inner in functions and inner not in calls and len(chain) < _DEEPEST:
                calls[inner] = each.node
                waiting.append((inner, (*chain, each.node)))


def _inside(
    graph: Any, scopes: tuple[Any, ...], calls: tuple[Any, ...], opsets: Any, *, is_flat: bool = False
) -> Iterator[_Found]:
    around = (*scopes, graph)
    for node in graph.node:
        yield _Found(node, around, calls, opsets)
        if len(around) < _DEEPEST and not is_flat:
            for attribute in node.attribute:
                for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                    yield from _inside(body, around, calls, opsets)


def _bound(found: _Found) -> Any:
    """The node with what its attributes are given by the calls of the function that it is in."""
    import onnx

    node = onnx.NodeProto()
    node.CopyFrom(found.node)
    if found.calls:
        given: dict[str, Any] = {}
        for call in found.calls:
            given = {each.name: _given(each, given) for each in call.attribute}
        defaults = {each.name: each for each in getattr(found.scopes[0], "attribute_proto", ())}
        _fill(node, {**defaults, **{name: each for name, each in given.items() if each is not None}})
    return node


def _given(attribute: Any, outer: dict[str, Any]) -> Any:
    return outer.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute


def _fill(node: Any, given: dict[str, Any]) -> None:
    for at in reversed(range(len(node.attribute))):
        attribute = node.attribute[at]
        if attribute.ref_attr_name:
            value = given.get(attribute.ref_attr_name)
            name = attribute.name
            if value is None:  # left out at the call: so the operator's own default holds
                del node.attribute[at]
                continue
            attribute.CopyFrom(value)
            attribute.name = name
        for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            for inner in body.node:
                _fill(inner, given)


def _known(scopes: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Small weights and constants that can be seen from inside all these graphs."""
    kept: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for scope in scopes:
        kept |= {
            each.name: each
            for each in getattr(scope, "initializer", ())
            if any(len(getattr(each, field)) for field in _DATA)
        }
        constants |= {
            each.output[0]: each for each in scope.node if each.op_type == "Constant" and each.output
        }
    return kept, constants


def _free(node: Any) -> list[str]:
    """What the bodies of a node read from around it."""
    found: list[str] = []
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            own = {each.name for each in (*body.input, *body.initializer)}
            own |= {each.values.name for each in body.sparse_initializer}
            for inner in body.node:
                found += [each for each in (*inner.input, *_free(inner)) if each and each not in own]
                own.update(inner.output)
            found += [each.name for each in body.output if each.name not in own]
    return found


def _info(tensor: Tensor | None, name: str) -> Any:
    import onnx

    code = _CODES.get(tensor.dtype, 1) if tensor is not None else 1
    shape = list(tensor.shape) if tensor is not None and tensor.shape is not None else None
    return onnx.helper.make_tensor_value_info(name, code, shape)
