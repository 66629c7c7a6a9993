"""What a pipeline and the hostile-file scan add to the bare library, on the sample and on a 600 kB input."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from edgestudio.assets import resource
from edgestudio.runtime.backend import open_session
from edgestudio.runtime.pipeline.pipeline import Runner, load_pipeline, parse_pipeline
from edgestudio.runtime.scan.scan import scan_model

ROUNDS, RUNS = (5 if "--quick" in sys.argv else 15), 200
NODES = 10_000


def _bare(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _interleaved(first: Callable[[], object], second: Callable[[], object], runs: int) -> tuple[float, float]:
    """Medians over the rounds in ms of both, in turns, so that other load falls on both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for call, kept in zip((first, second), times, strict=True):
            started = perf_counter()
            for _ in range(runs):
                call()
            kept.append((perf_counter() - started) * 1000 / runs)
    return statistics.median(times[0]), statistics.median(times[1])


def _report(what: str, bare_ms: float, ours_ms: float) -> None:
    print(f"{what:44} bare {bare_ms:.4f} ms, ours {ours_ms:.4f} ms, added {ours_ms - bare_ms:+.4f} ms")


def _sample() -> None:
    path = resource("sample", "digits.onnx")
    runner = Runner(open_session(path), load_pipeline(resource("sample", "digits.pipeline.yaml")))
    bare = _bare(path)
    image = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    feeds = runner.prepare(image)
    _report(
        "sample, image to digit",
        *_interleaved(lambda: bare.run(None, feeds), lambda: runner.process(image), RUNS),
    )


def _picture(folder: Path) -> None:
    """224 x 224 x 3 float32: a mean over all pixels, so that what is added is all that shows."""
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
        "picture",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 1, 1])],
    )
    path = folder / "picture.onnx"
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]), path)
    bare, session = _bare(path), open_session(path)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    tensors = Runner(session, parse_pipeline({"preprocess": [{"kind": "tensor"}]}))
    images = Runner(
        session, parse_pipeline({"preprocess": [{"kind": "image", "mean": [0.5], "std": [0.25]}]})
    )
    prepared = images.prepare(pixels)
    ready = prepared["x"]
    _report(
        "600 kB tensor, checked",
        *_interleaved(lambda: bare.run(None, prepared), lambda: tensors.process(ready), RUNS),
    )
    _report(
        "224 x 224 x 3 pixels, normalised",
        *_interleaved(lambda: bare.run(None, prepared), lambda: images.process(pixels), RUNS),
    )


def _scan(folder: Path) -> None:
    names = [f"v{index}" for index in range(NODES + 1)]
    graph = helper.make_graph(
        [helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)],
        "chain",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [4])],
    )
    path = folder / "chain.onnx"
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]), path)
    bare_ms, ours_ms = _interleaved(lambda: _bare(path), lambda: scan_model(path), 1)
    print(
        f"{f'scan of {NODES} nodes':44} loading {bare_ms:.0f} ms, scan {ours_ms:.0f} ms, ratio {ours_ms / bare_ms:.2f}"
    )


def main() -> int:
    """Print the added milliseconds beside the bare library's own."""
    print(f"medians of {ROUNDS} rounds in turns")
    _sample()
    with tempfile.TemporaryDirectory() as folder:
        _picture(Path(folder))
        _scan(Path(folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
