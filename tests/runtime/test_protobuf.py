"""The wire-format reader agrees with the reference library and ends in a verdict on any bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto

from edgestudio.runtime.protobuf import (
    FIXED32,
    FIXED64,
    LEN,
    VARINT,
    Value,
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
from edgestudio.runtime.protobuf_runs import Run, fields_and_runs

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


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def element(number: int, wire: int, value: int) -> bytes:
    body = {
        VARINT: varint(value),
        LEN: varint(abs(value) % 300) + b"x" * (abs(value) % 300),
        FIXED32: (value & 0xFFFFFFFF).to_bytes(4, "little"),
        FIXED64: (value & (1 << 64) - 1).to_bytes(8, "little"),
    }[wire]
    return varint(number << 3 | wire) + body


def singly(of: Iterator[tuple[int, int, Value | Run]]) -> list[tuple[int, int, int | bytes]] | str:
    """The elements one by one, or what was said against them."""
    found: list[tuple[int, int, int | bytes]] = []
    try:
        for number, wire, value in of:
            each = value.first(value.count) if isinstance(value, Run) else [value]
            if isinstance(value, Run):
                assert len(each) == value.count
                assert wire == LEN or value.numbers().tolist() == each
            found += [(number, wire, bytes(one) if isinstance(one, memoryview) else one) for one in each]
    except WireError as error:
        return str(error)
    return found


stretches = st.lists(
    st.tuples(
        st.sampled_from((1, 7, 8, 15, 16)),
        st.sampled_from((VARINT, LEN, FIXED32, FIXED64)),
        st.sampled_from((1, 31, 33, 40, 1500)),
        st.lists(int64, min_size=1, max_size=5),
    ),
    max_size=4,
)


@given(stretches, st.none() | st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), st.integers(0, 40))
def test_runs_hold_what_is_there_one_by_one(
    parts: list[tuple[int, int, int, list[int]]], damage: tuple[int, int] | None, cut: int
) -> None:
    data = bytearray()
    for number, wire, count, values in parts:
        data += b"".join(element(number, wire, values[at % len(values)]) for at in range(count))
    if damage is not None and data:
        data[damage[0] % len(data)] = damage[1]
    view = memoryview(bytes(data[: len(data) - cut] if cut < 30 else data))
    assert singly(fields_and_runs(view)) == singly(fields(view))


def test_a_long_list_is_one_run_for_the_fields_asked_for() -> None:
    data = memoryview(b"".join(element(8, VARINT, at - 500) for at in range(100_000)))
    runs = [value for _, _, value in fields_and_runs(data) if isinstance(value, Run)]
    assert len(runs) == 1
    assert runs[0].count > 99_900
    assert runs[0].numbers().view("int64").tolist()[-1] == 99_499
    assert not any(isinstance(value, Run) for _, _, value in fields_and_runs(data, frozenset({7})))


@given(st.lists(int64, min_size=300, max_size=1200))
def test_long_packed_lists_are_read_alike(numbers: list[int]) -> None:
    data = b"".join(varint(number) for number in numbers)
    assert repeated_ints(LEN, memoryview(data)) == numbers


@pytest.mark.parametrize(
    ("end", "what"),
    [
        (b"\x80", "ends inside a number"),
        (b"\xff" * 9 + b"\x02", "more than 64 bits"),
        (b"\xff" * 11 + b"\x01", "more than 64 bits"),
    ],
)
def test_a_long_packed_list_that_is_damaged(end: bytes, what: str) -> None:
    with pytest.raises(WireError, match=what):
        packed_varints(memoryview(b"\x07" * 5000 + end))
    with pytest.raises(WireError, match="more than 4999"):
        packed_varints(memoryview(b"\x07" * 5000), 4999)
