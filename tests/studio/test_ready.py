"""A worker that waits for its job: it is used, renewed, replaced, keeps a worker's rules, and leaves no orphan."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgestudio.studio.app import Studio
from edgestudio.studio.jobs.child import own_command
from edgestudio.studio.jobs.ready import ReadyWorker
from edgestudio.studio.paths import Paths
from edgestudio.wire.errors import InputError, JobError
from tests.studio.test_jobs import WORKER, Desk, is_gone, until


@asynccontextmanager
async def ready(desk):
    """A desk whose jobs find a worker waiting."""
    desk.jobs.ready = ReadyWorker(WORKER, later_s=0.0)
    desk.jobs.ready.keep()
    await until(lambda: desk.jobs.ready.pid)
    try:
        yield desk.jobs
    finally:
        await desk.jobs.stop()


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_a_job_takes_the_waiting_worker_and_another_takes_its_place(desk):
    async def scenario():
        async with ready(desk) as jobs:
            first = jobs.ready.pid
            found = await jobs.run("who", {})
            assert found == {"pid": first, "nice": min(19, os.nice(0) + 5)}
            await until(lambda: jobs.ready.pid)
            second = jobs.ready.pid
            assert second != first
            assert (await jobs.run("who", {}))["pid"] == second
            await until(lambda: jobs.ready.pid)
            return jobs.ready.pid

    assert is_gone(asyncio.run(scenario()))


def test_two_jobs_at_once_never_share_a_worker(desk):
    async def scenario():
        async with ready(desk) as jobs:
            light = [jobs.run("light", {"s": 0}) for _ in range(2)]
            assert await asyncio.gather(*light) == [{}, {}]

    asyncio.run(scenario())
    assert desk.ends() == ["done", "done"]


def test_a_waiting_worker_that_died_is_replaced(desk):
    async def scenario():
        async with ready(desk) as jobs:
            dead = jobs.ready.pid
            os.kill(dead, signal.SIGKILL)
            await until(lambda: jobs.ready.pid is None)
            assert (await jobs.run("who", {}))["pid"] != dead
            await until(lambda: jobs.ready.pid)

    asyncio.run(scenario())


def test_it_keeps_the_limits_of_its_job(desk):
    async def scenario():
        async with ready(desk) as jobs:
            with pytest.raises(InputError) as caught:
                await jobs.run("hungry", {})
            assert caught.value.code == "memory"
            await until(lambda: jobs.ready.pid)
            with pytest.raises(JobError) as late:
                await jobs.run("sleep", {}, timeout_s=0.3)
            assert late.value.code == "job-timeout"
            await until(lambda: jobs.ready.pid)
            with pytest.raises(JobError) as crashed:
                await jobs.run("segv", {})
            assert crashed.value.code == "job-crashed"
            assert "last words" in crashed.value.details

    asyncio.run(scenario())


def test_cancelling_ends_it(desk):
    async def scenario():
        async with ready(desk) as jobs:
            pid = jobs.ready.pid
            running = asyncio.ensure_future(jobs.run("stubborn", {}))
            await until(lambda: any(row.state == "running" for row in jobs.rows))
            await asyncio.sleep(0.1)
            (row,) = jobs.rows
            assert jobs.cancel(row.id)
            with pytest.raises(JobError):
                await running
            return pid

    assert is_gone(asyncio.run(scenario()))
    assert desk.ends() == ["cancelled"]


def test_stopping_while_it_starts_leaves_nothing(desk):
    async def scenario():
        waiting = ReadyWorker(WORKER, later_s=0.0)
        waiting.keep()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await waiting.stop()
        assert waiting.pid is None
        assert waiting.take() is None

    asyncio.run(scenario())


def test_without_being_asked_nothing_waits(desk):
    async def scenario():
        assert (await desk.jobs.run("who", {}))["pid"] != os.getpid()
        assert desk.jobs.ready.pid is None

    asyncio.run(scenario())


def test_one_that_cannot_start_is_no_failure(desk):
    async def scenario():
        waiting = ReadyWorker(["/nowhere/at-all"], later_s=0.0)
        waiting.keep()
        await asyncio.sleep(0.1)
        assert waiting.take() is None
        await waiting.stop()

    asyncio.run(scenario())


def test_it_dies_with_the_studio(tmp_path):
    script = f"""
import asyncio, os, signal, sys
from edgestudio.studio.jobs.ready import ReadyWorker
async def main():
    waiting = ReadyWorker({own_command("--worker")!r}, later_s=0.0)
    waiting.keep()
    while waiting.pid is None:
        await asyncio.sleep(0.01)
    print(waiting.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == -signal.SIGKILL
    assert is_gone(int(done.stdout))


def test_the_setting_is_followed_at_once(tmp_path):
    async def scenario():
        studio = Studio(Paths(tmp_path))
        studio.settings.change(worker_ready=False, discovery=False)
        await studio.start(discover=False)
        try:
            await studio.keep_worker_ready()
            await asyncio.sleep(0)
            assert studio.jobs.ready._starting is None
            studio.settings.change(worker_ready=True)
            await until(lambda: studio.jobs.ready.pid)
            pid = studio.jobs.ready.pid
            studio.settings.change(worker_ready=False)
            await until(lambda: studio.jobs.ready.pid is None)
        finally:
            await studio.stop()
        return pid

    assert is_gone(asyncio.run(scenario()))
