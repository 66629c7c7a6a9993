"""Walks through a TFLite file's structure: indices, buffers, shapes, subgraphs, custom operators.

Slot numbers are those of the TFLite schema, version 3 (tensorflow/lite/schema/schema.fbs).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestudio.runtime.flatbuffer import FlatBuffer, Table
from edgestudio.runtime.scan.findings import Findings

_BITS = {
    0: 32,
    1: 16,
    2: 32,
    3: 8,
    4: 64,
    6: 8,
    7: 16,
    8: 64,
    9: 8,
    10: 64,
    11: 128,
    12: 64,
    15: 32,
    16: 16,
    17: 4,
}
_BITS |= {18: 16, 19: 2, 20: 4, 21: 8, 22: 8}
_CUSTOM, _FILL, _TILE, _BROADCAST = 32, 94, 69, 130
_RESHAPE, _RESIZE, _RESIZE_NEAREST, _TRANSPOSE_CONV = 22, 23, 97, 67
_PAD, _PADV2, _MIRROR_PAD, _ONE_HOT, _RANGE = 34, 60, 100, 85, 96
_CALL, _IF, _WHILE, _CALL_ONCE, _COMPOSITE = 31, 118, 119, 129, 206
_FLOAT, _INT32, _INT64, _BOOL = 0, 2, 4, 6
# Custom by name, yet registered by LiteRT itself.
_BUILT_IN_CUSTOM = frozenset(
    {
        "TFLite_Detection_PostProcess", "AudioSpectrogram", "Mfcc", "NumericVerify", "MaxPoolingWithArgmax2D",
        "MaxUnpooling2D", "Convolution2DTransposeBias",
    }
)  # fmt: skip


@dataclass
class _Tensor:
    elements: int
    bits: int
    kind: int
    buffer: int


def scan_tflite(data: bytes | mmap.mmap, found: Findings) -> None:
    """Walk the whole file; ModelError for what is hostile, FlatBufferError for what is damaged."""
    root = FlatBuffer(data).root()
    version = root.scalar(0, "I")
    if version != 3:
        raise found.refuse(f"has schema version {version}; only version 3 is known", "future-version")
    found.opsets["tflite"] = version
    codes = [_operator_code(table) for table in root.tables(1)]
    buffers = [_buffer(table, len(data), found) for table in root.tables(4)]
    count = root.length(2)
    if count == 0:
        raise found.refuse("holds no graph", "empty-model", "The export did not finish.")
    calls: list[set[int]] = []
    for index, table in enumerate(root.tables(2)):
        calls.append(_Subgraph(table, index, codes, buffers, data, found).scan(count))
    _refuse_recursion(calls, found)


def _operator_code(table: Table) -> tuple[int, str]:
    return max(int(table.scalar(0, "b")), int(table.scalar(3, "i"))), table.text(1)


def _buffer(table: Table, size: int, found: Findings) -> tuple[int, int]:
    """(start, length) of a buffer's bytes; (0, 0) when it has none."""
    start, length = table.span(0)
    offset, outside = int(table.scalar(1, "Q")), int(table.scalar(2, "Q"))
    # 0 and 1 stand for "inside the table": see the schema's comment on Buffer.offset.
    if offset > 1:
        if offset + outside > size:
            raise found.refuse(
                f"keeps weights at byte {offset}, beyond its end", "damaged", "Download it again."
            )
        return offset, outside
    return start, length


