"""A start of a process that is cancelled at any of its steps ends, and leaves no process behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import psutil
import pytest

from edgestudio.wire.processes import start_process
from tests.patience import PATIENCE

PIPE = asyncio.subprocess.PIPE
FOREVER = ("/bin/sh", "-c", "sleep 1000 & wait")


def test_a_process_starts_and_is_talked_to() -> None:
    async def scenario() -> None:
        process = await start_process("/bin/cat", stdin=PIPE, stdout=PIPE)
        said, _ = await process.communicate(b"hello")
        assert (said, process.returncode) == (b"hello", 0)

    asyncio.run(scenario())


def test_what_cannot_be_started_is_said() -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(start_process("/nowhere/at/all"))


@pytest.mark.parametrize("turns", range(9))
def test_a_start_that_is_cancelled_ends_and_leaves_nothing(turns: int) -> None:
    """asyncio's own start never ends when it is cancelled between the fork and the last of its pipes."""

    async def scenario() -> None:
        starting = asyncio.ensure_future(
            start_process(*FOREVER, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        done, _ = await asyncio.wait({starting}, timeout=20 * PATIENCE)
        assert done, "the start never ended"
        assert starting.cancelled()

    asyncio.run(scenario())
    _assert_no_children()


LOOP_ENDS = """
import asyncio, sys
from edgestudio.wire.processes import start_process

async def scenario(turns):
    asyncio.ensure_future(start_process("/bin/sleep", "1000", stdin=-1, stdout=-1, stderr=-1, start_new_session=True))
    for _ in range(turns):
        await asyncio.sleep(0)

for turns in range(5):
    asyncio.run(scenario(turns))
"""


def test_a_loop_that_ends_meanwhile_ends() -> None:
    """In a process of its own: what asyncio has opened for such a start, it does not close, and Python complains."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", LOOP_ENDS], check=True, timeout=60 * PATIENCE)


def _assert_no_children() -> None:
    end = time.monotonic() + 20 * PATIENCE
    while [c for c in psutil.Process().children(recursive=True) if c.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < end, "a process was left behind"
        time.sleep(0.02)
