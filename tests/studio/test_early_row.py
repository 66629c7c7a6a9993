"""A model shows early: what it is at once, its graph when the rest takes long, nothing when it fails."""

from __future__ import annotations

import asyncio

from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.library.early_row import EarlyRow
from edgestudio.studio.rows import ModelRow

SHA256 = "a" * 64


async def begun(tmp_path, seen):
    """An early row whose worker has recognised the file and written graph and layout."""
    bus = EventBus()
    bus.subscribe(seen.append)
    rows: Ledger[ModelRow] = Ledger(bus, "models")
    job = tmp_path / "1-job"
    job.mkdir()
    (job / "graph.json").write_text("{}")
    (job / "layout.npz").write_bytes(b"npz")
    hashing = asyncio.get_running_loop().create_future()
    early = EarlyRow(rows, tmp_path / "net.onnx", "net", hashing, tmp_path)
    early.on_partial("recognised", {"format": "onnx", "size_bytes": 3})
    assert seen == [], "without its hash a model has no row"
    hashing.set_result(SHA256)
    await asyncio.sleep(0)
    early.on_partial("layout", str(job / "layout.npz"))
    early.on_partial("graph", str(job / "graph.json"))
    return rows, early, job


def test_the_graph_is_there_before_the_rest_and_outlives_the_job(tmp_path):
    async def scenario():
        seen = []
        rows, early, job = await begun(tmp_path, seen)
        row = rows.get(SHA256)
        assert (row.format, row.size_bytes, row.graph_path) == ("onnx", 3, None)
        async with asyncio.timeout(30):
            while rows.get(SHA256).graph_path is None:  # noqa: ASYNC110  the condition is a row's
                await asyncio.sleep(0.02)
        for file in job.iterdir():
            file.unlink()
        with open(rows.get(SHA256).graph_path) as graph:  # noqa: ASYNC230, PTH123
            assert graph.read() == "{}"
        early.settle(SHA256)
        assert rows.get(SHA256) is not None

    asyncio.run(scenario())


def test_the_picture_of_a_large_model_comes_before_its_graph(tmp_path):
    async def scenario():
        (tmp_path / "layout.npz").write_bytes(b"npz")
        (tmp_path / "graph.json").write_text("{}")
        bus = EventBus()
        rows: Ledger[ModelRow] = Ledger(bus, "models")
        hashing = asyncio.get_running_loop().create_future()
        hashing.set_result(SHA256)
        early = EarlyRow(rows, tmp_path / "net.onnx", "net", hashing, tmp_path / "jobs")
        (tmp_path / "jobs").mkdir()
        early.on_partial("recognised", {"format": "onnx"})
        await asyncio.sleep(0.4)  # as long as a large file takes to read
        early.on_partial("layout", str(tmp_path / "layout.npz"))
        await asyncio.sleep(0.05)
        assert rows.get(SHA256).layout_path is not None
        assert rows.get(SHA256).graph_path is None
        early.on_partial("graph", str(tmp_path / "graph.json"))
        assert rows.get(SHA256).graph_path is not None
        early.settle(SHA256)

    asyncio.run(scenario())


def test_a_quick_job_shows_its_graph_once(tmp_path):
    async def scenario():
        seen = []
        rows, early, _ = await begun(tmp_path, seen)
        early.settle(SHA256)
        await asyncio.sleep(1)
        assert rows.get(SHA256).graph_path is None

    asyncio.run(scenario())


def test_a_failure_takes_the_row_away(tmp_path):
    async def scenario():
        seen = []
        rows, early, _ = await begun(tmp_path, seen)
        early.withdraw()
        assert len(rows) == 0
        early.on_partial("recognised", {"format": "onnx"})
        await asyncio.sleep(0)
        assert len(rows) == 0

    asyncio.run(scenario())
