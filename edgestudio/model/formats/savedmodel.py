"""Reads a TensorFlow SavedModel: its default signature, the functions behind it, the variables it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgestudio.model.content import opened, tree_size_bytes
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import size_bytes
from edgestudio.model.formats.tensor_bundle import Variable, listed, stored
from edgestudio.model.formats.tensorflow_graph import NodeDef, TensorFlowGraphs, ancestors
from edgestudio.model.formats.tensorflow_restore import restored
from edgestudio.model.formats.tensorflow_text import binary
from edgestudio.model.formats.tensorflow_values import dtype_of, shape_of
from edgestudio.model.graph import Dimension, Graph, Model, Tensor
from edgestudio.model.message import Message
from edgestudio.wire.errors import ModelError

_CALLS = {"StatefulPartitionedCall", "PartitionedCall"}
_PASSIVE = {"Placeholder", "VarHandleOp", "Identity", "NoOp", "Const", "_Arg"}
_MAX_WRAPPERS = 8
_DEFAULT = "serving_default"
_INIT = "__saved_model_init_op"


class Signature:
    """What a SavedModel can be called with: names outside, references inside, types and shapes."""

    def __init__(self, name: str, message: Message) -> None:
        self.name = name
        self.inputs = dict(sorted(_infos(message, 1).items()))
        self.outputs = dict(sorted(_infos(message, 2).items()))

    def __str__(self) -> str:
        return f"({', '.join(self.inputs)}) → ({', '.join(self.outputs)})"


def read(found: Recognised) -> Model:
    """The model in the folder of `found.file`; raises ModelError when it holds no graph."""
    folder = found.file.parent
    warnings = list(found.warnings)
    with opened(found.file) as buffer:
        saved = Message(binary(buffer, found.path.name))
        meta = next(saved.messages(2), None)
        definition = meta.message(2) if meta is not None else None
        if meta is None or definition is None:
            raise ModelError(
                f"{found.path.name} is a SavedModel that holds no graph.",
                hint="Export it again.",
                code="no-graph",
            )
        info = meta.message(1)
        signatures = _signatures(meta)
        graphs = TensorFlowGraphs(definition.message(2))
        held = _held(folder, warnings)
        _main(graphs, definition, signatures, held)
        metadata = {f"signature {name}": str(signature) for name, signature in signatures.items()}
        if info is not None:
            metadata["tags"] = ", ".join(info.texts(4))
        metadata["operations"] = str(graphs.operations)
        version = info.text(5) if info is not None else ""
    weights = [each.tensor for each in listed(held)]
    return Model(
        format="savedmodel",
        format_version="schema 1",
        producer=f"TensorFlow {version}".strip(),
        opsets={},
        graphs=tuple(graphs.graphs),
        size_bytes=tree_size_bytes(folder),
        metadata=metadata,
        warnings=tuple(dict.fromkeys((*warnings, *graphs.warnings))),
        weights=tuple(weights),
    )


def _infos(message: Message, number: int) -> dict[str, tuple[str, str, tuple[Dimension, ...] | None]]:
    found = {}
    for entry in message.messages(number):
        info = entry.message(2)
        if info is not None:
            reference = info.text(1).removesuffix(":0")
            found[entry.text(1)] = (reference, dtype_of(info.integer(2)), shape_of(info.message(3)))
    return found


def _signatures(meta: Message) -> dict[str, Signature]:
    found = {}
    for entry in meta.messages(5):
        body = entry.message(2)
        if body is not None and entry.text(1) != _INIT:
            found[entry.text(1)] = Signature(entry.text(1), body)
    return found


def _main(
    graphs: TensorFlowGraphs,
    definition: Message,
    signatures: dict[str, Signature],
    held: Mapping[str, Variable],
) -> None:
    """Read the graph behind the default signature, past the wrappers that only call one function.

    `held` are the variables of the checkpoint by their keys.
    """
    index = graphs.reserve()
    nodes = [NodeDef(message) for message in definition.messages(1)]
    signature = signatures.get(_DEFAULT) or next(iter(signatures.values()), None)
    if signature is None:
        graphs.add_nodes(index, "main", nodes, None)
        return
    outputs = [reference for reference, *_ in signature.outputs.values()]
    keys = restored(nodes, graphs.function)
    nodes = ancestors(nodes, outputs)
    # What each argument of the function stands for: the signature's input of that name, or None for a weight.
    roles: dict[str, str | None] = {reference: name for name, (reference, *_) in signature.inputs.items()}
    variables = {node.name: _variable_of(node, keys, held) for node in nodes if node.op == "VarHandleOp"}
    variables.update({node.name: node.name for node in nodes if node.op == "Const"})
    function: tuple[str, Message] | None = None
    wrapped = 0  # operations of the function that was entered last, its arguments among them
    for _ in range(_MAX_WRAPPERS):
        call = _only_call(nodes)
        inner = graphs.function(call.functions[0]) if call is not None else None
        if call is None or inner is None:
            break
        definition_of = inner.message(1)
        names = (
            [argument.text(1) for argument in definition_of.messages(2)] if definition_of is not None else []
        )
        if function is not None:
            graphs.operations += wrapped
        wrapped = len(inner.views(3)) + len(names)
        function = (call.functions[0], inner)
        variables = {
            name: variables[ref] for name, ref in zip(names, call.inputs, strict=False) if ref in variables
        }
        roles = {name: roles.get(ref) for name, ref in zip(names, call.inputs, strict=False)}
        nodes = [NodeDef(message) for message in inner.messages(3)]
    if function is not None:
        graphs.add_function(index, *function)
    else:
        graphs.add_nodes(index, signature.name, nodes, outputs)
    graphs.graphs[index] = _named(graphs.graphs[index], signature, roles, variables)


def _variable_of(node: NodeDef, keys: Mapping[str, str], held: Mapping[str, Variable]) -> str:
    """The name of the variable that a handle stands for; `keys` say under which key the checkpoint holds it."""
    variable = held.get(keys.get(node.name, ""))
    if variable is not None:
        return variable.tensor.name
    shared = node.attributes.get("shared_name")
    return shared if isinstance(shared, str) and shared else node.name


def _only_call(nodes: list[NodeDef]) -> NodeDef | None:
    """The call that is all these nodes do."""
    working = [node for node in nodes if node.op not in _PASSIVE]
    return working[0] if len(working) == 1 and working[0].op in _CALLS and working[0].functions else None


def _named(
    graph: Graph, signature: Signature, roles: dict[str, str | None], variables: dict[str, str]
) -> Graph:
    """The main graph with the signature's names; weights that are handed in are constants, no inputs.

    Handles have the names of their variables, under which the checkpoint holds the values, and constants that are
    handed in their own.
    """
    tensors = list(graph.tensors)
    inputs = []
    for index in graph.inputs:
        old = tensors[index]
        role = roles.get(old.name)
        if role is None:
            is_variable = old.dtype == "resource"
            name = variables.get(old.name, old.name)
            tensors[index] = replace(old, name=name, kind="activation" if is_variable else "constant")
            continue
        _, dtype, shape = signature.inputs[role]
        known = shape if shape is not None else old.shape
        tensors[index] = Tensor(
            role, dtype or old.dtype, known, "input", size_bytes(dtype or old.dtype, known)
        )
        inputs.append(index)
    if len(graph.outputs) == len(signature.outputs):
        for index, (name, (_, dtype, shape)) in zip(graph.outputs, signature.outputs.items(), strict=True):
            old = tensors[index]
            if old.kind == "output":
                known = shape if shape is not None else old.shape
                tensors[index] = Tensor(name, dtype or old.dtype, known, "output", size_bytes(dtype, known))
    return replace(graph, tensors=tuple(tensors), inputs=tuple(inputs))


def _held(folder: Path, warnings: list[str]) -> dict[str, Variable]:
    """The variables of the checkpoint by their keys, none where it is missing or damaged."""
    index = folder / "variables" / "variables.index"
    if not index.is_file():
        return {}
    if not any((folder / "variables").glob("variables.data-*")):
        warnings.append(
            "the values of the variables are missing (variables/variables.data-*); it cannot be run"
        )
    try:
        return stored(index)
    except ModelError as error:
        warnings.append(error.message)
        return {}
