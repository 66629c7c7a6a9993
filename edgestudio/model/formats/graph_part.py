"""A part of a graph as a file of its own, for formats that are not written here: it opens and is checked like a model.

The file is what `model.graph.save` writes: structure, types, shapes and small values, without weights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgestudio.model import graph as graphs
from edgestudio.model.detect import Recognised
from edgestudio.model.graph import Graph, Model, Node, Tensor, TensorKind
from edgestudio.runtime.format_names import TITLES
from edgestudio.wire.errors import ModelError

_WRITTEN = {"onnx", "tflite", "graph-part"}
_CUT_FROM = "cut_from"
_WARNING = "a part that was cut out of {name}: its structure without its weights, to look at and to check"


def write_node(path: Path, model: Model, place: tuple[int, int], target: Path) -> None:
    """One node of a graph with the bodies that it has; weights keep their type and shape alone."""
    number, index = place
    found = model.graphs[number].nodes[index]
    needed: list[int] = []
    _bodies(model, found, needed)
    moved = {old: at + 1 for at, old in enumerate(needed)}
    bodies = [_renumbered(model.graphs[old], moved) for old in needed]
    part = replace(
        model,
        graphs=(_alone(model.graphs[number], found, moved), *bodies),
        metadata={_CUT_FROM: path.name},
        warnings=(_WARNING.format(name=path.name),),
        weights=(),
        companions=(),
        size_bytes=0,
    )
    graphs.save(part, target)


def _bodies(model: Model, node: Node, needed: list[int]) -> None:
    for body in node.subgraphs:
        if body not in needed:
            needed.append(body)
            for inner in model.graphs[body].nodes:
                _bodies(model, inner, needed)


def _renumbered(graph: Graph, moved: dict[int, int]) -> Graph:
    nodes = (replace(node, subgraphs=tuple(moved[each] for each in node.subgraphs)) for node in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


def _alone(graph: Graph, node: Node, moved: dict[int, int]) -> Graph:
    used = list(dict.fromkeys(each for each in (*node.inputs, *node.outputs) if each >= 0))
    at = {old: new for new, old in enumerate(used)}
    tensors = []
    for old in used:
        tensor = graph.tensors[old]
        is_made = old in node.outputs
        kind: TensorKind = "output" if is_made else "constant" if tensor.kind == "constant" else "input"
        tensors.append(replace(tensor, kind=kind))
    alone = replace(
        node,
        inputs=tuple(at.get(each, -1) for each in node.inputs),
        outputs=tuple(at.get(each, -1) for each in node.outputs),
        subgraphs=tuple(moved[each] for each in node.subgraphs),
        scope="",
    )
    inputs = [at[each] for each in used if each not in node.outputs and tensors[at[each]].kind == "input"]
    outputs = [at[each] for each in node.outputs if each >= 0]
    return Graph(graph.name, (alone,), tuple(tensors), tuple(inputs), tuple(outputs))


def read(found: Recognised) -> Model:
    """The part in `found.file`; raises ModelError, ValueError and LookupError for what does not hold together."""
    model = graphs.load(found.file)
    name = str(model.metadata.get(_CUT_FROM, "")) if isinstance(model.metadata, dict) else ""
    if not name or not model.graphs:
        raise ModelError(
            f"{found.path.name} is a graph that this application keeps for itself, and no model.",
            hint="Open the model that it was read from.",
            code="not-a-model",
        )
    if model.format not in TITLES or model.format in _WRITTEN or not isinstance(model.opsets, dict):
        raise ValueError("it says that it is of a format that is not written so")
    for graph in model.graphs:
        _check(graph, len(model.graphs))
    return replace(
        model,
        size_bytes=found.file.stat().st_size,
        warnings=(*found.warnings, _WARNING.format(name=name)),
        metadata={_CUT_FROM: name},
        companions=(),
    )


def _check(graph: Graph, count: int) -> None:
    """Raise ValueError unless every number means something: the file may be anybody's."""
    tensors = range(len(graph.tensors))
    for tensor in graph.tensors:
        _check_tensor(tensor)
    for node in graph.nodes:
        words = (node.name, node.op, node.domain, node.scope)
        if not all(isinstance(word, str) for word in words) or not isinstance(node.attributes, dict):
            raise ValueError("a node is no node")
        if not all(isinstance(at, int) and 0 < at < count for at in node.subgraphs):
            raise ValueError("a node has a body that is not there")
        if not all(at == -1 or at in tensors for at in (*node.inputs, *node.outputs)):
            raise ValueError("a node reads or writes what is not there")
    if not all(at in tensors for at in (*graph.inputs, *graph.outputs)):
        raise ValueError("an input or output is not there")


def _check_tensor(tensor: Tensor) -> None:
    is_sized = tensor.shape is None or all(
        size is None or isinstance(size, str) or (isinstance(size, int) and size >= 0)
        for size in tensor.shape
    )
    if (
        not isinstance(tensor.name, str)
        or not isinstance(tensor.dtype, str)
        or tensor.kind not in ("input", "output", "constant", "activation")
        or not is_sized
    ):
        raise ValueError("a tensor is no tensor")
