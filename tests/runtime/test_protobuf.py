"""The wire-format reader agrees with the reference library and ends in a verdict on any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto

from edgestudio.runtime.protobuf import (
    FIXED32,
    FIXED64,
    LEN,
    VARINT,
    WireError,
    as_double,
    as_float,
    fields,
    packed_varints,
    repeated_ints,
    signed,
    text,
    zigzag,
)

int64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(int64, max_size=20), st.text(max_size=30), st.floats(width=32, allow_nan=False))
def test_it_reads_what_the_reference_writes(numbers: list[int], name: str, real: float) -> None:
    data = AttributeProto(name=name, ints=numbers, f=real).SerializeToString()
    found: list[int] = []
    for number, wire_type, value in fields(memoryview(data)):
        if number == 8:
            found.extend(repeated_ints(wire_type, value))
        elif number == 1:
            assert text(value) == name
        elif number == 2:
            assert wire_type == FIXED32
            assert isinstance(value, int)
            assert as_float(value) == real
    assert found == numbers


@given(st.lists(int64, max_size=20), st.lists(st.floats(allow_nan=False), max_size=5))
def test_packed_numbers(dims: list[int], reals: list[float]) -> None:
    data = TensorProto(dims=dims, double_data=reals).SerializeToString()
    read = [
        number
        for field, wire, value in fields(memoryview(data))
        if field == 1
        for number in repeated_ints(wire, value)
    ]
    assert read == dims


@given(st.binary(max_size=200))
def test_any_bytes_end_in_fields_or_an_error(data: bytes) -> None:
    try:
        for number, wire_type, value in fields(memoryview(data)):
            assert 0 < number < 2**29
            assert wire_type in (VARINT, FIXED32, FIXED64, LEN)
            if wire_type == LEN:
                assert isinstance(value, memoryview)
                list(zip(range(10), value, strict=False))
    except WireError as error:
        assert 0 <= error.offset <= len(data)  # noqa: PT017 - either outcome is right, the offset must hold


@given(st.binary(min_size=1, max_size=100), st.integers(0, 100))
def test_a_head_reads_as_far_as_it_goes(payload: bytes, cut: int) -> None:
    data = TensorProto(name="n", raw_data=payload).SerializeToString()
    whole = [number for number, _, _ in fields(memoryview(data))]
    head = [number for number, _, _ in fields(memoryview(data)[:cut], total_size=len(data))]
    assert head == whole[: len(head)]


@pytest.mark.parametrize(
    "data", [b"\x08", b"\x08" + b"\xff" * 10 + b"\x01", b"\x0a\x05ab", b"\x0b", b"\x00\x01", b"\x0d\x00"]
)
def test_malformed_messages_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        list(fields(memoryview(data)))


def test_numbers_in_every_form() -> None:
    assert signed(2**64 - 1) == -1
    assert [zigzag(value) for value in (0, 1, 2, 3)] == [0, -1, 1, -2]
    assert as_double(0x3FF0000000000000) == 1.0
    with pytest.raises(WireError):
        packed_varints(memoryview(b"\x01\x80"))
    with pytest.raises(WireError):
        packed_varints(memoryview(b"\x01" * 10), limit=5)
    with pytest.raises(WireError):
        text(memoryview(b"abc"), limit=2)
