"""Faults 5, 13, 37, 38: telemetry outlives restarts, damage, full disks and weeks without a studio."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from edgestudio.agent.observe.recorder import LISTENER_KEEPS, Origin, Recorder
from edgestudio.agent.observe.spool import KEPT_S, ROWS_PER_RECORD, Spool
from edgestudio.agent.observe.windows import WindowBuilder, merge_windows
from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram
from edgestudio.wire.records import Event, Window


def window(seq: int, n: int = 5, *, boot: str = "b", model: str = "m") -> dict[str, Any]:
    builder = WindowBuilder()
    for index in range(n):
        builder.record(
            {"stages_ms": {"pre": 1.0, "infer": 2.0 + index, "post": 0.5}, "confidence": 0.9, "margin": 0.5,
             "label": f"class{index % 3}"},
            queue_ms=0.1,
        )  # fmt: skip
    fields = builder.take()
    fields["duration_s"] = 1.0
    record = Window(
        device="d", boot=boot, seq=seq, time_s=float(seq), mono_s=float(seq), model=model, release=1, **fields
    )
    return record.to_dict()


def event(seq: int) -> dict[str, Any]:
    return Event("d", "b", seq, 0.0, 0.0, f"e{seq}").to_dict()


def test_merged_windows_hold_the_same_counts_and_histograms() -> None:
    merged = merge_windows([window(1, 5), window(2, 7), window(3, 1)])
    assert merged["seq"] == 3
    assert merged["n"] == 13
    assert merged["dur"] == pytest.approx(3.0)
    assert merged["merged"] == 3
    assert LatencyHistogram.from_dict(merged["lat"]["inf"]).n == 13
    assert ConfidenceHistogram.from_dict(merged["conf"]).n == 13
    assert sum(merged["cls"].values()) == 13
    assert Window.from_dict(merged).inferences == 13


def test_weeks_without_a_studio_fit_and_no_inference_is_uncounted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "t.db", budget_bytes=120_000)
    for seq in range(1, 2001):
        spool.append(window(seq))
    kept = spool.after(0, 10_000)
    assert spool.size_bytes() <= 120_000
    assert sum(record["n"] for record in kept) == 2000 * 5, "merged, not dropped"
    assert [record["seq"] for record in kept] == sorted(record["seq"] for record in kept)
    assert kept[-1]["seq"] == 2000
    spool.close()


def test_when_even_merging_is_not_enough_the_oldest_go_and_it_is_said(tmp_path: Path) -> None:
    troubles: list[str] = []
    spool = Spool(tmp_path / "t.db", budget_bytes=20_000, on_trouble=lambda name, _: troubles.append(name))
    for seq in range(1, 400):
        spool.append(window(seq, model=f"m{seq}"))  # nothing to merge: every window is another model's
    assert spool.size_bytes() <= 20_000
    assert "telemetry.lost" in troubles
    assert spool.after(0, 1000)[-1]["seq"] == 399
    spool.close()


def test_events_outlive_windows_when_space_is_short(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "t.db", budget_bytes=20_000)
    for seq in range(1, 300):
        spool.append(event(seq) if seq % 50 == 0 else window(seq, model=f"m{seq}"))
    kept = [record["name"] for record in spool.after(0, 1000) if record["k"] == "evt"]
    assert kept == ["e50", "e100", "e150", "e200", "e250"]
    spool.close()


def test_records_survive_a_restart_and_go_after_an_acknowledgement(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "t.db", is_strict=True)
    for seq in range(1, 11):
        spool.append(event(seq))
    spool.close()
    now = [time.time()]
    spool = Spool(tmp_path / "t.db", desks=lambda: ["desk"], now=lambda: now[0])
    assert spool.last_seq() == 10
    spool.acknowledge("nobody's desk", 10)
    assert spool.positions() == {"desk": 0}
    spool.acknowledge("desk", 7)
    spool.acknowledge("desk", 3)
    assert spool.positions() == {"desk": 7}
    for later, kept in ((0, range(1, 11)), (KEPT_S + 60, range(8, 11))):
        now[0] += later
        spool.compact()
        assert [record["seq"] for record in spool.after(0, 100)] == list(kept)
    spool.acknowledge("desk", 10)
    spool.close()
    small = Spool(tmp_path / "t.db", budget_bytes=10, desks=lambda: ["desk"])
    small.compact()
    assert small.count() == 0
    assert small.highest_position() == 10
    small.close()


@pytest.mark.parametrize("budget", [10_000_000, 120_000])
def test_a_desk_that_was_closed_for_long_misses_nothing_that_fits(tmp_path: Path, budget: int) -> None:
    """The other desk has acknowledged everything, hours ago; what does not fit is merged, never over a desk's place."""
    now, desks = [1e9], ["open", "closed"]
    spool = Spool(tmp_path / "t.db", budget_bytes=budget, desks=lambda: desks, now=lambda: now[0])
    for seq in range(1, 2001):
        now[0] += 10.0
        spool.append(window(seq))
        spool.acknowledge("open", seq)
        if seq <= 1003:
            spool.acknowledge("closed", seq)
    missed = spool.after(1003, 10_000)
    assert sum(record["n"] for record in missed) == 997 * 5
    assert (len(missed) == 997) == (budget == 10_000_000)
    assert spool.after(0, 1)[0]["seq"] > 900, "what both have is gone"
    desks.remove("closed")  # unpaired: nobody waits for it any more
    spool.compact()
    assert spool.count() <= KEPT_S / 10 + 1
    spool.close()


