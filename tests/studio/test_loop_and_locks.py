"""The loop thread cleans up when it stops; a folder's lock is the kernel's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from edgestudio.model.library.folder_lock import FolderLock
from edgestudio.studio.loop import LoopThread


def test_runs_coroutines_elsewhere_and_runs_their_clean_up_at_stop():
    loop = LoopThread()
    ended = []

    async def where():
        return threading.current_thread().name

    async def endless():
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned")

    try:
        assert loop.submit(where()).result(10) == "edgestudio-loop"
        loop.submit(endless())
        loop.submit(where()).result(10)
    finally:
        assert loop.stop()
    assert ended == ["cleaned"]
    assert not loop.is_running
    assert loop.stop()


def test_cancelling_the_future_cancels_the_coroutine():
    loop = LoopThread()
    try:
        started, cancelled = threading.Event(), threading.Event()

        async def endless():
            started.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        future = loop.submit(endless())
        assert started.wait(10)
        future.cancel()
        assert cancelled.wait(10)
    finally:
        loop.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
def test_a_lock_is_freed_by_a_killed_process(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from edgestudio.model.library.folder_lock import FolderLock\n"
        f"assert FolderLock(Path({str(tmp_path)!r})).acquire(); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    lock = FolderLock(tmp_path)
    try:
        assert holder.stdout.readline() == b"held\n"
        assert not lock.acquire()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert lock.acquire()
    lock.release()
