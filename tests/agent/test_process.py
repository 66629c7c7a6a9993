"""The agent as people start it: its console, its refusals, a push over real TLS, and kill -9 in the middle of one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from edgestudio.devices.deploy import deploy
from edgestudio.devices.known import KnownBoard
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.identity import Identity
from tests.agent import releases
from tests.patience import PATIENCE

READY = re.compile(r"ready on (\S+):(\d+)")
CODE = re.compile(r"pairing code: (\S+)")


class Agent:
    """One agent process; `lines` is what it printed so far."""

    def __init__(self, data: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgestudio", "agent", "--data", str(data), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})},
        )  # fmt: skip
        self.lines: list[str] = []

    def expect(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The next line that has `pattern`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := pattern.search(line):
                return found
        raise AssertionError(f"the agent ended without {pattern.pattern!r}: {''.join(self.lines)}")

    @property
    def port(self) -> int:
        return int(self.expect(READY)[2])

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(20 * PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@contextlib.contextmanager
def running(data: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Agent]:
    agent = Agent(data, *arguments, env=env)
    try:
        yield agent
    finally:
        agent.end(signal.SIGKILL)


async def push(
    session: BoardSession, publisher: Publisher, release: releases.LocalRelease, version: str
) -> str:
    files = {role: release.paths[file.sha256] for role, file in release.manifest.files.items()}
    signed = publisher.publish("digits", version=version, files=files, limits=releases.SHORT)
    last = ""
    async for state in deploy(session, publisher, signed):
        last = state.name
    return last


def test_push_over_tls_then_kill_in_the_middle_then_push_again(tmp_path: Path) -> None:
    identity = Identity.load_or_create(tmp_path / "desk", "desk")
    publisher = Publisher(tmp_path / "publisher")
    first = releases.make_release(tmp_path / "r1")
    golden, _ = releases.sample_golden(releases.digits()[4:12], count=8)
    second = releases.make_release(tmp_path / "r2", golden=golden)
    data = tmp_path / "board"

    async def install_first(port: int, code: str) -> KnownBoard:
        paired = await pair(identity, "desk", "127.0.0.1", port, code)
        async with BoardSession(identity, paired.board) as session:
            assert await push(session, publisher, first, "1.0.0") == "committed"
            state = await session.state()
            assert state["models"]["digits"]["active"]["version"] == "1.0.0"
            assert (await session.info())["simulated"] is True
            async for record in session.records(after=("", 0)):
                assert record["sim"] is True
                if record["k"] == "win" and record["n"]:
                    break
            answer = await session.infer("digits", {"input": releases.digits()[0]})
            assert answer["label"] is not None
            measured = await session.bench(model="digits")
            assert measured["latency_ms"]["p50"] > 0
        return paired.board

    async def killed(board: KnownBoard, port: int) -> None:
        async with BoardSession(identity, _at(board, port)) as session:
            with pytest.raises(EdgeStudioError):
                await asyncio.wait_for(push(session, publisher, second, "2.0.0"), 10 * PATIENCE)

    async def again(board: KnownBoard, port: int) -> None:
        async with BoardSession(identity, _at(board, port)) as session:
            state = await session.state()
            assert state["models"]["digits"]["active"]["version"] == "1.0.0"
            assert state["models"]["digits"]["serving"] is True
            assert await push(session, publisher, second, "2.0.0") == "committed"
            assert (await session.state())["models"]["digits"]["active"]["version"] == "2.0.0"
            assert (await session.rollback("digits"))["active"] == "1.0.0"

    with running(data, "--simulate", "pi5", "--port", "0") as agent:
        board = asyncio.run(install_first(agent.port, agent.expect(CODE)[1]))
        assert agent.end() == 0
    with running(data, "--simulate", "pi5", env={"EDGESTUDIO_KILL_AT": "chunk"}) as agent:
        with contextlib.suppress(asyncio.TimeoutError):
            asyncio.run(killed(board, agent.port))
        assert agent.process.wait(20 * PATIENCE) == -signal.SIGKILL
    with running(data, "--simulate", "pi5") as agent:
        asyncio.run(again(board, agent.port))
        status = subprocess.run(
            [sys.executable, "-m", "edgestudio", "agent", "status", "--json", "--data", str(data)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(status.stdout)["models"]["digits"]["active"]["version"] == "1.0.0"
        assert agent.end() == 0


def _at(board: KnownBoard, port: int) -> KnownBoard:
    return KnownBoard(**{**board.__dict__, "port": port})


@pytest.mark.parametrize(
    ("arguments", "word", "code"),
    [
        (["--simulate", "toaster"], "no simulated board", 2),
        (["--port", "99999"], "no port", 2),
        (["--data", "/proc/nowhere"], "cannot be written", 3),
        (["status"], "No agent is running", 3),
        (["pair"], "No agent is running", 3),
        (["--sysroot", "/nowhere"], "no folder", 2),
    ],
)
def test_bad_calls_end_in_one_sentence(tmp_path: Path, arguments: list[str], word: str, code: int) -> None:
    place = [] if "--data" in arguments else ["--data", str(tmp_path / "d")]
    said = subprocess.run(
        [sys.executable, "-m", "edgestudio", "agent", *arguments, *place], capture_output=True, text=True
    )
    assert said.returncode == code
    assert word in said.stderr
    assert "Traceback" not in said.stderr


def test_a_second_agent_and_a_taken_port_are_refused(tmp_path: Path) -> None:
    with running(tmp_path / "a", "--simulate", "x86") as agent:
        port = agent.port
        said = subprocess.run(
            [sys.executable, "-m", "edgestudio", "agent", "--data", str(tmp_path / "a")],
            capture_output=True, text=True,
        )  # fmt: skip
        assert said.returncode == 3
        assert "Another agent already uses" in said.stderr
        taken = ["--data", str(tmp_path / "b"), "--simulate", "x86", "--port", str(port), "--json"]
        said = subprocess.run(
            [sys.executable, "-m", "edgestudio", "agent", *taken], capture_output=True, text=True
        )
        assert said.returncode == 3
        assert json.loads(said.stdout.splitlines()[-1])["error"]["code"] == "port-in-use"
        assert "Traceback" not in said.stderr
        fresh = subprocess.run(
            [sys.executable, "-m", "edgestudio", "agent", "pair", "--data", str(tmp_path / "a")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert CODE.search(fresh.stdout)
        assert (tmp_path / "a" / "control.sock").stat().st_mode & 0o777 == 0o600


def test_an_idle_agent_is_small_and_quiet(tmp_path: Path) -> None:
    """No figure is asserted that depends on the machine's load: memory only, with room to spare."""
    import psutil

    with running(tmp_path / "a", "--simulate", "pi5") as agent:
        assert agent.port
        time.sleep(1.5)
        assert psutil.Process(agent.process.pid).memory_info().rss < 200 << 20
