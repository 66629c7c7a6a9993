"""One session with a real pointer: a dropped file, a refused drop, a wrong code, a file dropped on a board."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.screen import ScreenUnavailableError, virtual_screen

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 110

pytestmark = [pytest.mark.display, pytest.mark.timeout(MOST_SECONDS + 10)]


def test_gestures_with_a_real_pointer(tmp_path: Path) -> None:
    try:
        with virtual_screen() as display:
            code, said = play(display, tmp_path)
    except ScreenUnavailableError as reason:
        pytest.skip(str(reason))
    assert code == 0, said
    assert said.count("held: ") == 4, said
    assert {picture.stem for picture in tmp_path.glob("*.png")} == {
        "file-over-the-window", "drop-refused", "wrong-code", "file-over-a-board",
    }  # fmt: skip


def play(display: str, folder: Path) -> tuple[int, str]:
    """Play the gestures on a display; exit status and what was printed."""
    environment = {
        **os.environ,
        "DISPLAY": display,
        "QT_QPA_PLATFORM": "xcb",
        "EDGESTUDIO_HOME": str(folder / "home"),
    }
    environment.pop("WAYLAND_DISPLAY", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.journeys.gestures", str(folder)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=MOST_SECONDS - 15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=10)
    return process.returncode, said
