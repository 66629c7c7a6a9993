"""Delay, loss, overtaking packets, an outage and a new address, below TCP: a real board at the end of a bad line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.devices.bad_line import Line, bad_line

NEAR, FAR, LATER = "10.77.0.1", "10.77.0.2", "10.77.0.9"
CUT_S = 20.0


@pytest.mark.timeout(240)
def test_pairing_pushing_and_watching_over_a_bad_line_with_an_outage_and_a_new_address(
    tmp_path: Path,
) -> None:
    with bad_line(f"{NEAR}/24", f"{FAR}/24") as line:
        line.lose, line.jitter_s = 0.05, 0.02
        agent = ["edgestudio", "agent", "--data", str(tmp_path / "board"), "--simulate", "pi5", "--json"]
        board = _start(line, line.far, *agent, "--host", "0.0.0.0", "--port", "7443", "--name", "far board")
        desk = None
        try:
            code = _next(board, "event", "pairing")["code"]
            desk = _start(line, line.near, "tests.devices.bad_line_desk", str(tmp_path), NEAR, FAR, code)
            _next(desk, "step", "paired")
            cutting = threading.Thread(target=_cut, args=(line, line.carried_bytes + 150_000))
            cutting.start()
            first = _next(desk, "step", "pushed")
            cutting.join()
            assert first["end"] == "committed"
            line.move_far_end(f"{LATER}/24")
            assert desk.stdin is not None
            desk.stdin.write("moved\n")
            desk.stdin.flush()
            assert _next(desk, "step", "found")["host"] == LATER
            second = _next(desk, "step", "pushed")
            assert (second["end"], second["previous"]) == ("committed", "1.0.0")
            assert second["seen"] == list(range(1, len(second["seen"]) + 1)), "each record once, none missed"
            assert desk.wait(30) == 0
        finally:
            for process in (desk, board):
                if process is not None:
                    process.kill()
                    process.wait()
                    for pipe in (process.stdin, process.stdout):
                        assert pipe is not None
                        pipe.close()
        assert line.dropped > 0
        assert line.overtaken > 0


def _start(line: Line, where: str, *module: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*line.inside(where), sys.executable, "-m", *module],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _next(process: subprocess.Popen[str], key: str, value: str) -> dict[str, Any]:
    """The next line that says so."""
    assert process.stdout is not None
    for text in process.stdout:
        said: dict[str, Any] = json.loads(text)
        if said[key] == value:
            return said
    raise AssertionError(f"it ended before {value}")


def _cut(line: Line, at_bytes: int) -> None:
    """Nothing passes for a while, in the middle of the push."""
    for _ in range(2000):
        if line.carried_bytes >= at_bytes:
            break
        time.sleep(0.02)
    line.is_cut = True
    time.sleep(CUT_S)
    line.is_cut = False
