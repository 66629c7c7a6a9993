"""The nodes of an ONNX file's main graph as the file lists them, for a library that does not tell which it runs."""

from __future__ import annotations

from pathlib import Path

from edgestudio.runtime.protobuf import WireError, fields, message, text
from edgestudio.runtime.scan.scan import file_bytes

_GRAPH, _NODE, _NAME, _OPERATOR = 7, 1, 3, 4
"""Field numbers of ModelProto.graph, GraphProto.node, NodeProto.name and NodeProto.op_type (onnx.proto)."""


def listed_nodes(path: Path) -> list[tuple[str, str]]:
    """(name, operator) of each node, before any optimisation; none where the file is no ONNX model. Raises ModelError
    where it cannot be read.
    """
    found: list[tuple[str, str]] = []
    try:
        with file_bytes(path) as data:
            for number, _, value in fields(memoryview(data)):
                if number == _GRAPH:
                    found += [
                        _node(message(node)) for kind, _, node in fields(message(value)) if kind == _NODE
                    ]
    except WireError:
        return []
    return found


def _node(view: memoryview) -> tuple[str, str]:
    name = operator = ""
    for number, _, value in fields(view):
        if number == _NAME:
            name = text(value)
        elif number == _OPERATOR:
            operator = text(value)
    return name, operator
