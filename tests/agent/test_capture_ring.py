"""The ring of captures is shared fairly: a busy model neither starves a quiet one nor pushes its captures out."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgestudio.agent.observe.capture import CaptureRing
from edgestudio.agent.store.fsops import DiskOps
from edgestudio.wire.release import ROLE_MODEL


def _seat() -> Any:
    """What the ring reads of a seat."""
    files = {ROLE_MODEL: SimpleNamespace(sha256="0" * 64)}
    return SimpleNamespace(
        release="r1",
        manifest=SimpleNamespace(counter=1, version="1", files=files),
        loaded=SimpleNamespace(preprocessing=1, environment={}),
        host=SimpleNamespace(spec=SimpleNamespace(threads=1)),
        folder=Path(),
    )


def _ring(folder: Path, max_bytes: int) -> CaptureRing:
    ring = CaptureRing(DiskOps(), folder, lambda *_, **__: None)
    for model in ("busy", "quiet"):
        ring.switch(model, is_on=True, every=1, confidence_below=None, max_bytes=max_bytes)
    return ring


def _answer(count: int = 1000) -> dict[str, Any]:
    return {"confidence": 0.5, "feeds": {"x": np.zeros(count, np.float32)}}


def test_a_quiet_model_keeps_its_turn_beside_one_that_never_stops(tmp_path: Path) -> None:
    async def scenario() -> None:
        ring, seat = _ring(tmp_path / "captures", 1 << 20), _seat()
        # Both answer in the same moment, the busy one first and again while its first is being written.
        outcomes = await asyncio.gather(
            ring.offer("busy", seat, _answer()),
            ring.offer("quiet", seat, _answer()),
            ring.offer("busy", seat, _answer()),
        )
        assert outcomes == ["captured", "captured", "capture_dropped"]
        assert (ring.rules["quiet"].kept, ring.rules["quiet"].dropped) == (1, 0)

    asyncio.run(scenario())


def test_the_model_that_holds_the_most_gives_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        ring, seat = _ring(tmp_path / "captures", 30_000), _seat()
        for _ in range(2):
            await ring.offer("quiet", seat, _answer())
        for _ in range(50):
            assert await ring.offer("busy", seat, _answer()) == "captured"
        view = await ring.view()
        kept = Counter(item["model"] for item in view["captures"])
        assert kept["quiet"] == 2
        assert kept["busy"] >= 3
        assert view["size_bytes"] <= 30_000
        newest = [int(item["id"]) for item in view["captures"] if item["model"] == "busy"]
        assert newest == list(range(53 - len(newest), 53))
        # One that was quiet takes up to its half once it has something to keep.
        for _ in range(20):
            await ring.offer("quiet", seat, _answer())
        kept = Counter(item["model"] for item in (await ring.view())["captures"])
        assert abs(kept["quiet"] - kept["busy"]) <= 1

    asyncio.run(scenario())
