"""How long tests wait for what must happen; on a slow processor, as an emulated one is, so many times longer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import pytest

VARIABLE = "EDGESTUDIO_TEST_PATIENCE"
PATIENCE = float(os.environ.get(VARIABLE, "1"))
"""Bounds that only end a test which would never end are multiplied by it; what a test asserts is not."""


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for `condition`; fails the test when it does not hold within `seconds`, times the patience."""
    end = time.monotonic() + seconds * PATIENCE
    while not condition():
        if time.monotonic() > end:
            pytest.fail("it never happened")
        await asyncio.sleep(0.02)
