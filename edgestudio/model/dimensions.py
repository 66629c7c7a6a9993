"""Puts numbers in the place of a model's open dimensions, for looking at it; the file is not touched.

A dimension is set by its name, or as "input:axis" where the file gives it none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgestudio.model.dtypes import size_bytes
from edgestudio.model.graph import Dimension, Graph, Model, Tensor
from edgestudio.model.sizes import names_in, size_of
from edgestudio.wire.errors import ModelError

MAX_RANK = 16


def symbols(graph: Graph) -> list[str]:
    """What the sizes that the graph's inputs leave open are set by, in order."""
    found: list[str] = []
    for index in graph.inputs:
        tensor = graph.tensors[index]
        for axis, size in enumerate(tensor.shape or ()):
            if isinstance(size, str):
                found += names_in(size)
            elif size is None:
                found.append(f"{tensor.name}:{axis}")
    return list(dict.fromkeys(found))


def refuse_unknown(model: Model, dimensions: Mapping[str, int]) -> None:
    """Raise ModelError for a name that no open dimension of the model has, saying which ones it has."""
    main = model.main
    known = symbols(main)
    written = {size for tensor in main.tensors for size in tensor.shape or () if isinstance(size, str)}
    free = tuple(f"{main.tensors[index].name}:" for index in main.inputs if main.tensors[index].shape is None)
    for name in dimensions:
        if name in known or name in written or (free and name.startswith(free)):
            continue
        offered = ", ".join([*known, *(f"{start}0, {start}1, …" for start in free)][:12])
        raise ModelError(
            f"The model has no open dimension {name}.",
            hint=f"Open are: {offered}." if offered else "All sizes of its inputs are in the file.",
            code="unknown-dimension",
        )


def bound_shape(tensor: Tensor, dimensions: Mapping[str, int]) -> tuple[Dimension, ...] | None:
    """An input's shape with the given sizes; an open first size becomes 1, one sample.

    An input of unknown rank gets one by giving each of its sizes, from "input:0" on.
    """
    if tensor.shape is None:
        given: list[Dimension] = []
        while len(given) < MAX_RANK and f"{tensor.name}:{len(given)}" in dimensions:
            given.append(dimensions[f"{tensor.name}:{len(given)}"])
        return tuple(given) or None
    found: list[Dimension] = []
    for axis, size in enumerate(tensor.shape):
        known: Dimension = size
        if isinstance(size, str):
            number = size_of(size, dimensions)
            known = size if number is None else number
        elif size is None:
            known = dimensions.get(
                f"{tensor.name}:{axis}", 1 if axis == 0 and len(tensor.shape) > 1 else None
            )
        found.append(known)
    return tuple(found)


def settled(model: Model, dimensions: Mapping[str, int]) -> Model:
    """The model with every size that these decide as a number, and the sizes in bytes that follow."""
    if not dimensions:
        return model
    inputs = set(model.main.inputs)
    graphs = tuple(
        replace(
            graph,
            tensors=tuple(
                _settled(tensor, dimensions, is_input=position == 0 and index in inputs)
                for index, tensor in enumerate(graph.tensors)
            ),
        )
        for position, graph in enumerate(model.graphs)
    )
    return replace(model, graphs=graphs)


def _settled(tensor: Tensor, dimensions: Mapping[str, int], *, is_input: bool) -> Tensor:
    shape = tensor.shape
    if shape is None or all(isinstance(size, int) for size in shape):
        return tensor
    known: list[Dimension] = []
    for axis, size in enumerate(shape):
        number: Dimension = size
        if isinstance(size, str):
            found = size_of(size, dimensions)
            number = size if found is None else found
        elif size is None and is_input:
            number = dimensions.get(f"{tensor.name}:{axis}")
        known.append(number)
    if tuple(known) == shape:
        return tensor
    return replace(tensor, shape=tuple(known), size_bytes=size_bytes(tensor.dtype, known))
