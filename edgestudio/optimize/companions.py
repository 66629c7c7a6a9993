"""Carries a model together with the files that hold its weights, under names that every board takes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edgestudio.runtime.scan.scan import scan_model
from edgestudio.wire.api import is_safe_name
from edgestudio.wire.errors import RecipeError
from edgestudio.wire.release import MAX_FILES

# What a release's own files are called; weights must not take these names.
_TAKEN = frozenset({"model", "pipeline", "golden", "baseline", "samples", "manifest", "release"})
_OTHER_FILES = 16
"""What a release has besides weights, at most: model, pipeline, golden inputs, samples, lighter models."""


def carry(source: Path, model_format: str, target: Path) -> dict[str, Path]:
    """Put the model at `target` and its weight files beside it; role (`model`, `weights-0`, …) to path.

    A file whose name cannot travel gets another one, and the model is told; the weights stay as they are. Raises
    ModelError for a weight file that is missing or lies outside of the model's folder, RecipeError for too many.
    """
    found = scan_model(source).external_files
    if model_format == "openvino" or not found:
        shutil.copyfile(source, target)
        weights = source.with_suffix(".bin")
        if model_format != "openvino" or not weights.is_file():
            return {"model": target}
        return {"model": target, "weights-0": _beside(weights, target.with_suffix(".bin"))}
    if len(found) > MAX_FILES - _OTHER_FILES:
        raise RecipeError(
            f"the model keeps its weights in {len(found)} files, and a release takes {MAX_FILES - _OTHER_FILES}",
            hint="Save it with all its weights in one file (onnx.save with all_tensors_to_one_file=True).",
            code="too-many-files",
        )
    names = dict(zip(found, _names(found, target.name), strict=True))
    if all(old == new for old, new in names.items()):
        shutil.copyfile(source, target)
    else:
        _rename(source, target, names)
    files = {"model": target}
    for number, (old, new) in enumerate(names.items()):
        files[f"weights-{number}"] = _beside(source.parent / old, target.parent / new)
    return files


def _names(found: tuple[str, ...], model: str) -> list[str]:
    fitting = [
        is_safe_name(name) and name != model and name.split(".")[0] not in _TAKEN - {"model"}
        for name in found
    ]
    return list(found) if all(fitting) else [f"weights-{number}.data" for number in range(len(found))]


def _beside(source: Path, target: Path) -> Path:
    """Weights can be gigabytes: linked where the file system allows it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _rename(source: Path, target: Path, names: dict[str, str]) -> None:
    """Write the ONNX model with other locations of its external data, which is not read."""
    import onnx
    from onnx.external_data_helper import _get_all_tensors

    model = onnx.load(str(source), load_external_data=False)
    for tensor in _get_all_tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = names[entry.value.removeprefix("./")]
    target.write_bytes(model.SerializeToString())
