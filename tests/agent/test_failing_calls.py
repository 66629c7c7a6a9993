"""Faults 2 to 4 on a real agent process: strace makes its system calls fail while a release arrives."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgestudio.devices.known import KnownBoard
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.identity import Identity
from tests.agent import releases
from tests.agent.test_process import CODE, push, running

CHOICE = random.Random(20)
ATTACH_S = 20.0


@contextlib.contextmanager
def failing(pid: int, calls: str, how: str) -> Iterator[list[str]]:
    """While this lasts, the system `calls` of process `pid` and its children fail; yields what was injected."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    tracer = subprocess.Popen(
        [strace, "-f", "-q", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={calls}:{how}"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert tracer.stderr is not None
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(tracer.stderr or ()))
    try:
        reading.start()
        until = time.monotonic() + ATTACH_S
        while not _is_traced(pid, tracer.pid):
            if tracer.poll() is not None or time.monotonic() > until:
                pytest.skip(f"this system does not let a process be traced: {''.join(lines)[:200]}")
            time.sleep(0.02)
        yield lines
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        reading.join(20)
        tracer.stderr.close()


def _is_traced(pid: int, tracer: int) -> bool:
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    return all(f"TracerPid:\t{tracer}\n" in (task / "status").read_text() for task in tasks)


def at_random() -> str:
    """Some of the calls, by a seed: the n-th and from then on every k-th."""
    return f"when={CHOICE.randrange(1, 12)}+{CHOICE.randrange(2, 6)}"


FAULTS = [
    ("fsync,fdatasync", "error=EIO"),
    ("/^rename", "error=EIO"),
    ("write,pwrite64", "error=ENOSPC"),
    ("fsync,fdatasync,/^rename", f"error=EIO:{at_random()}"),
    ("write,pwrite64,/^rename", f"error=ENOSPC:{at_random()}"),
    ("fsync,/^unlink,/^mkdir", f"error=EROFS:{at_random()}"),
]


def test_an_agent_whose_system_calls_fail_goes_on_with_what_it_had(tmp_path: Path) -> None:
    identity, publisher = (
        Identity.load_or_create(tmp_path / "desk", "desk"),
        Publisher(tmp_path / "publisher"),
    )
    golden, _ = releases.sample_golden(releases.digits()[4:12], count=8)
    made = [releases.make_release(tmp_path / "r1"), releases.make_release(tmp_path / "r2", golden=golden)]
    sample = releases.digits()[0]
    failed: list[str] = []

    async def under_faults(board: KnownBoard, pid: int) -> None:
        async with BoardSession(identity, board) as session:
            assert await push(session, publisher, made[0], "1.0.0") == "committed"
            label = (await session.infer("digits", {"input": sample}))["label"]
            allowed = {"1.0.0"}
            for number, (calls, how) in enumerate(FAULTS):
                version = f"2.0.{number}"
                with failing(pid, calls, how) as injected:
                    try:
                        last = await push(session, publisher, made[(number + 1) % 2], version)
                    except EdgeStudioError as error:
                        last = error.code
                    assert last != "bug", f"{calls} {how}: the agent's own mistake"
                    # Inference does not need the disk.
                    assert (await session.infer("digits", {"input": sample}))["label"] == label
                assert any("(INJECTED)" in line for line in injected), f"{calls}: nothing was injected"
                allowed = {*allowed, version} if last == "committed" else allowed
                failed.extend([calls] if last != "committed" else [])
                state = await session.state()
                assert state["models"]["digits"]["active"]["version"] in allowed, (calls, how, last)
                await _at_rest(session)
            assert await push(session, publisher, made[1], "3.0.0") == "committed"

    with running(tmp_path / "board", "--simulate", "pi5") as agent:
        port, code = agent.port, agent.expect(CODE)[1]
        board = asyncio.run(pair(identity, "desk", "127.0.0.1", port, code)).board
        asyncio.run(under_faults(board, agent.process.pid))
        # Failures that hit every call leave no way to install anything.
        assert failed[:3] == [calls for calls, _ in FAULTS[:3]]
        agent.end(signal.SIGKILL)
    with running(tmp_path / "board", "--simulate", "pi5", "--port", str(port)) as agent:
        assert agent.port == port
        asyncio.run(_serves(identity, board, "3.0.0"))
    assert not list((tmp_path / "board" / "blobs" / "incoming").iterdir())


async def _serves(identity: Identity, board: KnownBoard, version: str) -> None:
    async with BoardSession(identity, board) as session:
        model = (await session.state())["models"]["digits"]
        assert (model["active"]["version"], model["serving"]) == (version, True)


async def _at_rest(session: BoardSession) -> None:
    """What an install left open is given up, so that the next one begins from the same place."""
    for row in (await session.state())["installs"]:
        if row["state"] not in ("COMMITTED", "FAILED"):
            await session.abort(row["id"])
