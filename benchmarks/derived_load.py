"""What keeping a derived file saves: loading it beside loading the model itself, in turns, for each library here.

    python -m benchmarks.derived_load [--quick] [MODEL.onnx ...]

Without models it takes the sample and a chain of 300 layers made on the spot. Both sides are fresh sessions in one
process, so that neither pays for the library's import; a board's model host pays that in both cases.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgestudio.assets import resource
from edgestudio.runtime.backend import SessionOptions, open_session
from edgestudio.runtime.choice import plan
from edgestudio.runtime.derive import DeriveRequest, derive
from edgestudio.wire.errors import EdgeStudioError

ROUNDS = 15


def main() -> int:
    """Print medians and the ratio for each model and library."""
    rounds = 5 if "--quick" in sys.argv else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
        for model in models or [resource("sample", "digits.onnx"), _chain(folder / "chain.onnx")]:
            for backend, module in (("onnx", "onnxruntime"), ("openvino", "openvino")):
                if importlib.util.find_spec(module) is not None:
                    _measure(model, backend, folder / f"{backend}.derived", rounds)
    return 0


def _measure(model: Path, backend: str, out: Path, rounds: int) -> None:
    out.write_bytes(b"")
    choice = plan("onnx", runtimes=(backend,)).choices[0]
    try:
        derive(DeriveRequest(model, choice, out), lambda *_: None)
    except EdgeStudioError as error:
        print(f"{model.name}, {backend}: nothing is kept ({error.message})")
        return
    plain, kept = [], []
    for _ in range(rounds):
        plain.append(_seconds(model, backend, None))
        kept.append(_seconds(model, backend, out))
    base, fast = statistics.median(plain), statistics.median(kept)
    spread = f"{min(kept) * 1e3:.1f} to {max(kept) * 1e3:.1f}"
    print(
        f"{model.name}, {backend}: the model {base * 1e3:.1f} ms (baseline), what was kept {fast * 1e3:.1f} ms "
        f"({spread}), {fast / base:.2f} of it, {rounds} rounds in turns"
    )


def _seconds(model: Path, backend: str, derived: Path | None) -> float:
    started = perf_counter()
    session = open_session(model, backend=backend, options=SessionOptions(derived=derived), is_scanned=True)
    seconds = perf_counter() - started
    session.close()
    return seconds


def _chain(path: Path) -> Path:
    rng = np.random.default_rng(3)
    nodes, weights, name = [], [], "x"
    for number in range(300):
        weights.append(
            numpy_helper.from_array(rng.normal(0, 0.1, (16, 16, 3, 3)).astype(np.float32), f"w{number}")
        )
        nodes.append(helper.make_node("Conv", [name, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        name = f"r{number}"
    graph = helper.make_graph(
        nodes, "chain", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 16, 16])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


if __name__ == "__main__":
    sys.exit(main())
