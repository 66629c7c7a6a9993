"""The board's rooms on an emulated aarch64 Python, where one has been prepared: their own tests, and one whole job.

An emulator shows what works, never how fast: a trial here takes twenty times as long as on a board.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.parts import MODEL, Desk

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("tests/wire", "tests/runtime", "tests/agent")
# What an emulated process cannot show, and why. Everything else of the rooms must pass.
BEYOND = {
    "tests/agent/test_isolation.py": "an emulator is one process with several threads, and may make no namespace",
    "tests/agent/test_host.py": "on so old a runtime its endless models end at the load limit of two minutes",
    "tests/agent/test_kill_table.py": "40 starts of an agent with bounds for a real processor",
    "tests/agent/test_process.py": "starts of an agent with bounds for a real processor",
    "tests/agent/test_at_the_board.py::test_a_lost_owner_is_forgotten_at_the_board_alone": "the same",
    "tests/agent/test_crash_states.py": "thousands of disk states: hours, and the same code on every processor",
    "tests/agent/test_failing_calls.py": "strace sees the emulator's calls, not the agent's",
    "tests/agent/net/test_api_fuzz.py": "hundreds of requests: hours, and the same code on every processor",
}


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
    beyond = [f"--deselect={test}" for test in BEYOND]
    plain = ["-p", "no:cacheprovider", "-p", "no:pytest-qt", "--without-qt"]
    patient = ["-o", "timeout=600", "-o", "faulthandler_timeout=0"]
    command = [str(python), "-m", "pytest", "-q", "-x", *plain, *patient, *beyond, room]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3500)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    assert " passed" in result.stdout


@pytest.fixture
def board(python: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The agent on the emulated processor: its address and its pairing code."""
    screen = tmp_path / "screen.txt"
    options = ["--name", "emulated", "--host", "127.0.0.1", "--port", "0", "--data", str(tmp_path / "data")]
    with screen.open("w") as file:
        agent = subprocess.Popen(
            [str(python), "-m", "edgestudio.agent.main", *options],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 300
        while not (said := re.search(r"ready on \S+:(\d+)\npairing code: (\S+)", screen.read_text())):
            assert agent.poll() is None, screen.read_text()
            assert time.monotonic() < deadline, screen.read_text()
            time.sleep(0.5)
        yield f"127.0.0.1:{said[1]}", said[2]
    finally:
        agent.terminate()
        agent.wait(60)


@pytest.mark.timeout(900)
def test_a_model_is_installed_and_serves_on_an_aarch64_agent(board: tuple[str, str], tmp_path: Path) -> None:
    address, code = board
    desk = Desk(tmp_path / "home")
    assert desk.run("pair", address, "--code", code).status == 0
    pushed = desk.run("push", MODEL, "--to", "emulated")
    assert pushed.last["state"] == "committed", pushed.said()
    known = {each["name"]: each for each in desk.run("devices").json["devices"]}
    assert known["emulated"]["arch"] == "aarch64"
    windows = [line for line in desk.run("watch", "emulated", "--for", "5").lines if line.get("k") == "win"]
    assert sum(window["n"] for window in windows) > 0
    assert sum(window["err"] for window in windows) == 0
