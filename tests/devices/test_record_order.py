"""Faults 37 and 38: whatever a way loses, repeats or mixes up, a reader has each record once and in order."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgestudio.devices.record_order import PAGE, RecordOrder


def record(seq: int, boot: str = "a") -> dict[str, Any]:
    return {"k": "win", "boot": boot, "seq": seq}


async def read(order: RecordOrder, messages: list[dict[str, Any]], kept: list[dict[str, Any]]) -> list[int]:
    async def history(after: int) -> list[dict[str, Any]]:
        return [r for r in kept if r["seq"] > after][:PAGE]

    return [r["seq"] for message in messages async for r in order.sorted_in(message, history) if "seq" in r]


@given(
    st.integers(1, 60),
    st.lists(st.integers(1, 60), max_size=120),
    st.lists(st.integers(0, 119), max_size=6),
)
@settings(max_examples=200)
def test_nothing_twice_nothing_out_of_order_and_nothing_lost(
    count: int, arriving: list[int], gaps: list[int]
) -> None:
    kept = [record(seq) for seq in range(1, count + 1)]
    messages = [record(seq) for seq in arriving if seq <= count]
    for place in gaps:
        messages.insert(min(place, len(messages)), {"k": "gap", "from": 1, "to": count})
    messages.append({"k": "hello", "boot": "a", "first": 1})  # the reader comes back in the end
    order = RecordOrder(("", 0))
    seen = asyncio.run(read(order, messages, kept))
    assert seen == sorted(set(seen))
    assert order.last == ("a", count)
    # A stream's own order is trusted, so what it leaves out without saying so is lost: only a gap or a hello asks.
    if messages[0]["k"] == "gap":
        assert seen == list(range(1, count + 1))


def test_a_boot_that_uses_numbers_again_is_read_from_its_beginning() -> None:
    """A power cut took records 8 to 10, which the studio has, and the next boot begins at 8."""
    kept = [record(seq) for seq in range(1, 8)] + [record(seq, "b") for seq in range(8, 14)]
    order = RecordOrder(("a", 10))
    messages = [{"k": "hello", "boot": "b", "first": 8}, record(14, "b")]
    assert asyncio.run(read(order, messages, kept)) == [8, 9, 10, 11, 12, 13, 14]
    # The store is new and so is the sequence; what an earlier boot left is not read again.
    kept = [record(1, "b"), record(2, "c"), record(3, "c"), record(20, "c")]
    order = RecordOrder(("b", 14))
    assert asyncio.run(read(order, [{"k": "hello", "boot": "c", "first": 2}], kept)) == [2, 3, 20]


def test_lies_of_a_board_do_no_harm() -> None:
    order = RecordOrder(("a", 10))
    lies: list[dict[str, Any]] = [
        {"k": "hello", "boot": 7, "first": "x"}, {"k": "hello"}, {"k": "win", "seq": "9"}, {"k": "win", "seq": True},
        {"k": "win", "seq": 1e300}, {"seq": None}, {"k": "hello", "boot": "b", "first": -5},
    ]  # fmt: skip
    assert asyncio.run(read(order, lies, [])) == []
    assert order.last == ("a", 10)
