"""Unpacks the constants of an ML program: from its blob file, through its compression operators.

Layout of the blob file: https://github.com/apple/coremltools/blob/main/mlmodel/src/MILBlob/Blob/StorageFormat.hpp
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from edgestudio.model.arrays import MAX_UNPACKED, Array, Loader, array_at, mapped, unpacked
from edgestudio.model.building import MAX_DEPTH
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import elements
from edgestudio.model.formats.coreml_program import blob_path, value_type
from edgestudio.model.message import Message

_SENTINEL = 0xDEADBEEF
_METADATA_BYTES = 24
_IMMEDIATE = {1: "<f4", 6: "<f8"}
Arguments = dict[str, Message | str]
"""What an operation is given, by parameter: a value of its own or the name of another one."""


class Program:
    """The constants of every function, by the name that their tensor has in the graph."""

    def __init__(self, found: Recognised, program: Message) -> None:
        self.found = found
        self.values: dict[str, Message] = {}
        self.stages: dict[str, tuple[str, Arguments, int]] = {}
        for entry in program.messages(2):
            function = entry.message(2)
            for block in function.messages(3) if function is not None else ():
                body = block.message(2)
                if body is not None:
                    self._block(body, 0)

    def loaders(self) -> dict[str, Loader]:
        """A function for each constant and for each result of a compression operator."""
        known: dict[str, Loader] = {name: partial(self._stored, value) for name, value in self.values.items()}
        known.update({name: partial(self._named, name, 0) for name in self.stages})
        return known

    def _block(self, block: Message, depth: int) -> None:
        if depth > MAX_DEPTH:
            return
        for operation in block.messages(3):
            op = operation.text(1)
            outputs = [output.text(1) for output in operation.messages(3)]
            owner = outputs[0] if outputs else op
            given = _arguments(operation)
            value = given.get("val")
            if op == "const" and isinstance(value, Message):
                self.values[owner] = value
                continue
            for key, item in given.items():
                if isinstance(item, Message):
                    self.values.setdefault(f"{owner}.{key}", item)
            if op.startswith("constexpr_"):
                self.stages.update({name: (op, given, slot) for slot, name in enumerate(outputs)})
            for nested in operation.messages(4):
                self._block(nested, depth + 1)

    def _stored(self, value: Message) -> Array | None:
        dtype, sizes = value_type(value.message(2))
        shape = tuple(size for size in sizes or () if isinstance(size, int))
        count = elements(shape)
        if count is None or sizes is None or len(shape) != len(sizes):
            return None
        blob = value.message(5)
        if blob is not None:
            return self._blob(blob, dtype, shape)
        immediate = value.message(3)
        tensor = immediate.message(1) if immediate is not None else None
        if tensor is None or count > MAX_UNPACKED:
            return None
        found = _immediate(tensor, dtype, shape)
        return found if found is None or found.size == count else None

    def _blob(self, blob: Message, dtype: str, shape: tuple[int, ...]) -> Array | None:
        path = blob_path(self.found, blob.text(1))
        if not path.is_file():
            return None
        buffer = mapped(path)
        at = blob.integer(2)
        header = buffer[at : at + _METADATA_BYTES] if at >= 0 else b""
        if len(header) < _METADATA_BYTES or int.from_bytes(header[:4], "little") != _SENTINEL:
            return None
        size, start = (int.from_bytes(header[begin : begin + 8], "little") for begin in (8, 16))
        return array_at(buffer, start, size, dtype, shape)

    def _named(self, name: str, depth: int) -> Array | None:
        """A constant by its name, unpacked where an operator does that."""
        stage = self.stages.get(name)
        if stage is None:
            value = self.values.get(name)
            return None if value is None else self._stored(value)
        if depth > MAX_DEPTH:
            return None
        op, given, slot = stage
        parts: dict[str, Array] = {}
        for key, item in given.items():
            part = self._named(item, depth + 1) if isinstance(item, str) else self._stored(item)
            if part is not None and part.dtype.kind in "biuf":
                parts[key] = part
        try:
            results = _OPERATORS[op.removeprefix("constexpr_")](parts)
        except (LookupError, ValueError, TypeError):
            return None
        return results[slot] if slot < len(results) else None


def _arguments(operation: Message) -> Arguments:
    given: Arguments = {}
    for entry in operation.messages(5):
        value = entry.message(2)
        if value is not None:
            given[entry.text(1)] = value
    for entry in operation.messages(2):
        argument = entry.message(2)
        for binding in argument.messages(1) if argument is not None else ():
            inline = binding.message(2)
            given[entry.text(1)] = binding.text(1) if inline is None else inline
    return given


def _immediate(tensor: Message, dtype: str, shape: tuple[int, ...]) -> Array | None:
    for number in tensor.numbers():
        inner = tensor.message(number)
        if inner is None:
            continue
        if number in _IMMEDIATE:
            reals: Array = np.array(inner.reals(1, double=number == 6))
            return _shaped(reals.astype(_IMMEDIATE[number]), shape)
        if number in (2, 3, 5):
            kind = {2: np.int32, 3: np.bool_, 5: np.int64}[number]
            listed: Array = np.array(inner.integers(1)).astype(kind)
            return _shaped(listed, shape)
        if number == 7:
            data = inner.data(1)
            return array_at(data, 0, len(data), dtype, shape)
    return None


def _shaped(values: Array, shape: tuple[int, ...]) -> Array | None:
    """The values in their shape; None where a damaged file lists more or fewer."""
    return values.reshape(shape) if values.size == math.prod(shape) else None


def _affine(parts: dict[str, Array]) -> tuple[Array, ...]:
    data, scale = parts["quantized_data"], parts["scale"]
    zero, axis = parts.get("zero_point", np.zeros((), np.int8)), int(parts["axis"])
    form = [1] * data.ndim
    if scale.ndim:
        form[axis] = scale.size
    zero = zero.reshape(form) if zero.size == math.prod(form) else zero.reshape(())
    return ((data.astype(np.float32) - zero) * scale.reshape(form).astype(np.float32),)


def _blockwise(parts: dict[str, Array]) -> tuple[Array, ...]:
    data, scale, offset = parts["data"].astype(np.float32), parts["scale"], parts.get("offset")
    for axis, (size, blocks) in enumerate(zip(data.shape, scale.shape, strict=True)):
        if size != blocks:
            scale = np.repeat(scale, size // blocks, axis)
            offset = None if offset is None else np.repeat(offset, size // blocks, axis)
    return ((data if offset is None else data - offset) * scale.astype(np.float32),)


def _table(parts: dict[str, Array]) -> tuple[Array, ...]:
    indices, lut = parts["indices"], parts["lut"]
    if "shape" in parts:  # before iOS 18 the indices are packed bytes and the table is flat
        shape = tuple(int(size) for size in parts["shape"])
        bits, count = max(int(lut.size).bit_length() - 1, 1), math.prod(shape)
        if count > MAX_UNPACKED:
            raise ValueError("too large")
        return (lut[unpacked(indices.reshape(-1), bits, count, is_signed=False)].reshape(shape),)
    width, axis = lut.shape[-1], int(parts["vector_axis"]) if "vector_axis" in parts else -1
    groups = lut.shape[:-2]
    if width > 1:
        indices = np.moveaxis(indices, axis, -1)
        groups = tuple(np.moveaxis(np.empty(groups, np.int8), axis, -1).shape)
        lut = np.moveaxis(lut, axis % indices.ndim, -3)
    # Which palette each index looks into: groups of neighbours share one.
    palette = np.arange(math.prod(groups)).reshape(groups)
    for at, (size, parts_of) in enumerate(zip(indices.shape, groups, strict=True)):
        palette = np.repeat(palette, size // parts_of, at)
    dense = lut.reshape(-1, lut.shape[-2], width)[palette, indices.astype(np.int64)]
    dense = dense.reshape(*indices.shape[:-1], indices.shape[-1] * width)
    return (np.moveaxis(dense, -1, axis) if width > 1 else dense,)


def _spread(parts: dict[str, Array]) -> tuple[Array, ...]:
    mask, values = parts["mask"], parts["nonzero_data"]
    if "shape" in parts:
        shape = tuple(int(size) for size in parts["shape"])
        if math.prod(shape) > MAX_UNPACKED:
            raise ValueError("too large")
        mask = np.unpackbits(mask.reshape(-1), bitorder="little")[: math.prod(shape)].reshape(shape)
    dense = np.zeros(mask.shape, values.dtype)
    dense[mask != 0] = values.reshape(-1)
    return (dense,)


def _sparse_table(parts: dict[str, Array]) -> tuple[Array, ...]:
    mask = parts["indices_mask"]
    (indices,) = _spread({"mask": mask, "nonzero_data": parts["indices_nonzero_data"]})
    (dense,) = _table(
        {**{key: parts[key] for key in ("lut", "vector_axis") if key in parts}, "indices": indices}
    )
    for axis, (size, old) in enumerate(zip(dense.shape, mask.shape, strict=True)):
        mask = np.repeat(mask, size // old, axis)
    return mask, dense[mask != 0]


def _sparse_blockwise(parts: dict[str, Array]) -> tuple[Array, ...]:
    mask = parts["data_mask"]
    (data,) = _spread({"mask": mask, "nonzero_data": parts["nonzero_data"]})
    (dense,) = _blockwise({**parts, "data": data})
    return mask, dense[mask != 0]


def _cast(parts: dict[str, Array]) -> tuple[Array, ...]:
    return (parts["source_val"].astype(np.float32),)


_OPERATORS: dict[str, Callable[[dict[str, Array]], tuple[Array, ...]]] = {
    "affine_dequantize": _affine, "blockwise_shift_scale": _blockwise, "lut_to_dense": _table,
    "sparse_to_dense": _spread, "lut_to_sparse": _sparse_table, "sparse_blockwise_shift_scale": _sparse_blockwise,
    "cast": _cast,
}  # fmt: skip
