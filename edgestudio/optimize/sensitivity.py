"""Which layers a quantisation hurts: quantises one at a time and looks at what that does to the answers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgestudio.optimize.datasets import DataSamples, pipeline_for
from edgestudio.optimize.passes import canonical, int8_static, onnx_file
from edgestudio.optimize.step import StepContext
from edgestudio.optimize.trial import error_between, opened
from edgestudio.runtime.backend import open_session
from edgestudio.runtime.recognise import recognise
from edgestudio.wire.errors import RecipeError, RefusedError
from edgestudio.wire.progress import Progress

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Ranges of a single layer settle with few samples, and there are many layers.
_CALIBRATION = 32
SUSPECT_DB = 20.0
"""Layers below this are worth keeping in float; Hailo's tools flag from 10 dB on."""


@dataclass(frozen=True)
class Layer:
    """One layer quantised alone: the answers' signal to noise (dB, None = no error at all) and largest error."""

    node: str
    output: str
    operator: str
    sqnr_db: float | None
    max_abs: float
    is_suspect: bool


def sensitivity_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Worker's entry point: `{path, data, pipeline?, options?}` to `layers` (worst first) and `exclude`.

    `options` are those of `int8-static`; `exclude` lists the layers worth keeping in float, as that pass takes
    them. Raises RecipeError without data, RefusedError for a format other than ONNX.
    """
    source = Path(params["path"])
    if recognise(source) != "onnx":
        raise RefusedError("The sensitivity of layers is measured on ONNX models only.", code="format")
    if not params.get("data"):
        raise RecipeError("The sensitivity of layers needs calibration data.", code="needs-data")
    data = Path(params["data"])
    options = int8_static.Options.model_validate(dict(params.get("options") or {}))
    session = open_session(source)
    try:
        pipeline, notes = pipeline_for(
            session, Path(params["pipeline"]) if params.get("pipeline") else None, data
        )
    finally:
        session.close()
    layers = []
    with tempfile.TemporaryDirectory(dir=out_dir, prefix="work-") as folder:
        clean, trial_file = Path(folder) / "clean.onnx", Path(folder) / "one.onnx"
        context = StepContext(Path(folder), progress=progress)
        canonical.run(source, clean, canonical.Options(), context)
        nodes = [node for node in onnx_file.load(clean).graph.node if node.op_type in LAYERS]
        names = [node.name for node in nodes]
        with opened(clean, pipeline, data) as whole:
            if not isinstance(whole.samples, DataSamples):
                raise RecipeError("The sensitivity of layers needs calibration data.", code="needs-data")
            calibrated = StepContext(Path(folder), whole.samples, _Quiet(progress))
            for number, node in enumerate(nodes):
                progress.phase(f"layer {number + 1} of {len(nodes)}", number / len(nodes))
                others = (*options.exclude, *(name for name in names if name != node.name))
                alone = options.model_copy(
                    update={
                        "exclude": others,
                        "operators": "weighted",
                        "samples": min(options.samples, _CALIBRATION),
                    }
                )
                int8_static.run(clean, trial_file, alone, calibrated)
                with opened(trial_file, pipeline, data) as part:
                    meter = error_between(whole, part)
                if meter is not None:
                    found = meter.difference
                    ratio = found.to_dict()["sqnr_db"]
                    is_suspect = found.sqnr_db < SUSPECT_DB
                    layers.append(
                        Layer(node.name, node.output[0], node.op_type, ratio, found.max_abs, is_suspect)
                    )
    layers.sort(key=lambda layer: float("inf") if layer.sqnr_db is None else layer.sqnr_db)
    return {
        "layers": [asdict(layer) for layer in layers],
        "exclude": [layer.node for layer in layers if layer.is_suspect],
        "notes": notes,
    }


class _Quiet:
    """Passes phases on, and keeps the calibration lines of every single layer to itself."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def phase(self, name: str, fraction: float | None = None) -> None:
        """Report it."""
        self._progress.phase(name, fraction)

    def log(self, line: str) -> None:
        """Ignore it."""

    def partial(self, key: str, value: Any) -> None:
        """Report it."""
        self._progress.partial(key, value)
