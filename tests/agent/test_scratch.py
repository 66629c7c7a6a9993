"""Folders for the moment that killed agents left behind: the next agent removes its own, and nothing else."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgestudio.agent.run import scratch


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return child.pid


def left(folder: Path, pid: int) -> Path:
    made = folder / f"edgestudio-model-{pid}"
    made.mkdir(mode=0o700)
    (made / "deep").mkdir()
    (made / "deep" / "file").write_text("x")
    return made


def test_what_dead_processes_left_is_removed_and_nothing_else(shared: Path) -> None:
    gone, lives = left(shared, dead_pid()), left(shared, os.getpid())
    others = [shared / "edgestudio-model-x", shared / "edgestudio-model-07", shared / "edgestudio-model-"]
    for other in others:
        other.mkdir()
    assert scratch.sweep_scratch() == 1
    assert not gone.exists()
    assert lives.exists()
    assert all(other.exists() for other in others)


def test_no_link_is_followed(shared: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    linked = shared / f"edgestudio-model-{dead_pid()}"
    linked.symlink_to(precious)
    holds_link = left(shared, 4_194_303)  # no process has that number
    (holds_link / "out").symlink_to(precious)
    (shared / "edgestudio-model-4194302").write_text("a file")
    os.mkfifo(shared / "edgestudio-model-4194301")
    assert scratch.sweep_scratch() == 1
    assert linked.is_symlink()
    assert (precious / "file").read_text() == "kept"
    assert not holds_link.exists()


def test_the_folder_of_another_user_is_not_touched(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = left(shared, dead_pid())
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert scratch.sweep_scratch() == 0
    assert other.exists()


def test_a_folder_that_is_held_is_not_taken_though_its_number_is_nobodys(shared: Path) -> None:
    held = left(shared, dead_pid())  # as of a process in another container that shares the folder
    handle = os.open(held, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        assert scratch.sweep_scratch() == 0
    finally:
        os.close(handle)
    assert scratch.sweep_scratch() == 1


TAKE = """
import os, sys
from edgestudio.agent.run import scratch
folder = scratch.scratch_of(os.getpid())
folder.mkdir()
(folder / "of before").write_text("x")
assert scratch.take_scratch() == folder
print(sorted(os.listdir(folder)), flush=True)
sys.stdin.read()
"""


def test_a_process_takes_over_what_one_with_its_number_left_and_holds_it_until_it_dies(shared: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(shared)},
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "[]"
        assert scratch.sweep_scratch() == 0
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert scratch.scratch_of(child.pid).exists()
    assert scratch.sweep_scratch() == 1
