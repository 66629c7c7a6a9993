"""Jobs end in exactly one way, whatever the worker does, and leave nothing behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from edgestudio.studio.bus import EventBus, RowEvent
from edgestudio.studio.jobs.jobs import JobService
from edgestudio.wire.errors import InputError, JobError, ModelError

HERE = Path(__file__).parent
WORKER = [sys.executable, str(HERE / "odd_jobs.py")]


class Desk:
    """A job service with its events, and the rows' ends counted."""

    def __init__(self, folder: Path, **options) -> None:
        sys.path.insert(0, str(HERE))
        try:
            from odd_jobs import KINDS
        finally:
            sys.path.remove(str(HERE))
        self.events: list[RowEvent] = []
        bus = EventBus()
        bus.subscribe(self.events.append)
        self.folder = folder
        self.jobs = JobService(bus, folder, worker_command=WORKER, kinds=KINDS, grace_s=0.3, **options)

    def only_row(self):
        (row,) = self.jobs.rows
        return row

    def ends(self) -> list[str]:
        """The states of the terminal events, in order."""
        return [event.row.state for event in self.events if event.row.is_over]


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  the condition is a row's
            await asyncio.sleep(0.02)


def is_gone(pid: int) -> bool:
    """True once the process has ended; a killed one may take a moment, an orphan stays as a zombie."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_reports_progress_and_result(desk):
    partials = {}
    result = asyncio.run(desk.jobs.run("count", {"n": 5}, on_partial=partials.__setitem__))
    assert result == {"n": 5}
    assert partials == {"half": 2}
    row = desk.only_row()
    assert (row.state, row.fraction, row.log[-1]) == ("done", 1.0, "line 4")
    phases = [event.row.phase for event in desk.events if event.row.phase]
    assert phases[0] == "step 0"
    assert phases[-1] == "step 4"
    assert desk.ends() == ["done"]
    assert list(desk.folder.iterdir()) == []


def test_failure_keeps_its_class_words_and_code(desk):
    with pytest.raises(ModelError) as caught:
        asyncio.run(desk.jobs.run("refuse", {}))
    assert (caught.value.message, caught.value.hint, caught.value.code) == (
        "This is no model.", "Give a model.", "odd",
    )  # fmt: skip
    assert caught.value.exit_code == 2
    assert desk.ends() == ["failed"]


def test_a_refusal_tells_its_circumstances_and_shows_no_stack(desk):
    with pytest.raises(ModelError) as caught:
        asyncio.run(desk.jobs.run("refuse_because", {"path": "/models/a.onnx"}))
    details = caught.value.details
    assert "Traceback" not in details
    assert "Code: odd" in details
    assert "path: /models/a.onnx" in details
    assert "Because: ValueError: it ends at byte 7" in details
    assert "Because: KeyError: 'header'" in details
    assert desk.only_row().details == details


def test_bug_says_so_and_keeps_the_trace_as_details(desk):
    with pytest.raises(JobError, match="This is a bug: ZeroDivisionError: unlucky") as caught:
        asyncio.run(desk.jobs.run("bug", {}))
    assert "Traceback" in caught.value.details
    assert "Traceback" not in caught.value.message
    assert desk.ends() == ["failed"]


def test_crash_names_the_signal_and_the_last_words(desk):
    with pytest.raises(JobError, match="SIGSEGV") as caught:
        asyncio.run(desk.jobs.run("segv", {}))
    assert caught.value.code == "job-crashed"
    assert "last words" in caught.value.details
    assert desk.ends() == ["crashed"]


def test_exit_without_a_word_is_a_crash(desk):
    with pytest.raises(JobError, match="status 7"):
        asyncio.run(desk.jobs.run("silent_exit", {}))
    assert desk.only_row().details == "leaving\n"
    assert desk.ends() == ["crashed"]


def test_cancel_kills_one_that_ignores_sigterm(desk):
    seen = {}

    async def scenario():
        job = asyncio.create_task(desk.jobs.run("stubborn", {}, on_partial=seen.__setitem__))
        await until(lambda: "pid" in seen)
        desk.jobs.cancel(desk.only_row().id)
        desk.jobs.cancel(desk.only_row().id)
        with pytest.raises(JobError) as caught:
            await job
        assert caught.value.code == "cancelled"

    asyncio.run(scenario())
    assert is_gone(seen["pid"])
    assert desk.ends() == ["cancelled"]
    assert list(desk.folder.iterdir()) == []


def test_cancelling_the_caller_cancels_the_job_and_survives_a_second_cancel(desk):
    seen = {}

    async def scenario():
        job = asyncio.create_task(desk.jobs.run("stubborn", {}, on_partial=seen.__setitem__))
        await until(lambda: "pid" in seen)
        job.cancel()
        await asyncio.sleep(0.05)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert is_gone(seen["pid"])

    asyncio.run(scenario())
    assert desk.ends() == ["cancelled"]


def test_timeout_ends_the_worker(desk):
    with pytest.raises(JobError, match="longer than 1 s") as caught:
        asyncio.run(desk.jobs.run("sleep", {}, timeout_s=1))
    assert caught.value.code == "job-timeout"
    assert desk.ends() == ["failed"]


def test_what_libraries_print_is_not_an_event(desk):
    result = asyncio.run(desk.jobs.run("noisy", {}))
    assert result["from"] == "job"
    assert len(result["big"]) == 1_000_000


def test_memory_is_bounded(desk):
    with pytest.raises(InputError) as caught:
        asyncio.run(desk.jobs.run("hungry", {}))
    assert caught.value.code == "memory"


@pytest.mark.parametrize(("mib", "code"), [(400, "memory"), (20, None)])
def test_a_worker_that_no_system_bounds_is_watched_from_outside(tmp_path, mib, code):
    desk = Desk(tmp_path, memory_limit=lambda wanted: min(wanted, 300 << 20))
    pids = []
    running = desk.jobs.run(
        "grown", {"mib": mib, "s": 60 if code else 0.6}, on_partial=lambda key, value: pids.append(value)
    )
    if code is None:
        assert asyncio.run(running) == {"n": mib << 20}
    else:
        with pytest.raises(JobError) as caught:
            asyncio.run(running)
        assert caught.value.code == code
        assert desk.ends() == ["failed"]
    assert all(is_gone(pid) for pid in pids)


def test_numbers_that_json_lacks_become_null(desk):
    assert asyncio.run(desk.jobs.run("nan", {})) == {"value": None, "inner": [None, 1.0]}


def test_what_the_worker_left_running_goes_with_it(desk):
    result = asyncio.run(desk.jobs.run("orphan", {}))
    assert is_gone(result["pid"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="network namespaces are Linux's")
def test_worker_has_no_network_where_the_system_allows(desk):
    interfaces = asyncio.run(desk.jobs.run("network", {}))["interfaces"]
    allowed = subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode == 0
    if not allowed:
        pytest.skip("this system does not let a process leave the network")
    assert interfaces == ["lo"]


def test_receive_moves_files_before_the_folder_goes(desk, tmp_path):
    target = tmp_path.parent / f"{tmp_path.name}-kept.bin"

    def receive(result, out_dir):
        Path(result["artifact"]).rename(target)
        return {"kept": str(target)}

    assert asyncio.run(desk.jobs.run("write", {}, receive=receive)) == {"kept": str(target)}
    assert target.read_bytes() == b"content"
    assert list(desk.folder.iterdir()) == []


def test_failing_to_receive_fails_the_job(desk):
    def receive(result, out_dir):
        raise OSError(28, "No space left on device")

    with pytest.raises(JobError) as caught:
        asyncio.run(desk.jobs.run("write", {}, receive=receive))
    assert caught.value.code == "disk"
    assert desk.ends() == ["failed"]


def test_heavy_jobs_wait_for_each_other_and_light_ones_do_not(desk):
    async def scenario():
        first = asyncio.create_task(desk.jobs.run("sleep", {"s": 60}))
        await until(lambda: any(row.state == "running" for row in desk.jobs.rows))
        second = asyncio.create_task(desk.jobs.run("count", {"n": 1}))
        await desk.jobs.run("light", {"s": 0})
        states = {row.kind: row.state for row in desk.jobs.rows}
        assert states == {"sleep": "running", "count": "queued", "light": "done"}
        desk.jobs.cancel(next(row.id for row in desk.jobs.rows if row.kind == "sleep"))
        assert await second == {"n": 1}
        with pytest.raises(JobError):
            await first

    asyncio.run(scenario())


def test_a_queued_job_can_be_cancelled(desk):
    async def scenario():
        first = asyncio.create_task(desk.jobs.run("sleep", {"s": 60}))
        await until(lambda: len(desk.jobs.rows) == 1)
        second = asyncio.create_task(desk.jobs.run("count", {"n": 1}))
        await until(lambda: len(desk.jobs.rows) == 2)
        desk.jobs.cancel(list(desk.jobs.rows)[1].id)
        with pytest.raises(JobError):
            await second
        await desk.jobs.stop()
        with pytest.raises(JobError):
            await first

    asyncio.run(scenario())
    assert desk.ends() == ["cancelled", "cancelled"]


def test_retry_does_again_what_the_job_was_part_of(desk):
    async def scenario():
        async def again():
            return await desk.jobs.run("count", {"n": 2})

        with pytest.raises(ModelError):
            await desk.jobs.run("refuse", {}, again=again)
        failed = desk.only_row().id
        assert desk.jobs.can_retry(failed)
        assert await desk.jobs.retry(failed) == {"n": 2}
        assert desk.only_row().state == "done"
        assert not desk.jobs.can_retry(desk.only_row().id)

    asyncio.run(scenario())


def test_unknown_kind_is_refused(desk):
    with pytest.raises(InputError):
        asyncio.run(desk.jobs.run("nonsense", {}))


def test_sweep_removes_what_a_dead_studio_left_and_nothing_else(desk):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f"{ended.pid}-dead", f"{psutil.Process().pid}-mine", "someone-elses"):
        (desk.folder / name).mkdir()
    desk.jobs.sweep()
    assert sorted(path.name for path in desk.folder.iterdir()) == sorted(
        [f"{psutil.Process().pid}-mine", "someone-elses"]
    )


def test_worker_ends_when_its_stdin_closes(tmp_path):
    worker = subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert worker.stdin is not None
    assert worker.stdout is not None
    request = b'{"id": "x", "kind": "stubborn", "params": {}, "out_dir": "%s"}\n' % str(tmp_path).encode()
    worker.stdin.write(request)
    worker.stdin.flush()
    assert b"pid" in worker.stdout.readline()
    worker.stdin.close()
    worker.wait(30)
    worker.stdout.close()
