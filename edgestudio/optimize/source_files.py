"""The files that a pipeline's own source reads, taken along with the model: sounds, a film, tensors, pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from edgestudio.runtime.pipeline.live import AudioSource, CameraSource, TensorSource
from edgestudio.runtime.pipeline.pipeline import Pipeline
from edgestudio.runtime.pipeline.sound import AUDIO_SUFFIXES
from edgestudio.runtime.pipeline.sources import FolderSource, open_source
from edgestudio.wire.errors import RecipeError

SAMPLES = "samples.npz"
"""The items of the user's data that a release goes on with, and the source that its pipeline then names."""
MAX_FILES = 32
MAX_ITEMS = 256
"""As many as a board keeps in memory of a folder."""
_HINT = "Put it beside the pipeline file, or give the absolute path that it has on the board."


def source_files(pipeline: Pipeline, given: Path | None, out_dir: Path) -> tuple[Pipeline, dict[str, Path]]:
    """The pipeline as it reads in a release, and the files of its source by role, copied into `out_dir`.

    Paths are relative to the pipeline file `given`; absolute ones are the board's own and stay. A release has no
    folders: one of sounds travels as its files, one of pictures as rows. RecipeError for what is not there.
    """
    source = pipeline.source
    named = source.device if isinstance(source, CameraSource) else getattr(source, "path", None)
    if source is None or not isinstance(named, str) or "://" in named or Path(named).is_absolute():
        return pipeline, {}
    path = (given.parent if given else Path()) / named
    if given is None or not path.exists():
        if named == SAMPLES:  # of a variant's own pipeline: made anew from the data for every release
            return pipeline.model_copy(update={"source": None}), {}
        raise RecipeError(
            f"the pipeline's source is {named}, and there is no such file", hint=_HINT, code="no-file"
        )
    if isinstance(source, AudioSource) and path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in AUDIO_SUFFIXES)
        if not 0 < len(files) <= MAX_FILES:
            raise RecipeError(
                f"{named} holds {len(files)} .wav files; a release takes 1 to {MAX_FILES}",
                hint="Join them, or keep them on the board and give their absolute path.",
            )
        renamed = source.model_copy(update={"path": "."})
        taken = {f"source-{n}": _copy(file, out_dir / f"source-{n:02}.wav") for n, file in enumerate(files)}
        return pipeline.model_copy(update={"source": renamed}), taken
    name = f"source{path.suffix.lower()}"
    if isinstance(source, FolderSource) and path.is_dir():
        name = "source.npz"
        _rows(path, pipeline, out_dir / name)
        return pipeline.model_copy(update={"source": source.model_copy(update={"path": name})}), {
            "source": out_dir / name
        }
    if not path.is_file():
        raise RecipeError(f"{named} is a folder, and the source reads a file", hint=_HINT)
    field = "device" if isinstance(source, CameraSource) else "path"
    assert isinstance(source, (AudioSource, TensorSource, CameraSource, FolderSource))
    renamed_source = source.model_copy(update={field: name})
    return pipeline.model_copy(update={"source": renamed_source}), {"source": _copy(path, out_dir / name)}


def _copy(file: Path, target: Path) -> Path:
    return Path(shutil.copyfile(file, target))


def _rows(folder: Path, pipeline: Pipeline, target: Path) -> None:
    """The items of a folder as rows of one array; RecipeError when they have different shapes."""
    items = [entry.item for entry in open_source(folder, labels=pipeline.labels, limit=MAX_ITEMS)]
    arrays = [item for item in items if isinstance(item, np.ndarray)]
    if len(arrays) < len(items) or len({(array.shape, array.dtype.str) for array in arrays}) != 1:
        raise RecipeError(
            f"the items in {folder.name} are not of one size, and a release has no folders",
            hint="Bring the pictures to one size, use the source `audio` for sounds, or keep them on the board.",
        )
    np.savez_compressed(target, x=np.stack(arrays))
