"""Does a captured inference again and says whether it is bit-equal, and otherwise which stage differs first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.runtime.backend import Array, open_session
from edgestudio.runtime.compare import compare
from edgestudio.runtime.documents import parse_yaml
from edgestudio.runtime.environment import versions
from edgestudio.runtime.pipeline.pipeline import Runner, load_pipeline, parse_pipeline
from edgestudio.runtime.pipeline.preprocess import PREPROCESS_VERSION
from edgestudio.runtime.pipeline.sound import Sound
from edgestudio.wire.capture import MAX_CAPTURE_BYTES, Capture
from edgestudio.wire.errors import EdgeStudioError, InputError
from edgestudio.wire.progress import Progress

STAGES = ("model", "preprocess", "inference", "postprocess")
_ANSWER = ("index", "label", "confidence", "margin", "top", "detections")


def replay_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Worker's entry point: `{captures: [path], model: path, pipeline: path|None}` to one report per capture.

    The result has `equal` (all of them), `first_difference` (the earliest stage that differs anywhere, or None)
    and `captures`, each as `replay` returns it with its `file`. A `pipeline` is used instead of the captured one.
    """
    model = Path(params["model"])
    pipeline = Path(params["pipeline"]) if params.get("pipeline") else None
    files = [Path(path) for path in params["captures"]]
    digest = _sha256(model)
    reports: list[dict[str, Any]] = []
    session = open_session(model)
    try:
        for number, file in enumerate(files):
            progress.phase("replay", number / len(files))
            capture = read_capture(file)
            chosen = load_pipeline(pipeline) if pipeline else parse_pipeline(_document(capture))
            report = replay(capture, Runner(session, chosen), model_sha256=digest)
            reports.append({"file": str(file), **report})
    finally:
        session.close()
    found = [report["first_difference"] for report in reports if report["first_difference"]]
    return {
        "equal": not found,
        "first_difference": min(found, key=STAGES.index) if found else None,
        "captures": reports,
        "model": str(model),
        "model_sha256": digest,
    }


def read_capture(path: Path) -> Capture:
    """The capture in a file; InputError when it is missing, damaged or none."""
    try:
        if path.stat().st_size > MAX_CAPTURE_BYTES + 32:
            raise InputError(f"{path.name} is too large for a capture", code="bad-capture")
        return Capture.from_bytes(path.read_bytes())
    except OSError as error:
        raise InputError(f"the capture {path} cannot be read: {error.strerror}", code="no-file") from error


def replay(capture: Capture, runner: Runner, *, model_sha256: str) -> dict[str, Any]:
    """Every stage again, each from what was captured before it, so that one difference is not counted twice.

    Returns `equal`, `first_difference` (one of `STAGES`, or None), `stages` and both environments. A stage whose
    input was not captured has `equal` None and says why.
    """
    stages = [
        _model(capture, model_sha256),
        _preprocess(capture, runner),
        _inference(capture, runner),
        _postprocess(capture, runner),
    ]
    first = next((stage["stage"] for stage in stages if stage["equal"] is False), None)
    here = {"preprocessing": PREPROCESS_VERSION, **versions(runner.session.backend)}
    there = {"preprocessing": capture.preprocessing, **capture.environment}
    return {
        "id": capture.id, "model": capture.model, "release": capture.release, "version": capture.version,
        "equal": first is None, "first_difference": first, "stages": stages,
        "environment": {"board": there, "here": here,
                        "differs": sorted(k for k in here if k in there and here[k] != there[k])},
    }  # fmt: skip


def _model(capture: Capture, digest: str) -> dict[str, Any]:
    if not capture.model_sha256:
        return {"stage": "model", "equal": None, "reason": "the capture does not name the model file"}
    return {"stage": "model", "equal": capture.model_sha256 == digest}


def _preprocess(capture: Capture, runner: Runner) -> dict[str, Any]:
    if not capture.raw_kind:
        return _unknown("preprocess", "prepared tensors came in; there was nothing to prepare")
    try:
        feeds = runner.prepare(item_of(capture))
    except EdgeStudioError as error:
        return {"stage": "preprocess", "equal": False, "reason": error.message}
    # What a streaming model remembers came from the items before, which are not here.
    kept = {name: array for name, array in capture.feeds.items() if name not in runner.carried}
    return _compared("preprocess", kept, {name: feeds[name] for name in feeds if name not in runner.carried})


def _inference(capture: Capture, runner: Runner) -> dict[str, Any]:
    if not capture.feeds:
        return _unknown("inference", "the model's inputs were not captured")
    try:
        outputs = runner.session.run(dict(capture.feeds))
    except EdgeStudioError as error:
        return {"stage": "inference", "equal": False, "reason": error.message}
    found = _compared("inference", capture.outputs, {k: outputs[k] for k in outputs if k in capture.outputs})
    if (
        not found["equal"]
        and not _compared("inference", outputs, runner.session.run(dict(capture.feeds)))["equal"]
    ):
        found["reason"] = "the model's answers are random: the same input has another one here each time"
    return found


def _postprocess(capture: Capture, runner: Runner) -> dict[str, Any]:
    if not capture.outputs:
        return _unknown("postprocess", "the model's outputs were not captured")
    try:
        result = runner.interpret(capture.outputs).to_dict()
    except EdgeStudioError as error:
        return {"stage": "postprocess", "equal": False, "reason": error.message}
    wanted = {key: capture.result[key] for key in _ANSWER if key in capture.result}
    differing = [key for key in wanted if wanted[key] != result[key]]
    return {
        "stage": "postprocess", "equal": not differing,
        "differs": {key: {"board": wanted[key], "here": result[key]} for key in differing},
    }  # fmt: skip


def item_of(capture: Capture) -> Any:
    """The raw item as the pipeline took it."""
    if capture.raw_kind == "mapping":
        return dict(capture.raw)
    array = next(iter(capture.raw.values()))
    return Sound(array, capture.rate_hz) if capture.raw_kind == "sound" else array


def _compared(stage: str, wanted: Mapping[str, Array], found: Mapping[str, Array]) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    is_equal = set(wanted) == set(found)
    for name in sorted(set(wanted) & set(found)):
        left, right = wanted[name], found[name]
        same = left.shape == right.shape and left.dtype == right.dtype and _bytes(left) == _bytes(right)
        is_equal = is_equal and same
        entry: dict[str, Any] = {"equal": same}
        if not same and left.shape == right.shape and left.dtype.kind in "fiu" and right.dtype.kind in "fiu":
            entry.update(compare({name: left}, {name: right}).to_dict())
        elif not same:
            entry["reason"] = f"{left.dtype} {list(left.shape)} there, {right.dtype} {list(right.shape)} here"
        tensors[name] = entry
    missing = sorted(set(wanted) ^ set(found))
    extra = {"reason": f"only on one side: {', '.join(missing)}"} if missing else {}
    return {"stage": stage, "equal": is_equal, "tensors": tensors, **extra}


def _bytes(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _unknown(stage: str, reason: str) -> dict[str, Any]:
    return {"stage": stage, "equal": None, "reason": reason}


def _document(capture: Capture) -> Any:
    if not capture.pipeline:
        raise InputError(
            "the capture came without its pipeline", hint="Give one with --pipeline.", code="bad-capture"
        )
    return parse_yaml(capture.pipeline, "captured pipeline")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError as error:
        raise InputError(f"the model {path} cannot be read: {error.strerror}", code="no-file") from error
    return digest.hexdigest()
