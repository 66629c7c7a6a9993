"""Works out the shapes of TorchScript's values from those of its inputs, which the file leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgestudio.model.formats.torch_calls import Argument, Call
from edgestudio.model.formats.torch_numbers import number_of, numbers_of
from edgestudio.model.formats.torch_rules import shapes_of
from edgestudio.model.graph import Dimension, Model, Node
from edgestudio.model.inference import Results, Shape, Values, infer

# Which axis of the data has the width of which axis of the weight, and how many dimensions the data has.
_FIRST_READERS: dict[str, tuple[int | None, int, int]] = {
    "conv1d": (3, 1, 1), "conv2d": (4, 1, 1), "conv3d": (5, 1, 1), "_convolution": (None, 1, 1),
    "convolution": (None, 1, 1),
}  # fmt: skip


READ_AS = "read as"
"""The number of dimensions that the graph is shown for, at the question of the code that was answered so."""


class _OtherRankError(Exception):
    """The sizes that are set have another number of dimensions than the graph is shown for."""


def infer_shapes(model: Model, dimensions: Mapping[str, int] | None = None) -> Model:
    """`model` with the shapes that follow; inputs that a convolution reads have its channels and rank."""
    known = _with_inputs(model)
    try:
        return infer(known, _Torch(), dimensions)
    except _OtherRankError as error:
        return replace(known, warnings=(*known.warnings, str(error)))


def _with_inputs(model: Model) -> Model:
    """What the first operator that reads an input says about it."""
    main = model.main
    tensors = list(main.tensors)
    aliases = {index: index for index in main.inputs if main.tensors[index].shape is None}
    for node in main.nodes:
        word = short_name(node.op)
        source = aliases.get(node.inputs[0]) if node.inputs else None
        if source is None:
            continue
        weight = main.tensors[node.inputs[1]].shape if len(node.inputs) > 1 else None
        shape = read_by(word, weight, node.attributes)
        if shape is not None:
            tensors[source] = replace(
                tensors[source],
                shape=shape,
                dtype=tensors[source].dtype or ("int64" if word == "embedding" else "float32"),
            )
            aliases = {index: origin for index, origin in aliases.items() if origin != source}
        elif word in ("to", "contiguous", "float", "quantize_per_tensor", "dropout") and node.outputs:
            aliases[node.outputs[0]] = source
    return replace(model, graphs=(replace(main, tensors=tuple(tensors)), *model.graphs[1:]))


def read_by(word: str, weight: Shape, attributes: Mapping[str, Any]) -> tuple[Dimension, ...] | None:
    """What an operator with this weight says of the data that it reads; None when that is nothing."""
    if word in _FIRST_READERS and weight is not None and len(weight) > 2:
        transposed = attributes.get("argument 6") is True
        groups = attributes.get("argument 8" if word.endswith("convolution") else "argument 6", 1)
        channels = weight[0] if transposed else weight[1]
        if not transposed and isinstance(channels, int) and type(groups) is int:
            channels *= groups
        return (None, channels, *([None] * (len(weight) - 2)))
    return None


def short_name(op: str) -> str:
    """The operator without its space: "conv2d" for "aten::conv2d", "quantized.linear" for a quantised one."""
    space, _, name = op.partition("::")
    return f"quantized.{name}" if space == "quantized" else name


def results_of(word: str, arguments: Sequence[Any], attributes: Mapping[str, Any], count: int) -> Results:
    """What an operator gives `count` results of; `arguments` as in `Call`."""
    numbers = numbers_of(word, arguments)
    if word in ("ListConstruct", "TupleConstruct"):
        listed = tuple(item.shape for item in arguments if isinstance(item, Argument))
        return Results([None], [numbers if numbers is not None else Listed(listed)])
    if numbers is not None and READ_AS in attributes and numbers != (attributes[READ_AS],):
        raise _OtherRankError(
            f"the graph is shown for data of {attributes[READ_AS]} dimensions, and not for these sizes"
        )
    if numbers is not None and count > 1:  # the code takes the sizes apart at once
        return Results([()] * count, [(number,) for number in numbers])
    if numbers is not None:
        return Results([() if len(numbers) == 1 and word != "size" else None], [numbers])
    if word in ("chunk", "split", "split_with_sizes", "unbind", "tensor_split"):
        parts = _parts(word, arguments)
        if count > 1:  # the code takes the list apart at once
            return Results(parts or ())
        return Results([None], [None if parts is None else Listed(parts)])
    if word == "TupleUnpack" or (word == "__getitem__" and _listed(arguments[0]) is not None):
        return _taken(word, arguments, count)
    call = Call(arguments, dict(attributes), count)
    return Results(shapes_of(word, call))


class _Torch:
    """PyTorch's operators as TorchScript's code calls them."""

    def results(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
        arguments = _arguments(node, shapes, values)
        return results_of(short_name(node.op), arguments, node.attributes, max(len(node.outputs), 1))

    def arguments(self, node: Node) -> int:
        return len(node.inputs)

    def joined(
        self,
        node: Node,
        shapes: Sequence[Shape],
        values: Sequence[Values],
        results: Sequence[Sequence[Shape]],
    ) -> list[Shape]:
        first = results[0] if results else []
        if node.op == "prim::Loop":
            # Sizes that change from round to round are not known; those that come in and go out are.
            return [shape if shape in shapes else None for shape in first]
        test = values[0] if values else None
        if test is not None and len(test) == 1 and test[0] is not None:
            return list(results[0 if test[0] else 1])
        return [
            shape if all(at < len(other) and other[at] == shape for other in results) else None
            for at, shape in enumerate(first)
        ]

    def sees_around(self) -> bool:
        return True


class Listed(tuple[Any, ...]):
    """The shapes of a list of tensors, kept in the place of its elements."""

    __slots__ = ()


def _listed(item: Any) -> tuple[Shape, ...] | None:
    return item.items if isinstance(item, Argument) else None


def _arguments(node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> list[Any]:
    """The arguments in the order of the call: what is written as attributes, what is computed as inputs."""
    written = {
        int(key.removeprefix("argument ")): value
        for key, value in node.attributes.items()
        if key.startswith("argument ") and key[9:].isdigit()
    }
    found: list[Any] = []
    computed = iter(zip(shapes, values, strict=True))
    for at in range(len(written) + len(shapes)):
        if at in written:
            found.append(written[at])
            continue
        shape, numbers = next(computed, (None, None))
        if isinstance(numbers, Listed):
            found.append(Argument(None, None, tuple(numbers)))
        else:
            found.append(Argument(shape, numbers))
    return found


def _parts(word: str, arguments: Sequence[Any]) -> tuple[Shape, ...] | None:
    """The shapes of the pieces that a tensor is cut into."""
    first = arguments[0]
    if not isinstance(first, Argument) or first.shape is None:
        return None
    position = 1 if word == "unbind" else 2
    axis = number_of(arguments[position]) if len(arguments) > position else 0
    if axis is None or not -len(first.shape) <= axis < len(first.shape):
        return None
    axis %= len(first.shape)
    size = first.shape[axis]
    before, after = first.shape[:axis], first.shape[axis + 1 :]
    if not isinstance(size, int):
        return None
    if word == "unbind":
        return ((*before, *after),) * min(size, 1024)
    given = arguments[1].values if isinstance(arguments[1], Argument) else arguments[1]
    if isinstance(given, (list, tuple)) and len(given) > 1:
        return tuple((*before, part if isinstance(part, int) else None, *after) for part in given)
    number = number_of(arguments[1])
    if number is None or number < 1:
        return None
    width = -(-size // number) if word == "chunk" else number
    return tuple((*before, min(width, size - start), *after) for start in range(0, size, max(width, 1)))[
        :1024
    ]


def _taken(word: str, arguments: Sequence[Any], count: int) -> Results:
    """One tensor of a list, or all of them."""
    items = _listed(arguments[0]) or ()
    if word == "TupleUnpack":
        return Results(list(items[:count]))
    at = number_of(arguments[1]) if len(arguments) > 1 else None
    return Results([items[at] if at is not None and -len(items) <= at < len(items) else None])
