"""The soak in short: three boards, half a minute of random faults; the long one is started by hand."""

from __future__ import annotations

import asyncio

from tests.soak import soak


def test_boards_hold_under_random_faults() -> None:
    seen = asyncio.run(soak.soak(25.0, 3, seed=7))
    assert seen.wrong == [], soak.report(seen)
    assert seen.answered > 3
    assert seen.records > 20
    assert sum(seen.faults.values()) > 3
