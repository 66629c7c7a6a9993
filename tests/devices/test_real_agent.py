"""The real agent in a process of its own: found by its announcement, paired by its code, pushed to, watched, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgestudio.assets import resource
from edgestudio.devices.deploy import deploy
from edgestudio.devices.discovery import Discovery, Found
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire.errors import TrustError
from edgestudio.wire.identity import Identity
from edgestudio.wire.pairing import PairingCode
from edgestudio.wire.records import Window
from edgestudio.wire.release import HealthLimits

LOOPBACK = ["127.0.0.1"]


class RealAgent:
    """The agent's process; `code` and `port` are read from its screen."""

    def __init__(self, data: Path, port: int = 0) -> None:
        command = [
            sys.executable, "-m", "edgestudio", "agent", "--name", "real board", "--host", "127.0.0.1",
            "--port", str(port), "--data", str(data), "--simulate", "pi5",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = int(self.shown("ready on ").rsplit(":", 1)[1])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.strip())
                self._more.notify_all()

    def shown(self, text: str, timeout_s: float = 40) -> str:
        with self._more:
            assert self._more.wait_for(lambda: any(text in line for line in self.lines), timeout_s), (
                self.lines
            )
        return next(line for line in self.lines if text in line)

    @property
    def code(self) -> str:
        return self.shown("pairing code: ").split(": ")[1].split(" ")[0]

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        self.process.wait(30)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[RealAgent]:
    running = RealAgent(tmp_path / "board")
    yield running
    running.end()


async def _found(port: int) -> Found:
    seen: asyncio.Queue[Found] = asyncio.Queue()
    discovery = Discovery(seen.put_nowait, interfaces=LOOPBACK)
    await discovery.start()
    try:
        async with asyncio.timeout(20):
            while (board := await seen.get()).port != port:
                pass
    finally:
        await discovery.stop()
    return board


def test_find_pair_push_watch_and_survive_a_kill(tmp_path: Path, agent: RealAgent) -> None:
    desk = Identity.load_or_create(tmp_path / "desk", "desk")
    publisher = Publisher(tmp_path / "publisher")
    files = {
        "model": resource("sample", "digits.onnx"),
        "pipeline": resource("sample", "digits.pipeline.yaml"),
        "samples": resource("sample", "digits_calibration.npz"),
    }

    async def scenario() -> None:
        found = await _found(agent.port)
        assert found.is_simulated
        assert found.name == "real board"
        with pytest.raises(TrustError):
            await pair(desk, "desk", found.host, found.port, PairingCode.make().text)
        known = (await pair(desk, "desk", found.host, found.port, agent.code)).board
        assert known.fingerprint == found.fingerprint
        assert known.is_simulated
        limits = HealthLimits(trial_s=1, trial_inferences=5, confidence_distance=None)
        async with BoardSession(desk, known) as session:
            release = await asyncio.to_thread(publisher.publish, "digits", files, limits=limits)
            states = [state async for state in deploy(session, publisher, release)]
            assert states[-1].name == "committed", states[-1]
            assert (await session.state())["models"]["digits"]["active"]["release"] == 1
            async with contextlib.aclosing(session.records()) as records, asyncio.timeout(60):
                async for record in records:
                    if record["k"] == "win":
                        break
            window = Window.from_dict(record)
            assert window.model == "digits"
            assert window.simulated
            await asyncio.to_thread(agent.end, signal.SIGKILL)
            again = await asyncio.to_thread(RealAgent, tmp_path / "board", agent.port)
            try:
                assert (await session.state())["models"]["digits"]["active"]["release"] == 1
                release = await asyncio.to_thread(publisher.publish, "digits", files, limits=limits)
                states = [state async for state in deploy(session, publisher, release)]
                assert [s.total_bytes for s in states if s.name == "offered"] == [0]
                assert states[-1].name == "committed", states[-1]
                back = await session.rollback("digits")
                assert (await session.state())["models"]["digits"]["active"]["release"] == 1, back
            finally:
                await asyncio.to_thread(again.end)

    asyncio.run(scenario())
