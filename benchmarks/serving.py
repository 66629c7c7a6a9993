"""What isolation costs: an inference in the killable child beside a bare `session.run`, for a 600 kB input.

    python -m benchmarks.serving [--quick]

Bare runs and runs in the child take turns. Most of what isolation costs is waking up: on a busy machine the figure
says more about the machine than about the product, unless both sides go first (`python -m benchmarks --first serving`).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from edgestudio.agent.run.host import HostSpec, ModelHost

ROUNDS, RUNS = 25, 40
SHAPE = (1, 3, 224, 224)
GOAL_MS = 0.3


def main() -> int:
    """Print medians per call, in turns, and what the child adds."""
    rounds = 8 if "--quick" in sys.argv else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        for title, work in (("a pooling layer", "small"), ("a 7x7 convolution", "large")):
            path = _write(Path(name) / f"{work}.onnx", work)
            asyncio.run(_measure(title, path, rounds))
    return 0


async def _measure(title: str, path: Path, rounds: int) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    bare = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {"x": np.random.default_rng(0).random(SHAPE, dtype=np.float32)}
    host = ModelHost(HostSpec(model=path), lambda *_: None)
    bare_ms, host_ms, inside_ms = [], [], []
    try:
        await host.start()
        await host.load()
        for _ in range(rounds):
            started = perf_counter()
            for _ in range(RUNS):
                bare.run(None, feeds)
            bare_ms.append((perf_counter() - started) * 1e3 / RUNS)
            started = perf_counter()
            for _ in range(RUNS):
                answer = await host.run(feeds)
                inside_ms.append(float(answer["infer_ms"]))
            host_ms.append((perf_counter() - started) * 1e3 / RUNS)
    finally:
        await host.close()
    added = sorted(ours - theirs for ours, theirs in zip(host_ms, bare_ms, strict=True))
    print(f"{title}, {feeds['x'].nbytes / 1e3:.0f} kB input, {rounds} rounds of {RUNS}")
    print(f"  bare session.run   {statistics.median(bare_ms):7.3f} ms")
    print(
        f"  in the child       {statistics.median(host_ms):7.3f} ms, the runtime {statistics.median(inside_ms):.3f} ms"
    )
    print(
        f"  added              {statistics.median(added):+7.3f} ms"
        f"  ({added[0]:+.3f} to {added[-1]:+.3f}; goal below {GOAL_MS})"
    )


def _write(path: Path, work: str) -> Path:
    kernel = np.random.default_rng(1).random((16, 3, 7, 7), dtype=np.float32)
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    if work == "large":
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["c"], ["y"]),
        ]
    graph = helper.make_graph(
        nodes, "serving",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(kernel, "w")] if work == "large" else [],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, str(path))
    return path


if __name__ == "__main__":
    sys.exit(main())
