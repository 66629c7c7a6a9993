"""Push of 100 MB to a real agent beside a bare TLS copy of the same bytes, and a delta push beside a full one.

    python -m benchmarks.push [--quick]

Both go over TLS 1.3 with mutual certificates on the loopback, to the same disk, in turns. Two moments of each are
compared: when the receiver has taken the last byte, and when all of it is on the disk to stay. For the copy the
second is one fsync of the file. For the push it is the state "verified": every chunk hashed as it came, the whole
file read and hashed again, synced and renamed. A ratio is the push's throughput
over the copy's, so time of the copy / time of the push: above 1 the push is the faster one. Goal: 0.8.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgestudio.devices.deploy import deploy
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire import api
from edgestudio.wire.identity import Identity
from edgestudio.wire.release import HealthLimits

SIZE_BYTES = 100_000_000
ROUNDS = 5
PIECE_BYTES = 1 << 18
DELTA_SIDE = 3000
Moments = tuple[float, float]
"""Seconds until the last byte was taken, and until all of it was on the disk to stay."""

# The receiver of the bare copy: one thread, to disk, and a letter for each of the two moments.
_RECEIVER = """
import os, socket, ssl, sys
cert, key, peer, path, size = *sys.argv[1:5], int(sys.argv[5])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(cert, key)
context.load_verify_locations(peer)
context.verify_mode = ssl.CERT_REQUIRED
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    while True:
        accepted, _ = listening.accept()
        with context.wrap_socket(accepted, server_side=True) as s, open(path, "wb") as f:
            left = size
            while left and (data := s.recv(min(left, 1 << 18))):
                f.write(data)
                left -= len(data)
            f.flush()
            s.sendall(b"t")
            os.fsync(f.fileno())
            s.sendall(b"k")
"""


def main() -> int:
    """Print medians over interleaved rounds, their spread and the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        desk = Identity.load_or_create(folder / "desk", "desk")
        other = Identity.load_or_create(folder / "other", "other")
        command = [
            *(sys.executable, "-c", _RECEIVER, str(other.certificate_path), str(other.key_path)),
            *(str(desk.certificate_path), str(folder / "copy"), str(SIZE_BYTES)),
        ]
        receiver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        command = [
            *(sys.executable, "-m", "edgestudio", "agent", "--name", "bench", "--host", "127.0.0.1"),
            *("--port", "0", "--data", str(folder / "board"), "--simulate", "pi5"),
        ]
        agent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert receiver.stdout is not None
            bare_port = int(receiver.stdout.readline())
            port, code = _screen(agent)
            asyncio.run(_measure(folder, desk, other, bare_port, port, code))
        finally:
            for process in (receiver, agent):
                process.send_signal(signal.SIGTERM)
                process.wait(20)
                if process.stdout is not None:
                    process.stdout.close()
    return 0


async def _measure(
    folder: Path, desk: Identity, other: Identity, bare_port: int, port: int, code: str
) -> None:
    known = (await pair(desk, "bench", "127.0.0.1", port, code)).board
    quick = "--quick" in sys.argv
    bare: list[Moments] = []
    push: list[Moments] = []
    publisher, model = Publisher(folder / "publisher"), folder / "model.onnx"
    async with BoardSession(desk, known) as session:
        for _ in range(3 if quick else ROUNDS):
            data = os.urandom(SIZE_BYTES)
            model.write_bytes(data)
            os.sync()  # what was written to prepare is nobody's to wait for
            bare.append(await asyncio.to_thread(_bare_copy, desk, other, bare_port, data))
            os.sync()
            push.append(await _upload(session, publisher, model))
        _report(bare, push)
        if quick:
            return
        print(f"model of {DELTA_SIDE**2 * 4 / 1e6:.0f} MB, from the offer until it is committed:")
        for title, row in (("first push", None), ("one layer's row changed", 7), ("nothing changed", 7)):
            _write_model(model, row)
            await _install(title, session, publisher, model)


def _screen(agent: subprocess.Popen[str]) -> tuple[int, str]:
    port, code = 0, ""
    assert agent.stdout is not None
    while not (port and code):
        line = agent.stdout.readline()
        if line.startswith("ready on "):
            port = int(line.rsplit(":", 1)[1])
        elif line.startswith("pairing code: "):
            code = line.split()[2]
        elif not line:
            raise RuntimeError("the agent ended")
    return port, code


def _bare_copy(desk: Identity, other: Identity, port: int, data: bytes) -> Moments:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_cert_chain(desk.certificate_path, desk.key_path)
    context.load_verify_locations(other.certificate_path)
    view = memoryview(data)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as s:
        for start in range(0, len(view), PIECE_BYTES):
            s.sendall(view[start : start + PIECE_BYTES])
        s.recv(1)
        taken_s = time.perf_counter() - started
        s.recv(1)
    return taken_s, time.perf_counter() - started


async def _upload(session: BoardSession, publisher: Publisher, model: Path) -> Moments:
    """From the offer's answer on; the board notes by the same clock when it had verified everything."""
    release = await asyncio.to_thread(publisher.publish, "bench", {"model": model})
    started, taken_s, verified_s = 0.0, 0.0, 0.0
    async with contextlib.aclosing(deploy(session, publisher, release)) as states:
        async for state in states:
            if state.name == "offered":
                started = time.time()
            if state.fraction == 1.0 and not taken_s:
                taken_s = time.time() - started
            for step in state.install.get("history", ()):
                if step["state"] == "VERIFIED":
                    verified_s = step["at"] - started
            if state.is_final:
                break
    # What is no model is refused after it was verified; then the next one is on its own.
    return taken_s, verified_s


def _write_model(path: Path, changed_row: int | None) -> None:
    import numpy as np
    import onnx

    weights = np.random.default_rng(1).normal(size=(DELTA_SIDE, DELTA_SIDE)).astype(np.float32) / DELTA_SIDE
    if changed_row is not None:
        weights[changed_row] *= 0.5
    shape = [1, DELTA_SIDE]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "delta",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))


async def _install(title: str, session: BoardSession, publisher: Publisher, model: Path) -> None:
    limits = HealthLimits(trial_s=0.5, trial_inferences=5, confidence_distance=None, temperature_c=None)
    release = await asyncio.to_thread(publisher.publish, "delta", {"model": model}, limits=limits)
    started, sent = time.perf_counter(), 0
    last = None
    async for last in deploy(session, publisher, release):
        sent = max(sent, last.sent_bytes)
    assert last is not None
    elapsed_s = time.perf_counter() - started
    print(f"{title:<28} {sent / 1e6:7.1f} MB sent, {elapsed_s:.1f} s, {last.name} {last.reason}")


def _report(bare: list[Moments], push: list[Moments]) -> None:
    print(
        f"{SIZE_BYTES / 1e6:.0f} MB over TLS 1.3 on loopback, chunks of {api.CHUNK_BYTES >> 20} MiB, n={len(push)}, "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    for moment, title in enumerate(("the last byte is taken", "all is verified and on the disk")):
        copy_s, push_s = ([times[moment] for times in row] for row in (bare, push))
        ratios = sorted(a / b for a, b in zip(copy_s, push_s, strict=True))
        print(f"until {title}:")
        for name, seconds in (("bare TLS copy", copy_s), ("push", push_s)):
            rates = sorted(SIZE_BYTES / s / 1e6 for s in seconds)
            print(f"  {name:16} {statistics.median(rates):6.0f} MB/s  ({rates[0]:.0f} to {rates[-1]:.0f})")
        print(
            f"  push / copy      {statistics.median(ratios):6.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f}; goal 0.80)"
        )


if __name__ == "__main__":
    sys.exit(main())
