"""Judges the tensors and shapes that an ONNX file declares: sizes, stored bytes, external data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from edgestudio.runtime.protobuf import LEN, Value, WireError, fields, message, repeated_ints, signed, text
from edgestudio.runtime.protobuf_runs import Run, fields_and_runs
from edgestudio.runtime.scan.findings import Findings, check_external
from edgestudio.runtime.scan.growth import MAX_VALUES, Made

# Bytes per element by TensorProto.DataType; 4-bit types (21, 22) are packed two to a byte.
_ITEM_BYTES = {
    1: 4,
    2: 1,
    3: 1,
    4: 2,
    5: 2,
    6: 4,
    7: 8,
    9: 1,
    10: 2,
    11: 8,
    12: 4,
    13: 8,
    14: 8,
    15: 16,
    16: 2,
}
_ITEM_BYTES |= dict.fromkeys((17, 18, 19, 20), 1)
_HALF_BYTES = (21, 22)
_MAX_RANK = 64
_INT32, _INT64, _BOOL = 6, 7, 9
_FLOAT, _STRING, _DOUBLE, _UINT64 = 1, 8, 11, 13
_TYPED = frozenset({4, 5, 6, 7, 10, 11})
_WHOLE = {_INT32: "<i4", _INT64: "<i8", _BOOL: "u1", _UINT64: "<u8"}
_REAL = {_FLOAT: "<f4", _DOUBLE: "<f8"}
_TEXT_BYTES = 32
"""What a runtime takes for a piece of text, beside its letters."""
_NUMBER = re.compile("-?[0-9]{1,19}")
"""What else Python takes for a number, the runtimes read as another one."""


@dataclass
class _Stored:
    """The fields of one TensorProto that matter."""

    name: str = ""
    dtype: int = 0
    dims: list[int] = field(default_factory=list)
    raw: memoryview | None = None
    reals: memoryview | None = None
    listed: list[int] = field(default_factory=list)
    external: list[memoryview] = field(default_factory=list)
    is_external: bool = False
    longest: int = 0
    """Bytes of the longest piece of text."""

    def read(self, view: memoryview) -> None:
        """Fill the fields."""
        for number, wire_type, value in fields_and_runs(view, _TYPED):
            if isinstance(value, Run):
                self._run(number, wire_type, value)
            elif number == 1:
                self.dims.extend(repeated_ints(wire_type, value, _MAX_RANK))
            elif number == 2 and isinstance(value, int):
                self.dtype = value
            elif number in (4, 10) and wire_type == LEN:
                self.reals = message(value)
            elif (
                number in (5, 7, 11) and len(self.listed) <= MAX_VALUES and _length(value) <= 10 * MAX_VALUES
            ):
                self.listed.extend(repeated_ints(wire_type, value))
            elif number == 6 and wire_type == LEN:
                self.longest = max(self.longest, len(message(value)))
            elif number == 8:
                self.name = text(value, 65_536)
            elif number == 9 and wire_type == LEN:
                self.raw = message(value)
            elif number == 13 and wire_type == LEN:
                self.external.append(message(value))
            elif number == 14:
                self.is_external = value == 1

    def _run(self, number: int, wire_type: int, run: Run) -> None:
        """Elements of a typed list, written one by one."""
        if number in (5, 7, 11) and len(self.listed) <= MAX_VALUES:
            for each in run.first(MAX_VALUES + 1):
                self.listed.extend(repeated_ints(wire_type, each))
        elif number == 6 and wire_type == LEN:
            for each in run.first(run.count):
                self.longest = max(self.longest, len(message(each)))

    def values(self, elements: int) -> tuple[int, ...] | None:
        """The whole numbers of a small tensor, also where they are stored as reals, else None."""
        if elements > MAX_VALUES or self.is_external:
            return None
        if self.dtype in _REAL:
            return _whole(self.raw if self.raw is not None else self.reals, _REAL[self.dtype], elements)
        if self.dtype not in _WHOLE:
            return None
        listed = self.listed
        if self.raw is not None:
            listed = [int(number) for number in np.frombuffer(self.raw, _WHOLE[self.dtype])]
        return tuple(listed) if len(listed) == elements else None


def _whole(stored: memoryview | None, dtype: str, elements: int) -> tuple[int, ...] | None:
    """Reals as whole numbers, None where one is none."""
    if stored is None or len(stored) != elements * np.dtype(dtype).itemsize:
        return None
    with np.errstate(
        invalid="ignore"
    ):  # ARM processors tell of a signalling NaN, which is no whole number anyway
        reals = np.frombuffer(stored, dtype).astype(np.float64)
    is_whole = bool((np.isfinite(reals) & (reals == np.trunc(reals))).all())
    return tuple(int(number) for number in reals) if is_whole else None


def tensor(view: memoryview, found: Findings) -> tuple[str, Made]:
    """Name, size and (when small and whole-numbered) values of a TensorProto; ModelError for a bad one."""
    stored = _Stored()
    stored.read(view)
    label = f"the tensor '{stored.name[:100]}'"
    elements = _elements(stored.dims, label, found)
    item = _ITEM_BYTES.get(stored.dtype, 1)
    size = (elements + 1) // 2 if stored.dtype in _HALF_BYTES else elements * item
    if size > found.limits.max_tensor_bytes:
        raise found.refuse(f"declares {label} with {size} bytes", "too-large")
    if stored.external or stored.is_external:
        _external(stored.external, size, found)
    elif stored.raw is not None and stored.dtype in _ITEM_BYTES and len(stored.raw) != size:
        raise found.refuse(
            f"declares {size} bytes for {label} but holds {len(stored.raw)}",
            "damaged",
            "Download or export it again.",
        )
    if stored.dtype == _STRING:
        item = _TEXT_BYTES + stored.longest
    return stored.name, Made(elements, item, stored.values(elements))


def _length(value: Value) -> int:
    return 0 if isinstance(value, int) else len(value)


def _elements(dims: list[int], what: str, found: Findings) -> int:
    if len(dims) > _MAX_RANK:
        raise found.refuse(f"gives {what} {len(dims)} dimensions", "malformed")
    count = 1
    for size in dims:
        if size < 0:
            raise found.refuse(f"gives {what} a negative size", "malformed")
        count = min(count * size, 1 << 100)
    return count


def _external(entries: list[memoryview], size: int, found: Findings) -> None:
    pairs: dict[str, str] = {}
    for entry in entries:
        key = value = ""
        for number, _, part in fields(entry):
            if number == 1:
                key = text(part, 1000)
            elif number == 2:
                value = text(part, 65_536)
        if key in pairs:
            raise found.refuse(f"says twice where external data lies ('{key[:50]}')", "external-data")
        pairs[key] = value
    if not all(_NUMBER.fullmatch(pairs.get(key) or "0") for key in ("offset", "length")):
        raise found.refuse("gives an external offset or length that is no number", "external-data")
    offset = int(pairs.get("offset") or 0)
    length = int(pairs["length"]) if pairs.get("length") else None
    if length is not None and length < size:
        raise found.refuse(
            f"declares {size} bytes for an external tensor but only {length} are stored", "external-data"
        )
    check_external(found, pairs.get("location", ""), offset, length if length is not None else size)


def sparse(view: memoryview, found: Findings) -> None:
    """Judge a SparseTensorProto by what it unfolds to."""
    dims: list[int] = []
    for number, wire_type, value in fields(view):
        if number in (1, 2) and wire_type == LEN:
            tensor(message(value), found)
        elif number == 3:
            dims.extend(repeated_ints(wire_type, value, _MAX_RANK))
    if _elements(dims, "a sparse tensor", found) > found.limits.max_made_bytes:
        raise found.refuse("unfolds a sparse tensor beyond the limit", "too-large")


def value_info(view: memoryview, found: Findings) -> tuple[str, Made] | None:
    """Name and least size of a declared value, None when it has no shape; ModelError beyond the limit."""
    name, elem_type = "", 0
    dims: list[int | None] | None = None
    for number, wire_type, value in fields(view):
        if number == 1:
            name = text(value, 65_536)
        elif number == 2 and wire_type == LEN:
            for kind, kind_type, inner in fields(message(value)):
                if kind == 1 and kind_type == LEN:
                    elem_type, dims = _tensor_type(message(inner))
    if dims is None:
        return None
    elements = _elements([max(size, 0) if size is not None else 1 for size in dims], f"'{name[:100]}'", found)
    item = _ITEM_BYTES.get(elem_type, 1)
    if elements * item > found.limits.max_tensor_bytes:
        raise found.refuse(f"declares '{name[:100]}' with {elements * item} bytes", "too-large")
    return name, Made(elements, item)


def _tensor_type(view: memoryview) -> tuple[int, list[int | None] | None]:
    elem_type = 0
    dims: list[int | None] | None = None
    for number, wire_type, value in fields(view):
        if number == 1 and isinstance(value, int):
            elem_type = value
        elif number == 2 and wire_type == LEN:
            dims = []
            for part, _, dimension in fields(message(value)):
                if part == 1:
                    sizes = [
                        signed(v) for n, _, v in fields(message(dimension)) if n == 1 and isinstance(v, int)
                    ]
                    dims.append(sizes[-1] if sizes else None)
                    if len(dims) > _MAX_RANK:
                        raise WireError(f"a shape of more than {_MAX_RANK} dimensions", 0)
    return elem_type, dims
