"""Push of 100 MB to a real agent beside a bare TLS copy of the same bytes, and a delta push beside a full one."""

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

# The receiver of the bare copy: one thread, TLS 1.3 with mutual certificates, to disk, one fsync at the end.
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
    bare_s, push_s = [], []
    publisher, model = Publisher(folder / "publisher"), folder / "model.onnx"
    async with BoardSession(desk, known) as session:
        for _ in range(ROUNDS):
            data = os.urandom(SIZE_BYTES)
            model.write_bytes(data)
            bare_s.append(await asyncio.to_thread(_bare_copy, desk, other, bare_port, data))
            push_s.append(await _upload(session, publisher, model))
        _report(bare_s, push_s)
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


def _bare_copy(desk: Identity, other: Identity, port: int, data: bytes) -> float:
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
    return time.perf_counter() - started


async def _upload(session: BoardSession, publisher: Publisher, model: Path) -> float:
    """Seconds from the offer's answer until the board has every chunk."""
    release = await asyncio.to_thread(publisher.publish, "bench", {"model": model})
    started, install = 0.0, ""
    async with contextlib.aclosing(deploy(session, publisher, release)) as states:
        async for state in states:
            if state.name == "offered":
                started, install = time.perf_counter(), state.install_id
            if state.fraction == 1.0:
                break
    elapsed_s = time.perf_counter() - started
    await session.abort(install)
    return elapsed_s


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


def _report(bare_s: list[float], push_s: list[float]) -> None:
    def line(title: str, seconds: list[float]) -> str:
        rates = sorted(SIZE_BYTES / s / 1e6 for s in seconds)
        return f"{title:<28} {statistics.median(rates):7.0f} MB/s  ({rates[0]:.0f} to {rates[-1]:.0f}, n={len(rates)})"

    print(f"{SIZE_BYTES / 1e6:.0f} MB over TLS 1.3 on loopback, chunks of {api.CHUNK_BYTES >> 20} MiB")
    print(line("bare TLS copy to disk", bare_s))
    print(line("push to the agent", push_s))
    ratios = sorted(b / p for b, p in zip(bare_s, push_s, strict=True))
    spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f}; goal 0.80)"
    print(f"{'push / bare copy':<28} {statistics.median(ratios):7.2f}       {spread}")


if __name__ == "__main__":
    sys.exit(main())
