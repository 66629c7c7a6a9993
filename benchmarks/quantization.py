"""Time to quantise: the product's INT8 static step and its whole job beside a bare onnxruntime.quantization call.

Each in a process of its own, turn by turn in one run, on the sample model and on a generated network whose
weights weigh about 20 MB; the same calibration samples for both.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

RUNS = 5
SAMPLES = 100

_CHILD = """
import json, logging, sys, time
from pathlib import Path
import numpy as np
logging.disable(logging.WARNING)
how, model, data, out = sys.argv[1:5]
with np.load(data) as file:
    x = file["x"]
class Rows:
    def __init__(self): self.rows = iter(x)
    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {NAME: row[None]}
import onnxruntime.quantization as q
import onnx
NAME = onnx.load(model).graph.input[0].name
from edgestudio.optimize.run import optimize_job
from edgestudio.wire.progress import Silent
started = time.perf_counter()
if how == "bare":
    q.quantize_static(model, out + "/bare.onnx", Rows(), per_channel=True,
                      activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8)
    result = {"seconds": time.perf_counter() - started, "bytes": Path(out + "/bare.onnx").stat().st_size}
else:
    steps = [{"pass": "int8-static", "options": {"activations": "unsigned", "samples": len(x)}}]
    recipe = {"name": "b", "steps": steps}
    params = {"path": model, "recipe": recipe, "data": data, "pipeline": out + "/p.yaml"}
    made = optimize_job(params, Path(out), Silent())
    whole = time.perf_counter() - started
    by_pass = {step["pass"]: step["seconds"] for step in made["steps"]}
    result = {"seconds": whole, "step": by_pass["int8-static"], "clean": by_pass["canonicalise"],
              "bytes": made["after"]["size_bytes"]}
print(json.dumps(result))
"""


def _network(folder: Path) -> tuple[Path, tuple[int, ...]]:
    """Twelve convolutions of 416 channels on 16 x 16: 19 million weights as a deep network has them."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, channels, x = [], [], 3, "x"
    for number in range(12):
        shape = (416, channels, 3, 3) if number % 3 == 0 else (416, channels, 1, 1)
        weights.append(numpy_helper.from_array(rng.normal(0, 0.03, shape).astype(np.float32), f"w{number}"))
        pads = [shape[2] // 2] * 4
        nodes.append(
            helper.make_node("Conv", [x, f"w{number}"], [f"c{number}"], name=f"conv{number}", pads=pads)
        )
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"], name=f"relu{number}"))
        x, channels = f"r{number}", 416
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 416, 16, 16])],
        weights,
    )  # fmt: skip
    path = folder / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path, (3, 16, 16)


def _run(how: str, model: Path, data: Path, folder: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as out:
        Path(out, "p.yaml").write_text("postprocess: {kind: raw}\n", encoding="utf-8")
        command = [sys.executable, "-c", _CHILD, how, str(model), str(data), out]
        result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if result.returncode:
        raise RuntimeError(result.stderr[-2000:])
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Print medians, their range and the ratios in one table per model."""
    from edgestudio.assets import resource

    runs = 2 if "--quick" in sys.argv else RUNS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model, shape in ((resource("sample", "digits.onnx"), (1, 8, 8)), _network(folder)):
            data = folder / f"{model.stem}.npz"
            np.savez(data, x=np.random.default_rng(1).random((SAMPLES, *shape), dtype=np.float32))
            bare, ours = [], []
            for _ in range(runs):  # turn by turn, so that other load falls on both
                bare.append(_run("bare", model, data, folder))
                ours.append(_run("ours", model, data, folder))
            middle = statistics.median(run["seconds"] for run in bare)
            print(f"{model.name}, {model.stat().st_size / 1e6:.1f} MB, {SAMPLES} samples, n={runs}")
            for title, key, measured in (
                ("bare quantize_static", "seconds", bare),
                ("the step, with its check", "step", ours),
                ("whole job, measured and packed", "seconds", ours),
            ):
                values = [run[key] for run in measured]
                value = statistics.median(values)
                spread = f"{min(values):.2f} to {max(values):.2f}"
                print(f"  {title:32} median {value:6.2f} s  ({spread})  {value / middle:5.2f} x bare")
            sizes = bare[0]["bytes"] / 1e6, ours[0]["bytes"] / 1e6
            print(f"  size of the result: bare {sizes[0]:.2f} MB, ours {sizes[1]:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
