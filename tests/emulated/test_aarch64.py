"""The board's rooms on an emulated aarch64 Python, where one has been prepared: their own tests, and one whole job.

An emulator shows what works, never how fast: a trial here takes twenty times as long as on a board. Each file is a
test, so that one that fails or hangs does not hide the others (`-k test_link` picks one). One that passed is left out
the next time until it, or what is shipped to boards, has changed: a run of hours can be stopped and gone on with.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import patience
from tests.e2e.parts import MODEL, Desk

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("tests/wire", "tests/runtime", "tests/agent")
FILES = sorted(str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("test_*.py"))
TIMES_SLOWER = 20
TEST_S, FILE_S = 900, 7200


@pytest.fixture(scope="module")
def python() -> Path:
    """The emulated interpreter."""
    folder = os.environ.get("EDGESTUDIO_EMULATED_BOARD")
    if not folder:
        pytest.skip("EDGESTUDIO_EMULATED_BOARD is not set: see installers/agent/emulated_board.sh")
    return Path(folder).resolve() / "python"


@pytest.mark.timeout(FILE_S + 60)
@pytest.mark.parametrize("file", FILES)
def test_a_file_passes_under_emulation(python: Path, file: str, tmp_path: Path) -> None:
    logs = python.parent / "logs"
    log, passed = (logs / f"{file.replace('/', '.')}.{end}" for end in ("txt", "passed.txt"))
    if passed.is_file() and passed.stat().st_mtime > _last_change(file):
        pytest.skip(f"passed already, and nothing has changed since: {passed}")
    logs.mkdir(exist_ok=True)
    plain = ["-p", "no:cacheprovider", "-p", "no:pytest-qt", "--without-qt"]
    base = f"--basetemp={tmp_path / 'base'}"
    patient = ["-o", f"timeout={TEST_S}", "-o", "faulthandler_timeout=0", "--durations=10"]
    with log.open("w") as said:
        done = subprocess.run(
            [str(python), "-m", "pytest", "-v", base, *plain, *patient, file], cwd=ROOT, stdout=said,
            stderr=said, timeout=FILE_S, env={**os.environ, patience.VARIABLE: str(TIMES_SLOWER)},
        )  # fmt: skip
    text = log.read_text(errors="replace")
    assert done.returncode == 0, text[-6000:]
    assert " passed" in text or " skipped" in text
    log.replace(passed)


def _last_change(file: str) -> float:
    """When `file`, what tests share, or anything that is shipped to a board was changed last."""
    shipped = [p for room in ("wire", "runtime", "agent") for p in (ROOT / "edgestudio" / room).rglob("*.py")]
    tests = [*(ROOT / "tests").glob("*.py"), *(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))]
    shared = [path for path in tests if not path.name.startswith("test_")]
    return max(path.stat().st_mtime for path in (ROOT / file, *shipped, *shared))


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
