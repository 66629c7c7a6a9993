"""Finds under which key of its checkpoint each variable of a SavedModel is kept: as its own restoring says.

Names alone do not tell: exports of Keras 3 hold two handles for each variable, and call one of them otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgestudio.model.formats.tensorflow_graph import NodeDef
from edgestudio.model.message import Message

_ASSIGNING = {"AssignVariableOp", "Assign"}
_PASSED = {"Identity", "Cast"}
_MOST_PASSED = 8


def restored(nodes: Sequence[NodeDef], function: Callable[[str], Message | None]) -> dict[str, str]:
    """Names of the handles in a graph to keys of the checkpoint; `function` gets a function by its name."""
    found = _assigned(nodes)
    for node in nodes:
        for name in node.functions if node.op.endswith("PartitionedCall") else ():
            body = function(name)
            signature = body.message(1) if body is not None else None
            if body is None or signature is None or not any(b"Restore" in bytes(v) for v in body.views(3)):
                continue
            inside = _assigned([NodeDef(message) for message in body.messages(3)])
            arguments = [argument.text(1) for argument in signature.messages(2)]
            for argument, outside in zip(arguments, node.inputs, strict=False):
                if argument in inside:
                    found.setdefault(outside, inside[argument])
    return found


def _assigned(nodes: Sequence[NodeDef]) -> dict[str, str]:
    """What is assigned from `RestoreV2`: the variable's reference to the key."""
    named = {node.name: node for node in nodes}
    keys = {node.name: _keys(node, named) for node in nodes if node.op == "RestoreV2"}
    found: dict[str, str] = {}
    for node in nodes if keys else ():
        if node.op not in _ASSIGNING or len(node.inputs) < 2:
            continue
        reference = node.inputs[1]
        for _ in range(_MOST_PASSED):
            source = named.get(reference.partition(":")[0])
            if source is None or source.op not in _PASSED or not source.inputs:
                break
            reference = source.inputs[0]
        name, _, slot = reference.partition(":")
        number = slot.rpartition(":")[2]
        at = int(number) if number.isdecimal() else 0
        if at < len(keys.get(name, ())):
            found[node.inputs[0]] = keys[name][at]
    return found


def _keys(restore: NodeDef, named: Mapping[str, NodeDef]) -> list[str]:
    names = named.get(restore.inputs[1].partition(":")[0]) if len(restore.inputs) > 1 else None
    tensor = names.tensor if names is not None else None
    return [] if tensor is None else [bytes(view).decode("utf-8", "replace") for view in tensor.views(8)]
