"""What an operation of an ML Program gives, by the one set of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgestudio.model.graph import Node
from edgestudio.model.inference import Results, Shape, Values
from edgestudio.model.shapes.call import Call, axis_of
from edgestudio.model.shapes.results import results_of

_OPEN_END = (1 << 31) - 1


class Operation:
    """An operation with its arguments by name: written in the program, or computed while it runs."""

    def __init__(self, node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> None:
        self.op = node.op
        self.node = node
        self.shapes = list(shapes)
        self.values = list(values)
        computed = node.attributes.get("computed")
        names = computed if isinstance(computed, list) else []
        self._slots = {name: len(shapes) - len(names) + at for at, name in enumerate(names)}

    def get(self, name: str, default: Any = None) -> Any:
        """An argument that says how to compute; a list with None for what is computed and not known."""
        found = self.node.attributes.get(name)
        slot = self._slots.get(name)
        if found is None and slot is not None:
            numbers, shape = self.values[slot], self.shapes[slot]
            if numbers is None:
                count = shape[0] if shape else 1 if shape == () else None
                if not isinstance(count, int):
                    raise LookupError(name)
                numbers = (None,) * count
            found = numbers[0] if shape == () else list(numbers)
        return default if found is None else found

    def many(self, name: str, default: list[Any] | None = None) -> list[Any]:
        """As `get`, always as a list, an empty one where there is none."""
        found = self.get(name, default)
        return [] if found is None else found if isinstance(found, list) else [found]

    def shape(self, slot: int = 0) -> tuple[Any, ...]:
        """Shape of what is computed on; raises LookupError when unknown."""
        found = self.shapes[slot]
        if found is None:
            raise LookupError(slot)
        return found

    def data(self) -> int:
        """How many of the inputs are what is computed on."""
        return len(self.shapes) - len(self._slots)

    def call(self, op: str, *added: Any, **attributes: Any) -> Call:
        """The call by the rules' name, with further inputs of these numbers."""
        count = self.data()
        rows = [tuple(row) if isinstance(row, (list, tuple)) else (row,) for row in added]
        return Call(
            op, attributes, [*self.shapes[:count], *((len(row),) for row in rows)],
            [*self.values[:count], *rows],
        )  # fmt: skip


