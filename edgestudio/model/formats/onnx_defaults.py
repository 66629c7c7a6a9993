"""What an attribute of an ONNX operator means where a file leaves it out: as its schema says, or its description."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from edgestudio.model.graph import Graph, Model, Node

Defaults = Callable[[Node, str, Any], Any]
"""The value of an attribute that a node does not write, given what another one has written there; None: unknown."""


def defaults_of(model: Model) -> Defaults:
    """The defaults at the opsets that `model` imports; those of other formats are not known."""
    graph, opsets = model.main, model.opsets
    if model.format != "onnx":
        return lambda node, name, other: None

    def default(node: Node, name: str, other: Any) -> Any:
        version = opsets.get(node.domain)
        known = None if version is None else _schema(node.op, version, node.domain).get(name)
        return _described(graph, node, name, other) if known is None else known

    return default


@cache
def _schema(op: str, version: int, domain: str) -> dict[str, Any]:
    """The defaults that the schema in force at this version writes down, by name."""
    import onnx

    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return {}
    found = {}
    for name, attribute in schema.attributes.items():
        if attribute.default_value.type:
            value = onnx.helper.get_attribute_value(attribute.default_value)
            found[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return found


def _described(graph: Graph, node: Node, name: str, other: Any) -> Any:
    """Defaults that depend on the rank, which schemas leave to their text; the other value tells that rank.

    Source: https://onnx.ai/onnx/operators/, of Conv, ConvTranspose, the pooling operators and Transpose.
    """
    if not isinstance(other, list) or node.domain:
        return None
    if node.op == "Transpose" and name == "perm":
        return list(reversed(range(len(other))))
    if not ("Conv" in node.op or node.op.endswith("Pool")):
        return None
    if name in ("strides", "dilations"):
        return [1] * len(other)
    if name in ("pads", "output_padding"):
        return [0] * len(other)
    if name == "kernel_shape":
        slot = 3 if node.op == "QLinearConv" else 1
        weight = node.inputs[slot] if slot < len(node.inputs) else -1
        shape = graph.tensors[weight].shape if weight >= 0 else None
        return None if shape is None else list(shape[2:])
    return None
