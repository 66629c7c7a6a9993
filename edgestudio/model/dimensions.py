"""Puts numbers in the place of a model's symbolic dimensions, for looking at it; the file is not touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgestudio.model.dtypes import size_bytes
from edgestudio.model.graph import Graph, Model, Tensor


def symbols(graph: Graph) -> list[str]:
    """The names of the sizes that the graph's inputs leave open, in order."""
    shapes = [graph.tensors[index].shape or () for index in graph.inputs]
    return list(dict.fromkeys(size for shape in shapes for size in shape if isinstance(size, str)))


def settled(model: Model, dimensions: Mapping[str, int]) -> Model:
    """The model with every dimension of these names as a number, and the sizes in bytes that follow."""
    if not dimensions:
        return model
    graphs = tuple(
        replace(graph, tensors=tuple(_settled(tensor, dimensions) for tensor in graph.tensors))
        for graph in model.graphs
    )
    return replace(model, graphs=graphs)


def _settled(tensor: Tensor, dimensions: Mapping[str, int]) -> Tensor:
    shape = tensor.shape
    if shape is None or not any(isinstance(size, str) and size in dimensions for size in shape):
        return tensor
    known = tuple(dimensions.get(size, size) if isinstance(size, str) else size for size in shape)
    return replace(tensor, shape=known, size_bytes=size_bytes(tensor.dtype, known))
