"""A protocol-buffer message indexed by field number, for formats whose schema is not shipped with this application."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgestudio.runtime.protobuf import (
    FIXED32,
    FIXED64,
    LEN,
    VARINT,
    Value,
    as_double,
    as_float,
    fields,
    signed,
    signed_varints,
)
from edgestudio.runtime.protobuf_runs import Run, fields_and_runs, varints

_LONG = 4096
"""A longer message may hold lists whose elements are better not taken one by one."""
_MOST = 1 << 24


class Message:
    """One message, indexed once; a field of another wire type than asked for reads as absent."""

    __slots__ = ("_fields", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self._fields: dict[int, list[tuple[int, Value | Run]]] = {}
        for number, wire, value in fields(view) if len(view) <= _LONG else fields_and_runs(view):
            self._fields.setdefault(number, []).append((wire, value))

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def numbers(self) -> list[int]:
        """The field numbers present, in order of first appearance."""
        return list(self._fields)

    def payloads(self, number: int) -> Iterator[memoryview]:
        """The length-delimited payloads of the field, one at a time."""
        for _, value in self._fields.get(number, ()):
            if isinstance(value, memoryview):
                yield value
            elif isinstance(value, Run) and value.wire == LEN:
                for _, _, payload in fields(value.view):
                    if isinstance(payload, memoryview):
                        yield payload

    def views(self, number: int) -> list[memoryview]:
        """Every length-delimited payload of the field."""
        return list(self.payloads(number))

    def data(self, number: int) -> bytes:
        """The last payload of the field, b"" when absent."""
        views = self.views(number)
        return bytes(views[-1]) if views else b""

    def text(self, number: int, default: str = "") -> str:
        """The last payload as text; bytes that are not UTF-8 show as replacement characters."""
        views = self.views(number)
        return str(views[-1], "utf-8", "replace") if views else default

    def texts(self, number: int) -> list[str]:
        """Every payload of a repeated string field."""
        return [str(view, "utf-8", "replace") for view in self.views(number)]

    def message(self, number: int) -> Message | None:
        """The last sub-message of the field, None when absent."""
        views = self.views(number)
        return Message(views[-1]) if views else None

    def messages(self, number: int) -> Iterator[Message]:
        """Every sub-message of a repeated field, read one at a time."""
        for view in self.views(number):
            yield Message(view)

    def integer(self, number: int, default: int = 0) -> int:
        """The last value of an integer, enum or bool field."""
        for wire, value in reversed(self._fields.get(number, ())):
            if wire == VARINT and isinstance(value, Run):
                return int(value.numbers().view(np.int64)[-1])
            if wire == VARINT and isinstance(value, int):
                return signed(value)
        return default

    def integers(self, number: int) -> list[int]:
        """Every value of a repeated integer field, packed or not."""
        values: list[int] = []
        for wire, value in self._fields.get(number, ()):
            if isinstance(value, memoryview):
                values += signed_varints(value)
            elif wire == VARINT and isinstance(value, Run):
                values += value.numbers().view(np.int64).tolist()
            elif wire == VARINT and isinstance(value, int):
                values.append(signed(value))
        return values

    def array(self, number: int) -> NDArray[np.int64]:
        """As `integers`, for very many."""
        values = [np.zeros(0, np.int64)]
        for wire, value in self._fields.get(number, ()):
            if isinstance(value, memoryview):
                values.append(varints(value, _MOST).view(np.int64))
            elif wire == VARINT:
                values.append(
                    value.numbers().view(np.int64)
                    if isinstance(value, Run)
                    else np.array([signed(value)], np.int64)
                )
        return np.concatenate(values)

    def real(self, number: int, default: float = 0.0) -> float:
        """The last value of a float or double field."""
        values = self.reals(number)
        return values[-1] if values else default

    def reals(self, number: int, *, double: bool = False) -> list[float]:
        """Every value of a repeated float field (when packed, of doubles with `double`)."""
        values: list[float] = []
        for wire, value in self._fields.get(number, ()):
            if isinstance(value, memoryview):
                width, code = (8, "d") if double else (4, "f")
                count = len(value) // width
                values += struct.unpack(f"<{count}{code}", value[: count * width])
            elif isinstance(value, Run):
                values += _run_reals(value)
            elif wire == FIXED32:
                values.append(as_float(value))
            elif wire == FIXED64:
                values.append(as_double(value))
        return values


def _run_reals(run: Run) -> list[float]:
    if run.wire == FIXED32:
        return list(run.numbers().astype(np.uint32).view(np.float32).tolist())
    return list(run.numbers().view(np.float64).tolist()) if run.wire == FIXED64 else []
