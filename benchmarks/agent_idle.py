"""What an agent costs when nobody asks: memory and CPU bare, with a paused and with a running model; telemetry.

The baseline is a Python that has imported the libraries which the agent is made of, and does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.push import _screen
from edgestudio.assets import resource
from edgestudio.devices.deploy import deploy
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire.identity import Identity
from edgestudio.wire.release import HealthLimits

WATCH_S = 5.0 if "--quick" in sys.argv else 20.0
_LIBRARIES = "aiohttp.web, cryptography.x509, zeroconf.asyncio, tuf.ngclient, spake2, sqlite3, numpy, psutil"
FILES = {
    "model": resource("sample", "digits.onnx"),
    "pipeline": resource("sample", "digits.pipeline.yaml"),
    "samples": resource("sample", "digits_calibration.npz"),
}


def main() -> int:
    """Print memory (RSS, and PSS where the system says it), CPU as a share of one core, and bytes of telemetry."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            *(sys.executable, "-m", "edgestudio", "agent", "--name", "idle", "--host", "127.0.0.1"),
            *("--port", "0", "--data", str(folder / "board"), "--simulate", "pi5"),
        ]
        agent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            port, code = _screen(agent)
            asyncio.run(_measure(folder, psutil.Process(agent.pid), port, code))
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait(20)
            if agent.stdout is not None:
                agent.stdout.close()
    return 0


async def _measure(folder: Path, process: psutil.Process, port: int, code: str) -> None:
    print(f"each over {WATCH_S:.0f} s; CPU as a share of one core; memory resident, of which its own")
    bare = _libraries_alone()
    await _watch("its libraries, imported", psutil.Process(bare.pid))
    bare.communicate(b"\n")
    await _watch("agent without a model", process)
    desk = Identity.load_or_create(folder / "desk", "desk")
    known = (await pair(desk, "desk", "127.0.0.1", port, code)).board
    async with BoardSession(desk, known) as session:
        publisher = Publisher(folder / "publisher")
        limits = HealthLimits(trial_s=1.0, trial_inferences=5, confidence_distance=None, temperature_c=None)
        release = await asyncio.to_thread(publisher.publish, "digits", FILES, limits=limits)
        async for state in deploy(session, publisher, release):
            last = state
        if last.name != "committed":
            raise RuntimeError(last.reason)
        await session.pause("digits")
        await _watch("model loaded, paused", process)
        await session.resume("digits")
        await _watch("model at its own rate", process)
        listening = asyncio.ensure_future(_listen(session))
        await _watch("the same, a studio listens", process)
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


def _libraries_alone() -> subprocess.Popen[bytes]:
    started = subprocess.Popen(
        [sys.executable, "-c", f"import {_LIBRARIES}; print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None
    started.stdout.readline()
    return started


async def _listen(session: BoardSession) -> None:
    sizes: dict[str, list[int]] = {}
    started = time.monotonic()
    try:
        async for record in session.records():
            text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
            sizes.setdefault(str(record["k"]), []).append(len(text.encode()))
    finally:
        elapsed_s = time.monotonic() - started
        for kind, row in sorted(sizes.items()):
            rate = len(row) / elapsed_s
            print(
                f"telemetry {kind}: {rate:.2f} records/s of {sum(row) / len(row):.0f} bytes, "
                f"{sum(row) / elapsed_s * 86400 / 1e6:.0f} MB a day"
            )


async def _watch(title: str, agent: psutil.Process) -> None:
    await asyncio.sleep(2.0)
    family = [agent, *agent.children(recursive=True)]
    before = [_cpu_s(process) for process in family]
    started = time.monotonic()
    await asyncio.sleep(WATCH_S)
    elapsed_s = time.monotonic() - started
    shares = [(_cpu_s(p) - cpu) / elapsed_s for p, cpu in zip(family, before, strict=True)]
    text = "; ".join(
        f"{name} {_memory(process)}, {share:.2%}"
        for name, process, share in zip(("agent", *["model host"] * 9), family, shares, strict=False)
    )
    print(f"{title:<28} {text}")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _memory(process: psutil.Process) -> str:
    full = process.memory_full_info()
    own = f" (own {full.uss / 2**20:.0f})" if hasattr(full, "uss") else ""
    return f"{full.rss / 2**20:.0f} MiB{own}"


if __name__ == "__main__":
    sys.exit(main())
