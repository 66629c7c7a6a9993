"""A re-quantised variant of a model on the board beside the first push: bytes and time, to the commit.

The baseline is the first push of the same round. Every round has other weights, so that no board knows them.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.push import _screen
from edgestudio.devices.deploy import deploy
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire.identity import Identity
from edgestudio.wire.release import HealthLimits

ROUNDS = 3
LAYERS, SIDE = 10, 3000
"""Ten INT8 layers of 9 MB: 90 MB."""
Push = tuple[float, float, float]
"""Bytes sent, seconds until the board had everything, seconds until it was committed."""


def main() -> int:
    """Print megabytes sent and seconds for each push, and their share of the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            *(sys.executable, "-m", "edgestudio", "agent", "--name", "delta", "--host", "127.0.0.1"),
            *("--port", "0", "--data", str(folder / "board"), "--simulate", "pi5"),
        ]
        agent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            asyncio.run(_measure(folder, *_screen(agent)))
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait(20)
            if agent.stdout is not None:
                agent.stdout.close()
    return 0


async def _measure(folder: Path, port: int, code: str) -> None:
    desk = Identity.load_or_create(folder / "desk", "desk")
    known = (await pair(desk, "desk", "127.0.0.1", port, code)).board
    publisher, model = Publisher(folder / "publisher"), folder / "model.onnx"
    whole = dict.fromkeys(range(LAYERS), 1.0)
    variants = [
        ("first push", whole),
        ("other scales, same weights", {**whole, 3: 1.02, 7: 0.97}),
        ("one layer quantised anew", {**whole, 3: 1.5}),
        ("the last layer fine-tuned", {**whole, LAYERS - 1: 2.5}),
        ("all layers quantised anew", dict.fromkeys(range(LAYERS), 3.0)),
    ]
    rounds = 1 if "--quick" in sys.argv else ROUNDS
    found: dict[str, list[Push]] = {title: [] for title, _ in variants}
    async with BoardSession(desk, known) as session:
        for number in range(rounds):
            for title, ranges in variants:
                # A range that moves a little moves the scale alone; one that moves much moves the weights.
                _write_model(model, ranges, number)
                found[title].append(await _push(session, publisher, model))
    print(
        f"a model of {LAYERS * SIDE**2 / 1e6:.0f} MB, n={rounds}; time from the offer, and shares of the first push"
    )
    first = found[variants[0][0]]
    for title, pushes in found.items():
        sent, there, committed = (statistics.median(push[at] for push in pushes) for at in range(3))
        shares = [
            statistics.median(push[at] / whole[at] for push, whole in zip(pushes, first, strict=True))
            for at in range(3)
        ]
        times = sorted(push[1] for push in pushes)
        print(
            f"{title:<28} {sent / 1e6:5.1f} MB sent ({shares[0]:4.0%}), there after {there:.2f} s ({shares[1]:4.0%}, "
            f"{times[0]:.2f} to {times[-1]:.2f}), committed after {committed:.1f} s ({shares[2]:4.0%})"
        )


async def _push(session: BoardSession, publisher: Publisher, model: Path) -> Push:
    limits = HealthLimits(trial_s=0.5, trial_inferences=5, confidence_distance=None, temperature_c=None)
    release = await asyncio.to_thread(publisher.publish, "delta", {"model": model}, limits=limits)
    started, sent, there_s, last = time.perf_counter(), 0, 0.0, None
    async for last in deploy(session, publisher, release):
        sent = max(sent, last.sent_bytes)
        if last.fraction == 1.0 and not there_s:
            there_s = time.perf_counter() - started
    if last is None or last.name != "committed":
        raise RuntimeError(last.reason if last else "nothing happened")
    return float(sent), there_s, time.perf_counter() - started


def _write_model(path: Path, ranges: dict[int, float], seed: int) -> None:
    """A chain of quantised layers; a layer whose range is not near 1 has other weights."""
    nodes, weights, last = [], [], "x"
    for layer, span in ranges.items():
        real = np.random.default_rng((seed, layer)).normal(size=(SIDE, SIDE)).astype(np.float32) / SIDE
        scale = np.float32(4 / SIDE / 127 * span)
        near = abs(span - 1.0) < 0.1
        quantised = np.clip(np.rint(real / (scale / np.float32(span) if near else scale)), -127, 127)
        weights += [
            onnx.numpy_helper.from_array(quantised.astype(np.int8), f"w{layer}"),
            onnx.numpy_helper.from_array(np.asarray(scale), f"s{layer}"),
        ]
        nodes += [
            helper.make_node("DequantizeLinear", [f"w{layer}", f"s{layer}"], [f"d{layer}"]),
            helper.make_node("MatMul", [last, f"d{layer}"], [f"y{layer}"]),
        ]
        last = f"y{layer}"
    graph = helper.make_graph(
        nodes, "delta",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIDE])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, SIDE])],
        weights,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, str(path))


if __name__ == "__main__":
    sys.exit(main())