class _Subgraph:
    def __init__(
        self, table: Table, index: int, codes: list[tuple[int, str]], buffers: list[tuple[int, int]],
        data: bytes | mmap.mmap, found: Findings,
    ) -> None:  # fmt: skip
        self.table, self.index, self.codes = table, index, codes
        self.buffers, self.data, self.found = buffers, data, found
        self.tensors: list[_Tensor] = []

    def scan(self, subgraphs: int) -> set[int]:
        """Judge the subgraph; returns which others it calls."""
        self.tensors = [self._tensor(table) for table in self.table.tables(0)]
        for slot, what in ((1, "inputs"), (2, "outputs")):
            self._indices(self.table.array(slot, "i4"), what, allows_none=False)
        called: set[int] = set()
        for operator in self.table.tables(3):
            self.found.count_nodes()
            code_index = int(operator.scalar(0, "I"))
            if code_index >= len(self.codes):
                raise self.found.refuse(f"names the operator {code_index} of {len(self.codes)}", "damaged")
            code, custom = self.codes[code_index]
            if code == _CUSTOM and custom not in _BUILT_IN_CUSTOM:
                self.found.custom[custom[:200] or "without a name"] = None
            inputs = operator.array(1, "i4")
            self._indices(inputs, "an operator's inputs", allows_none=True)
            outputs = operator.array(2, "i4")
            self._indices(outputs, "an operator's outputs", allows_none=True)
            self._growth(code, [int(index) for index in inputs], [int(index) for index in outputs])
            for target in _targets(code, operator):
                if not 0 <= target < subgraphs:
                    raise self.found.refuse(f"calls the subgraph {target} of {subgraphs}", "damaged")
                called.add(target)
        return called

    def _tensor(self, table: Table) -> _Tensor:
        shape = table.array(0, "i4")
        if len(shape) > 64 or any(int(size) < -1 for size in shape):
            raise self.found.refuse("gives a tensor an impossible shape", "malformed")
        kind = int(table.scalar(1, "b"))
        bits = _BITS.get(kind, 8)
        elements = math.prod(max(int(size), 0) for size in shape)
        size = (elements * bits + 7) // 8
        if size > self.found.limits.max_tensor_bytes:
            raise self.found.refuse(
                f"declares the tensor '{table.text(3)[:100]}' with {size} bytes", "too-large"
            )
        buffer = int(table.scalar(2, "I"))
        if buffer >= len(self.buffers) and (buffer or self.buffers):
            raise self.found.refuse(f"names the buffer {buffer} of {len(self.buffers)}", "damaged")
        stored = self.buffers[buffer][1] if buffer < len(self.buffers) else 0
        is_plain = kind in _BITS and 6 not in table  # slot 6: sparsity, stored shorter
        if buffer and stored and is_plain and stored < size:
            raise self.found.refuse(
                f"declares {size} bytes for the tensor '{table.text(3)[:100]}' but holds {stored}", "damaged"
            )
        return _Tensor(elements, bits, kind, buffer)

    def _indices(self, indices: Any, what: str, *, allows_none: bool) -> None:
        if len(indices) == 0:
            return
        lowest, highest = int(indices.min()), int(indices.max())
        if highest >= len(self.tensors) or lowest < (-1 if allows_none else 0):
            wrong = highest if highest >= len(self.tensors) else lowest
            raise self.found.refuse(
                f"names the tensor {wrong} of {len(self.tensors)} among {what}", "damaged"
            )

    def numbers(self, index: int) -> list[int] | None:
        """The whole numbers in a small constant tensor, else None."""
        if not 0 <= index < len(self.tensors):
            return None
        tensor = self.tensors[index]
        start, length = self.buffers[tensor.buffer] if tensor.buffer < len(self.buffers) else (0, 0)
        dtype = {_INT32: "<i4", _INT64: "<i8", _BOOL: "u1", _FLOAT: "<f4"}.get(tensor.kind)
        size = tensor.elements * tensor.bits // 8
        if dtype is None or not length or size > 512 or length < size:
            return None
        stored = np.frombuffer(bytes(self.data[start : start + size]), dtype)
        is_whole = tensor.kind != _FLOAT or bool((np.isfinite(stored) & (stored == np.trunc(stored))).all())
        return [int(number) for number in stored] if is_whole else None

    def _growth(self, code: int, inputs: list[int], outputs: list[int]) -> None:
        """ModelError when constants make an operator's output larger than allowed."""
        rule = _MADE.get(code)
        elements = rule([_Given(self, index) for index in inputs]) if rule is not None else None
        if elements is None:
            return
        target = self.tensors[outputs[0]] if outputs and outputs[0] >= 0 else None
        size = elements * (target.bits if target else 8) // 8
        if size > self.found.limits.max_made_bytes:
            raise self.found.refuse(
                f"makes a runtime allocate {size} bytes with one operator", "memory-bomb",
                "No honest model for a board grows like that.",
            )  # fmt: skip


class _Given:
    """One input of an operator: how many elements it has at least, and its numbers where they are in the file."""

    def __init__(self, graph: _Subgraph, index: int) -> None:
        tensor = graph.tensors[index] if index >= 0 else None
        self.elements = max(tensor.elements, 1) if tensor else 1
        self.numbers = graph.numbers(index)


def _named(position: int) -> Callable[[list[_Given]], int | None]:
    """The output has the shape that the input at `position` names."""

    def rule(given: list[_Given]) -> int | None:
        shape = given[position].numbers if len(given) > position else None
        return None if shape is None else math.prod(max(size, 0) for size in shape)

    return rule


def _tiled(given: list[_Given]) -> int | None:
    times = given[1].numbers if len(given) > 1 else None
    return None if times is None else given[0].elements * math.prod(max(count, 0) for count in times)


def _padded(given: list[_Given]) -> int | None:
    """Each axis has one element at least, and so one more than its padding."""
    pads = given[1].numbers if len(given) > 1 else None
    if pads is None or len(pads) % 2:
        return None
    return math.prod(1 + max(pads[n] + pads[n + 1], 0) for n in range(0, len(pads), 2))


def _one_hot(given: list[_Given]) -> int | None:
    depth = given[1].numbers if len(given) > 1 else None
    return None if not depth else given[0].elements * max(depth[0], 0)


def _ranged(given: list[_Given]) -> int | None:
    if len(given) < 3 or not all(each.numbers for each in given[:3]):
        return None
    start, limit, step = ((each.numbers or [0])[0] for each in given[:3])
    return max(0, -((start - limit) // step)) if step else None


_MADE: dict[int, Callable[[list[_Given]], int | None]] = {
    _FILL: _named(0), _BROADCAST: _named(1), _RESHAPE: _named(1), _TRANSPOSE_CONV: _named(0), _RESIZE: _named(1),
    _RESIZE_NEAREST: _named(1), _TILE: _tiled, _PAD: _padded, _PADV2: _padded, _MIRROR_PAD: _padded,
    _ONE_HOT: _one_hot, _RANGE: _ranged,
}  # fmt: skip


def _targets(code: int, operator: Table) -> list[int]:
    """Subgraphs that an operator runs: builtin options of IF, WHILE, CALL, CALL_ONCE, composites."""
    if code in (_IF, _WHILE, _CALL, _CALL_ONCE):
        options = operator.table(4)
        slots = (0, 1) if code in (_IF, _WHILE) else (0,)
        return [int(options.scalar(slot, "i")) for slot in slots] if options else []
    if code == _COMPOSITE:
        options = operator.table(12)
        return [int(options.scalar(1, "i"))] if options else []
    return []


def _refuse_recursion(calls: list[set[int]], found: Findings) -> None:
    state = [0] * len(calls)  # 0 new, 1 on the way, 2 done
    for start in range(len(calls)):
        stack = [start]
        while stack:
            index = stack[-1]
            if state[index] == 0:
                state[index] = 1
                for target in calls[index]:
                    if state[target] == 1:
                        raise found.refuse("holds subgraphs that call themselves", "endless-loop")
                    if state[target] == 0:
                        stack.append(target)
            else:
                state[index] = 2
                stack.pop()
