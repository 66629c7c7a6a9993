"""Real parts for the end-to-end tests: a desk that runs verbs, and an agent in a process of its own."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE

SAMPLE = Path(__file__).parents[2] / "resources" / "sample"
MODEL = SAMPLE / "digits.onnx"
PIPELINE = SAMPLE / "digits.pipeline.yaml"
CALIBRATION = SAMPLE / "digits_calibration.npz"
TEST_DATA = SAMPLE / "digits_test.npz"
DOOR = [sys.executable, "-m", "edgestudio"]
_DONE_S = 200 * PATIENCE


class Answer:
    """What a verb printed and how it ended."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.status = process.returncode
        self.out, self.err = process.stdout, process.stderr
        assert "Traceback" not in self.out + self.err, self.err

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        lines = self.lines
        assert len(lines) == 1, self.out
        return lines[0]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every object on stdout; that there is nothing else is part of the promise."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        """The last object on stdout: a streaming verb's result."""
        return self.lines[-1]

    def said(self) -> str:
        """Everything, for a failed assertion."""
        return f"status {self.status}\n{self.out}\n{self.err}"


class Desk:
    """One home of the studio, and the command line working in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **os.environ, "EDGESTUDIO_HOME": str(home), "EDGESTUDIO_DISCOVERY_INTERFACES": "127.0.0.1",
        }  # fmt: skip

    def run(self, *arguments: object, prefix: tuple[str, ...] = ()) -> Answer:
        """Run a verb with --json to its end."""
        command = [*prefix, *DOOR, *map(str, arguments), "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_DONE_S, env=self.environment
        )
        return Answer(done)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a verb with --json; whoever starts it ends it."""
        return subprocess.Popen(
            [*DOOR, *map(str, arguments), "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment,
        )  # fmt: skip


class Board:
    """The real agent with simulated sensors, on loopback; `screen` is what it prints."""

    def __init__(self, data: Path, name: str, *, port: int = 0, **environment: str) -> None:
        self.data, self.name, self.port = data, name, port
        self.screen: list[str] = []
        self.everything: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.process: subprocess.Popen[str] | None = None
        self.start(**environment)

    def start(self, **environment: str) -> None:
        """Start, or start again after a kill, on the same port."""
        self.process = subprocess.Popen(
            [*DOOR, "agent", "--name", self.name, "--host", "127.0.0.1", "--port", str(self.port),
             "--data", str(self.data), "--simulate", "pi5"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        self.port = int(self.wait_for(r"ready on \S+:(\d+)")[1])

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.everything.append(line.rstrip())
            self._lines.put(line.rstrip())
        self._lines.put(None)

    def wait_for(self, pattern: str, timeout_s: float = 60) -> re.Match[str]:
        """The first line on the screen, old or new, that matches."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        seen = 0
        while True:
            for line in self.screen[seen:]:
                found = wanted.search(line)
                if found:
                    return found
            seen = len(self.screen)
            line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            assert line is not None, "\n".join(["the agent ended:", *self.screen])
            self.screen.append(line)

    @property
    def code(self) -> str:
        """The pairing code on the screen."""
        return self.wait_for(r"pairing code: (\S+)")[1]

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the agent's process."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait_until_dead(self) -> int:
        """The status of an agent that ends by itself or was killed."""
        assert self.process is not None
        status = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.screen.clear()
        while not self._lines.empty():
            self._lines.get()
        return status

    def stop(self) -> None:
        """End it, whatever state it is in."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.wait_until_dead()


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
