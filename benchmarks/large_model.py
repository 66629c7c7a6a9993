"""A model with 3 GB of weights in a file beside it: time to the first picture in the window, and memory on the way.

    python -m benchmarks.large_model [--quick]

The weights are a file with a hole, which takes no room on the disk and reads as zeros: whoever reads it fills memory
all the same. The baseline is the same graph with weights of a few numbers, in the same run. Goal: no weight is read
for the first view, and neither the window nor its worker grows by 300 MB.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
from onnx import TensorProto

from benchmarks.generated_graphs import transformer_like

NODES, RUNS = 2_000, 3
WEIGHTS_BYTES = 3 << 30

_CHILD = """
import json, sys
from pathlib import Path
from benchmarks.graph_window import measure
print(json.dumps(measure(Path(sys.argv[1]), is_ready=False, goes_on=False)))
"""


def main() -> int:
    """Print medians and their range, and the ratio to the small model."""
    runs = 1 if "--quick" in sys.argv else RUNS
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name) / "small.onnx", Path(name) / "large.onnx"
        onnx.save(transformer_like(NODES), small)
        _write_large(large)
        found: dict[Path, list[dict[str, float]]] = {small: [], large: []}
        for _ in range(runs):
            for path, rows in found.items():
                command = [sys.executable, "-c", _CHILD, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=300)
                if done.returncode:
                    raise RuntimeError(done.stderr[-2000:])
                rows.append(json.loads(done.stdout.splitlines()[-1]))
    print(
        f"{found[small][0]['boxes']:,} boxes, weights of {WEIGHTS_BYTES / 2**30:.0f} GiB beside it; n={runs}"
    )
    for title, path in (("small weights", small), ("3 GiB of them", large)):
        rows = found[path]
        painted = sorted(row["painted_s"] for row in rows)
        grown = statistics.median(row["rss_mb_painted"] - row["before_mb"] for row in rows)
        peak = statistics.median(row["worker_peak_mb"] for row in rows)
        print(
            f"  {title:14} painted after {statistics.median(painted):.2f} s ({painted[0]:.2f} to {painted[-1]:.2f}), "
            f"window grown by {grown:.0f} MB, worker's peak {peak:.0f} MB"
        )
    return 0


def _write_large(path: Path) -> None:
    """The same graph with its matrices outside, each a part of one file."""
    model = transformer_like(NODES)
    matrices = [weight for weight in model.graph.initializer if len(weight.dims) == 2]
    each = WEIGHTS_BYTES // len(matrices) // 4096 * 4096
    for number, weight in enumerate(matrices):
        side = each // 4 // 1024
        weight.ClearField("raw_data")
        del weight.dims[:]
        weight.dims.extend((side, 1024))
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", "large.data"), ("offset", number * each), ("length", side * 4096),
        ):  # fmt: skip
            entry = weight.external_data.add()
            entry.key, entry.value = key, str(value)
    path.write_bytes(model.SerializeToString())
    with path.with_name("large.data").open("wb") as file:
        file.truncate(each * len(matrices))


if __name__ == "__main__":
    sys.exit(main())
