"""Fault 31: thousands of damaged and distorted models go through a model host; children may die, the agent never does.

`EDGESTUDIO_MUTANTS=100000 python -m pytest tests/agent/test_mutants.py` looks for longer.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestudio.agent.run.host import HostDiedError, HostSpec, ModelFailedError, ModelHost
from edgestudio.runtime.scan.scan import scan_model
from edgestudio.wire.errors import EdgeStudioError, ModelError
from tests.runtime.test_scan import loop, mutated, save

COUNT = int(os.environ.get("EDGESTUDIO_MUTANTS", "800"))
MEMORY_BYTES = 4 << 30
DEADLINE_S = 1.0
OTHER_OPS = (
    "Conv", "Gemm", "MatMul", "Reshape", "Resize", "Slice", "Gather", "ScatterND", "Pad", "Concat", "Split", "Tile",
    "Softmax", "TopK", "NonMaxSuppression", "QuantizeLinear", "DequantizeLinear", "Loop", "If", "LSTM", "Cast",
)  # fmt: skip


def convolution(path: Path) -> Path:
    """A small network with the usual parts, from x [4] to y."""
    rng = np.random.default_rng(1)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    def whole(name: str, *values: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(values, np.int64), name)

    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["b"], kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2]),
        helper.make_node("Slice", ["d", "from", "to", "axes"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "h"], ["i"]),
        helper.make_node("Gather", ["i", "which"], ["j"], axis=1),
        helper.make_node("Softmax", ["j"], ["y"]),
    ]
    tensors = [
        whole("s", 1, 1, 2, 2), weights("w", 3, 1, 2, 2), whole("from", 0), whole("to", 2), whole("axes", 1),
        weights("g", 8, 5), weights("h", 5), whole("which", 0, 4, 2),
    ]  # fmt: skip
    return save(path, nodes, tensors)


def distorted(model: onnx.ModelProto, rng: random.Random) -> bytes:
    """Still a file that every reader takes for a model, and one that contradicts itself."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    node = rng.choice(list(made.graph.node))
    match rng.randrange(6):
        case 0:
            node.op_type = rng.choice(OTHER_OPS)
        case 1:
            names = [name for other in made.graph.node for name in (*other.input, *other.output)]
            if node.input:
                node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "nobody"])
        case 2 if node.attribute:
            attribute = rng.choice(list(node.attribute))
            attribute.i = rng.choice((-1, 0, 1 << 40, -(1 << 62)))
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice((-1, 0, 7, 1 << 33))
        case 3 if made.graph.initializer:
            tensor = rng.choice(list(made.graph.initializer))
            tensor.data_type = rng.choice((TensorProto.INT8, TensorProto.FLOAT, TensorProto.INT64, 99))
        case 4 if made.graph.initializer:
            tensor = rng.choice(list(made.graph.initializer))
            values = bytearray(tensor.raw_data)
            if values:
                values[rng.randrange(len(values))] = rng.choice((0, 0x7F, 0x80, 0xFF))
            tensor.raw_data = bytes(values)
        case _:
            tensor = rng.choice(list(made.graph.initializer) or [TensorProto()])
            if tensor.dims:
                tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((0, 1, 2, 3, 1 << 20))
    return made.SerializeToString()


def mutants(folder: Path, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    seeds = [convolution(folder / "net.onnx"), save(folder / "loop.onnx", *loop([3], "start", "cond"))]
    models = [(path.read_bytes(), onnx.load(path)) for path in seeds]
    for number in range(count):
        data, model = models[number % 4 == 3]
        yield mutated(data, rng) if number % 3 == 0 else distorted(model, rng)


async def survive(folder: Path, files: Iterator[bytes]) -> collections.Counter[str]:
    """What became of each file; whatever is no clear error ends the test."""
    seen: collections.Counter[str] = collections.Counter()
    path, host = folder / "mutant.onnx", None
    feeds = {"x": np.ones(4, np.float32)}
    try:
        for data in files:
            path.write_bytes(data)
            try:
                scan_model(path)  # the host would do it again; most mutants need no process
            except ModelError:
                seen["refused by the scan"] += 1
                continue
            if host is None or not host.is_alive:
                host = ModelHost(HostSpec(path, memory_bytes=MEMORY_BYTES), lambda *_: None)
                await host.start()
            host.spec = dataclasses.replace(host.spec, model=path)
            try:
                await host.load(DEADLINE_S * 10)
                await host.run(feeds, DEADLINE_S)
                seen["ran"] += 1
            except HostDiedError as died:
                seen[f"child {died.how}"] += 1
                await host.close()
            except ModelFailedError:
                seen["failed"] += 1
            except EdgeStudioError as error:
                seen[f"refused: {error.code}"] += 1
    finally:
        if host is not None:
            await host.close()
    return seen


def test_no_mutant_takes_the_agent_down(tmp_path: Path) -> None:
    seen = asyncio.run(survive(tmp_path, mutants(tmp_path, COUNT, seed=31)))
    assert sum(seen.values()) == COUNT
    # Otherwise nothing was tried: some must get through the scan, and some of those must run and some fail.
    assert seen["ran"] > COUNT / 50, seen
    assert seen["failed"] + seen["refused: model-error"] > COUNT / 50, seen
    assert seen["refused by the scan"] > COUNT / 50, seen


@pytest.mark.models
def test_no_mutant_of_a_tflite_file_does_either(models_root: Path, tmp_path: Path) -> None:
    data = (models_root / "tflm_speech_hello/hello_world_int8.tflite").read_bytes()
    rng = random.Random(32)
    seen = asyncio.run(survive(tmp_path, (mutated(data, rng) for _ in range(COUNT // 4))))
    assert sum(seen.values()) == COUNT // 4
    assert len(seen) > 1, seen