@pytest.mark.parametrize("damage", ["truncate", "junk", "pages", "empty", "folder"])
def test_a_damaged_store_is_set_aside_and_a_new_one_begun(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "t.db"
    spool = Spool(path)
    for seq in range(1, 200):
        spool.append(window(seq))
    spool.close()
    data = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(data[: len(data) // 2 + 7])
    elif damage == "junk":
        path.write_bytes(b"not a database at all" * 100)
    elif damage == "pages":
        path.write_bytes(data[:4096] + b"\xff" * 8192 + data[12288:])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        path.mkdir()
    troubles: list[str] = []
    spool = Spool(path, on_trouble=lambda name, _: troubles.append(name))
    spool.append(window(500))
    assert spool.after(499, 10)[0]["seq"] == 500
    spool.close()
    if damage in ("truncate", "junk", "pages"):
        assert troubles == ["telemetry.damaged"]
        assert list(tmp_path.glob("t.db.damaged-*"))


def test_a_store_that_cannot_be_written_loses_telemetry_and_nothing_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "t.db")
    spool.append(window(1))
    other = sqlite3.connect(tmp_path / "t.db", timeout=0)
    spool._db.execute("PRAGMA busy_timeout=0")
    other.execute("BEGIN EXCLUSIVE")
    spool.append(window(2))  # locked: dropped without an error
    other.rollback()
    other.close()
    spool.append(window(3))
    assert [record["seq"] for record in spool.after(0, 10)] == [1, 3]
    spool.close()


def test_a_slow_reader_gets_the_newest_and_is_told_of_the_gap(tmp_path: Path) -> None:
    async def scenario() -> None:
        recorder = Recorder(tmp_path, Origin("d", "boot", True, lambda: "ok", lambda: 0.0))
        records = recorder.subscribe()
        for number in range(LISTENER_KEEPS + 10):
            recorder.event(f"e{number}")
        first = await anext(records)
        assert (first["k"], first["from"], first["to"]) == ("gap", 1, 10)
        assert (await anext(records))["name"] == "e10"
        missed = recorder.history(0, 10)
        assert [record["name"] for record in missed] == [f"e{number}" for number in range(10)]
        assert all(record["sim"] for record in missed)
        await records.aclose()  # type: ignore[attr-defined]
        recorder.close()
        again = Recorder(tmp_path, Origin("d", "next", False, lambda: "ok", lambda: 0.0))
        assert again.event("after")["seq"] == LISTENER_KEEPS + 11
        again.close()

    asyncio.run(scenario())


def test_a_closed_store_is_left_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "t.db")
    spool.append(event(1))
    spool.close()
    spool.append(event(2))
    assert spool.after(0, 10) == []
    assert [path.name for path in tmp_path.iterdir()] == ["t.db"]


def test_an_acknowledgement_covers_earlier_boots_and_no_number_that_another_boot_used(tmp_path: Path) -> None:
    def boot(name: str) -> Recorder:
        return Recorder(tmp_path, Origin("d", name, False, lambda: "ok", lambda: 1.0), lambda: ["desk"])

    for name in ("a", "b"):
        recorder = boot(name)
        for _ in range(5):
            recorder.event("tick")
        recorder.close()
    recorder = boot("c")
    assert recorder.first_seq == 11
    recorder.event("tick")
    recorder.acknowledge("desk", "never", 11)
    assert recorder.acknowledged_seq() == 0
    recorder.acknowledge(
        "desk", "a", 9
    )  # a studio that saw numbers 6 to 9 of boot a, before a power cut took them
    assert recorder.acknowledged_seq() == 5
    recorder.acknowledge("desk", "c", 11)
    assert recorder.acknowledged_seq() == 11
    recorder.close()


def test_making_room_takes_a_little_with_each_record_and_never_long(tmp_path: Path) -> None:
    """All at once took 20 s on a store of 64 MiB, in which the board answered nobody."""
    spool = Spool(tmp_path / "t.db", budget_bytes=2_000_000)
    steps, before = [], 0
    for seq in range(1, 4500):
        spool.append(window(seq, n=1))
        now = spool.count()
        steps.append(before + 1 - now)
        before = now
        assert spool.size_bytes() <= 2_000_000
    assert 0 < max(steps) <= ROWS_PER_RECORD + 32
    assert sum(record["n"] for record in spool.after(0, 10_000)) == 4499
    assert spool._bytes == spool.size_bytes()
    spool.close()


def test_an_acknowledgement_while_windows_are_merged_makes_nobody_count_twice(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "t.db", budget_bytes=600_000, desks=lambda: ["a", "b"])
    got, upto = 0, 0
    for seq in range(1, 3000):
        spool.append(window(seq, n=1))
        if seq % 37 == 0:  # a desk that takes what there is and says so, in the middle of it all
            fresh = spool.after(upto, 10_000)
            got, upto = got + sum(record["n"] for record in fresh), fresh[-1]["seq"]
            spool.acknowledge("a", upto)
    got += sum(record["n"] for record in spool.after(upto, 10_000))
    assert got == 2999
    spool.close()


def test_an_onlooker_that_never_acknowledges_holds_nothing_up(tmp_path: Path) -> None:
    now = [1e9]
    spool = Spool(tmp_path / "t.db", desks=lambda: ["keeps", "watches"], now=lambda: now[0])
    for seq in range(1, 2001):
        now[0] += 10.0
        spool.append(window(seq, n=1))
        if seq == 1000:
            assert spool.count() == 1000, (
                "while nobody ever acknowledged, everything is kept for whoever will"
            )
        if seq > 1000:
            spool.acknowledge("keeps", seq)
    spool.compact()
    assert spool.count() <= KEPT_S / 10 + 1
    spool.close()