def results(node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> Results:
    """Shapes and small numbers of the outputs; nothing when too little is known."""
    operation = Operation(node, shapes, values)
    try:
        change = _CHANGES.get(node.op)
        call = (
            change(operation) if change is not None else operation.call(_NAMES.get(node.op, _camel(node.op)))
        )
        return Results(call) if isinstance(call, list) else results_of(call)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return Results([])


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _first(op: Operation, call: Call) -> Call:
    """Only what is computed on and the weight count, not a bias."""
    return call._replace(shapes=call.shapes[:2], values=call.values[:2])


def _window(op: Operation, name: str, kernel: Sequence[int] = ()) -> Call:
    count = len(op.shape()) - 2
    kind = str(op.get("pad_type", "valid"))
    pads = op.many("pad") if kind == "custom" else None
    return _first(op, op.call(
        name, padding="SAME" if kind.startswith("same") else "EXPLICIT" if pads else "VALID",
        strides=[1, 1, *op.many("strides", [1] * count)], dilations=[1, 1, *op.many("dilations", [1] * count)],
        explicit_paddings=[0, 0, 0, 0, *(pads or [0] * (2 * count))], data_format="NCHW", ksize=[1, 1, *kernel],
        ceil=bool(op.get("ceil_mode")),
    ))  # fmt: skip


def _convolution(op: Operation) -> Call:
    """Weights are (out, in, …kernel)."""
    out, channels, *kernel = op.shape(1)
    call = _window(op, "Conv2D")
    return call._replace(shapes=[op.shapes[0], (*kernel, channels, out)])


def _transposed(op: Operation) -> Call:
    """Weights are (in, out, …kernel)."""
    channels, out, *kernel = op.shape(1)
    call, sizes = _window(op, "ConvTranspose"), op.many("output_shape")
    extra = {"group": op.get("groups", 1), "output_shape": sizes[-len(kernel) :] if sizes else None}
    return call._replace(
        attributes={**call.attributes, **extra}, shapes=[op.shapes[0], (*kernel, out, channels)]
    )


def _pooling(op: Operation) -> Call:
    return _window(op, "MaxPool", op.many("kernel_sizes"))


def _linear(op: Operation) -> Call:
    units = op.shape(1)[0]
    return op.call("Fill")._replace(values=[(*(_or_open(size) for size in op.shape()[:-1]), _or_open(units))])


def _or_open(size: Any) -> int:
    return size if isinstance(size, int) else -1


def _reduced(name: str) -> Callable[[Operation], Call]:
    def change(op: Operation) -> Call:
        axes = op.many("axes") or list(range(len(op.shape())))
        return op.call(name, axes, keep_dims=op.get("keep_dims"))

    return change


def _best(op: Operation) -> Call:
    return op.call("Sum", op.get("axis", -1), keep_dims=op.get("keep_dims"))


def _slice(op: Operation) -> Call:
    begin, end = op.many("begin"), op.many("end")
    stride = op.many("stride", [1] * len(begin))
    masks = {
        f"{there}_mask": sum(bool(bit) << at for at, bit in enumerate(op.many(f"{here}_mask")))
        for here, there in (("begin", "begin"), ("end", "end"), ("squeeze", "shrink_axis"))
    }
    return op.call("StridedSlice", begin, end, stride, **masks)


def _pad(op: Operation) -> Call:
    """Amounts for the last dimensions."""
    pad = op.many("pad")
    return op.call("Pad", [0] * (2 * len(op.shape()) - len(pad)) + pad)


def _scaled(op: Operation) -> Call:
    rank = len(op.shape())
    factors = [op.get(f"scale_factor_{axis}", 1) for axis in ("height", "width")]
    return op.call("Scaled", scales=[1] * (rank - 2) + factors)


def _resized(op: Operation) -> Call:
    sizes = [op.get(f"target_size_{axis}") for axis in ("height", "width")]
    return op.call("Fill")._replace(values=[(*(_or_open(s) for s in op.shape()[:-2]), *map(_or_open, sizes))])


def _resize(op: Operation) -> Call:
    """The last dimensions get these sizes; 0 keeps one."""
    shape, sizes = op.shape(), op.many("shape")
    kept = shape[: len(shape) - len(sizes)]
    new = [old if size == 0 else size for old, size in zip(shape[len(kept) :], sizes, strict=True)]
    return op.call("Fill")._replace(values=[tuple(_or_open(size) for size in (*kept, *new))])


def _split(op: Operation) -> Call:
    axis, sizes, count = op.get("axis", 0), op.many("split_sizes"), op.get("num_splits")
    if sizes:
        return op.call("SplitV", sizes, axis)
    return Call("Split", {"num_split": count}, [(), op.shapes[0]], [(axis,), op.values[0]])


def _recurrent(op: Operation) -> list[Shape]:
    """Sequences are (steps, batch, features); of both directions the features lie side by side."""
    steps, batch, _ = op.shape()
    matrix: Any = next(s for s in op.shapes[1:] if s is not None and len(s) == 2 and _is_square(op, s))
    hidden = int(matrix[1]) * (2 if op.get("direction") == "bidirectional" else 1)
    out = (steps if op.get("output_sequence") else 1, batch, hidden)
    return [out, *([(batch, hidden)] * (2 if op.op == "lstm" else 1))]


_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def _is_square(op: Operation, shape: tuple[Any, ...]) -> bool:
    """True for the matrix of the state: as many rows for each gate as columns."""
    rows, columns = shape
    return isinstance(columns, int) and rows == _GATES[op.op] * columns


def _blocks(name: str, key: str) -> Callable[[Operation], Call]:
    return lambda op: op.call(name, block_size=op.get(key), data_format="NCHW")


def _flattened(op: Operation) -> Call:
    shape, axis = op.shape(), int(op.get("axis", 1))
    if axis < 0:
        axis += len(shape)
    rows = 1
    for size in shape[:axis]:
        rows = rows * size if isinstance(size, int) and rows >= 0 else -1
    return op.call("Reshape", [rows, -1])


def _windows(op: Operation) -> list[Shape]:
    shape, axis, size = op.shape(), op.get("axis"), op.get("size")
    at, whole = axis_of(axis, len(shape)), shape[axis]
    count = None if not isinstance(whole, int) else (whole - size) // op.get("stride", 1) + 1
    return [(*shape[:at], count, size, *shape[at + 1 :])]


def _cropped(op: Operation) -> list[Shape]:
    *head, height, width = op.shape()
    edges = [sum(op.many(f"crop_{axis}")) for axis in ("height", "width")]
    sizes = [s - e if isinstance(s, int) else None for s, e in zip((height, width), edges, strict=True)]
    return [(*head, *sizes)]


def _gathered(op: Operation) -> Call:
    return op.call(
        "GatherV2", axis_of(op.get("axis", 0), len(op.shape())), batch_dims=op.get("batch_dims", 0)
    )


def _axes(name: str, key: str) -> Callable[[Operation], Call]:
    """An argument that is a further input."""
    return lambda op: op.call(name, op.many(key))


def _made(op: Operation) -> Call:
    return Call("Fill", {}, [], [tuple(_or_open(size) for size in op.many("shape"))])


def _counted(op: Operation) -> Call:
    order = [op.get(name, default) for name, default in (("start", 0), ("end", None), ("step", 1))]
    return Call("Range", {}, [()] * 3, [(item,) for item in order])


_NAMES = {
    "mul": "Mul", "real_div": "RealDiv", "floor_div": "FloorDiv", "square": "Square", "rsqrt": "Rsqrt",
    "sigmoid_hard": "Sigmoid", "silu": "Swish", "clamped_relu": "Relu", "linear_activation": "Relu",
    "scaled_tanh": "Tanh", "softplus_parametric": "Softplus", "thresholded_relu": "Relu", "threshold": "Relu",
    "prelu": "Relu", "clip": "ClipByValue", "batch_norm": "Identity", "instance_norm": "Identity", "exp2": "Exp",
    "l2_norm": "Identity", "layer_norm": "Identity", "local_response_norm": "LRN", "inverse": "Reciprocal",
    "band_part": "MatrixBandPart", "quantize": "Quantize", "reverse": "ReverseV2",
    "reverse_sequence": "ReverseSequence",
    "argsort": "Cumsum", "read_state": "Identity", "logical_not": "LogicalNot", "shape": "Shape", "non_zero": "Where",
    "gather_along_axis": "Select", "scatter": "ScatterElements", "scatter_along_axis": "ScatterElements",
    "scatter_nd": "ScatterElements", "slice_update": "DynamicUpdateSlice", "scaled_dot_product_attention": "Attention",
    "mod": "FloorMod", "atanh": "Atanh", "select": "SelectV2",
}  # fmt: skip
_CHANGES: dict[str, Callable[[Operation], Call | list[Shape]]] = {
    "conv": _convolution, "conv_transpose": _transposed, "linear": _linear, "split": _split, "pad": _pad,
    **dict.fromkeys(("max_pool", "avg_pool", "l2_pool"), _pooling), "gather": _gathered,
    "matmul": lambda op: op.call("MatMul", transpose_a=op.get("transpose_x"), transpose_b=op.get("transpose_y")),
    "einsum": lambda op: op.call("Einsum", equation=op.get("equation")),
    **{f"reduce_{word}": _reduced(name) for word, name in (
        ("max", "Max"), ("min", "Min"), ("mean", "Mean"), ("sum", "Sum"), ("prod", "Prod"), ("l1_norm", "Mean"),
        ("l2_norm", "Mean"), ("log_sum", "Mean"), ("log_sum_exp", "Mean"), ("sum_square", "Mean"))},
    "reduce_argmax": _best, "reduce_argmin": _best, "slice_by_index": _slice,
    "slice_by_size": lambda op: op.call("Slice", op.many("begin"), op.many("size")),
    **dict.fromkeys(("upsample_nearest_neighbor", "upsample_bilinear"), _scaled),
    **dict.fromkeys(("resize_nearest_neighbor", "resize_bilinear"), _resized), "resize": _resize,
    **dict.fromkeys(_GATES, _recurrent), "concat": lambda op: op.call("ConcatV2", op.get("axis", 0)),
    "stack": lambda op: op.call("Pack", axis=op.get("axis", 0)), "expand_dims": _axes("ExpandDims", "axes"),
    "squeeze": lambda op: op.call("Squeeze", squeeze_dims=op.many("axes")), "transpose": _axes("Transpose", "perm"),
    "reshape": lambda op: op.call("Reshape", op.many("shape"), zero_copies=True), "tile": _axes("Tile", "reps"),
    "cast": lambda op: op.call("Cast", DstT=str(op.get("dtype", ""))), "flatten2d": _flattened,
    "topk": lambda op: op.call("TopKV2", op.get("k", 1), axis=op.get("axis", -1)),
    "one_hot": lambda op: op.call("OneHot", op.get("one_hot_vector_size"), axis=op.get("axis", -1)),
    "range_1d": _counted, "sliding_windows": _windows, "crop": _cropped,
    **dict.fromkeys(("fill", "random_bernoulli", "random_normal", "random_uniform"), _made),
    "depth_to_space": _blocks("DepthToSpace", "block_size"), "space_to_depth": _blocks("SpaceToDepth", "block_size"),
    "pixel_shuffle": _blocks("DepthToSpace", "upscale_factor"),
    "pixel_unshuffle": _blocks("SpaceToDepth", "downscale_factor"),
}  # fmt: skip
