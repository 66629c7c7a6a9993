"""The board's rooms pass their own tests on an aarch64 Python, where an emulated board has been prepared."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("tests/wire", "tests/runtime", "tests/agent")


@pytest.fixture(scope="module")
def python() -> Path:
    """The emulated interpreter."""
    folder = os.environ.get("EDGESTUDIO_EMULATED_BOARD")
    if not folder:
        pytest.skip("EDGESTUDIO_EMULATED_BOARD is not set: see installers/agent/emulated_board.sh")
    return Path(folder).resolve() / "python"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("room", ROOMS)
def test_room_passes_under_emulation(python: Path, room: str) -> None:
    command = [str(python), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "timeout=600", room]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3500)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    assert " passed" in result.stdout
