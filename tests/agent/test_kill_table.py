"""Every state, killed: the board comes back with the old release or the new one, serving, and takes the next push."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE

# point -> what must be active after the restart has done its work
OLD, NEW = "1.0.0", "2.0.0"
POINTS = [
    ("before:OFFERED", OLD),
    ("after:OFFERED", OLD),
    ("after:RECEIVING", OLD),
    ("chunk", OLD),
    ("before:VERIFIED", OLD),
    ("after:VERIFIED", NEW),
    ("after:INSPECTED", NEW),
    ("after:STAGED", NEW),
    ("work:DRYRUN", NEW),
    ("work:TRIAL", NEW),
    ("before:COMMITTED", NEW),
    ("after:COMMITTED", NEW),
]
NEXT_PUSH = {"after:OFFERED", "chunk", "before:VERIFIED", "work:TRIAL", "after:COMMITTED"}
"""Where the leftovers differ; the others need not be pushed to again."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board that runs 1.0.0."""
    folder = tmp_path_factory.mktemp("installed")
    report = drive(folder / "board", folder / "r1", OLD, "1")
    assert report["push"]["state"] == "COMMITTED"
    return folder / "board"


def drive(*arguments: object, kill_at: str = "", expect_kill: bool = False) -> dict[str, Any]:
    environment = {**os.environ, "EDGESTUDIO_KILL_AT": kill_at}
    done = subprocess.run(
        [sys.executable, "-m", "tests.agent.driver", *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=100 * PATIENCE,
    )  # fmt: skip
    if expect_kill:
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        return {}
    assert done.returncode == 0, done.stderr[-2000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def assert_whole(report: dict[str, Any], active: str) -> None:
    assert report["active"] == {"digits": active}
    assert report["serving"] == {"digits": True}
    assert report["golden"] == ""
    assert report["safe_mode"] == ""


@pytest.mark.parametrize(("point", "active"), POINTS)
def test_killed_in_a_state(installed: Path, tmp_path: Path, point: str, active: str) -> None:
    board = tmp_path / "board"
    shutil.copytree(installed, board)
    drive(board, tmp_path / "r2", NEW, "2", kill_at=point, expect_kill=True)
    assert_whole(drive(board), active)
    if point in NEXT_PUSH:
        again = drive(board, tmp_path / "r3", "3.0.0", "3")
        assert again["push"]["state"] == "COMMITTED"
        assert_whole(again, "3.0.0")


@pytest.mark.parametrize("point", ["before:ROLLBACK", "after:ROLLBACK", "work:ROLLBACK", "before:FAILED"])
def test_killed_in_the_way_back(installed: Path, tmp_path: Path, point: str) -> None:
    board = tmp_path / "board"
    shutil.copytree(installed, board)
    drive(board, tmp_path / "r2", NEW, "2", "unhealthy", kill_at=point, expect_kill=True)
    report = drive(board)
    assert_whole(report, OLD)
    assert report["resumed"]["state"] == "FAILED"
    assert report["resumed"]["rolled_back_to"] == OLD


def test_a_release_that_takes_the_agent_down_three_times_is_given_up(installed: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    shutil.copytree(installed, board)
    drive(board, tmp_path / "r2", NEW, "2", kill_at="work:TRIAL", expect_kill=True)
    for _ in range(2):
        drive(board, kill_at="work:TRIAL", expect_kill=True)
    report = drive(board)
    assert_whole(report, OLD)
    assert "3 times" in report["resumed"]["reason"]
    assert report["resumed"]["transitions"] <= 28
    assert drive(board, tmp_path / "r2", NEW, "2")["push"]["code"] == "quarantined"


def test_an_agent_that_keeps_dying_after_its_start_serves_nothing_but_can_be_mended(
    installed: Path, tmp_path: Path
) -> None:
    board = tmp_path / "board"
    shutil.copytree(installed, board)
    for _ in range(4):
        drive(board, kill_at="started", expect_kill=True)
    report = drive(board)
    assert "5 times in a row" in report["safe_mode"]
    assert report["serving"] == {"digits": False}
    mended = drive(board, tmp_path / "r2", NEW, "2")
    assert mended["push"]["state"] == "COMMITTED"
    assert_whole(mended, NEW)
