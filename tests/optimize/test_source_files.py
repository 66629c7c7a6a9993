"""What a pipeline's source reads travels with the model, under names that a release may have."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from edgestudio.assets import resource
from edgestudio.optimize.package import package_job
from edgestudio.optimize.source_files import source_files
from edgestudio.runtime.pipeline.pipeline import Pipeline, load_pipeline, parse_pipeline
from edgestudio.wire.errors import RecipeError
from edgestudio.wire.progress import Silent
from tests.digits import digits


def read(source: dict[str, Any]) -> Pipeline:
    return parse_pipeline({"schema_version": 1, "source": source})


def sound(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.zeros(400, "<i2").tobytes())
    return path


def test_each_kind_of_source_takes_its_files_along(tmp_path: Path) -> None:
    given, out = tmp_path / "pipeline.yaml", tmp_path / "out"
    out.mkdir()
    sound(tmp_path / "Yard One.WAV")
    sound(tmp_path / "yards" / "b.wav")
    sound(tmp_path / "yards" / "a.wav")
    np.savez(tmp_path / "rows.npz", x=np.zeros((2, 3)))
    (tmp_path / "film.avi").write_bytes(b"RIFF")
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Image.new("L", (8, 8), number * 40).save(tmp_path / "pictures" / f"{number}.png")
    audio = {"kind": "audio", "window": 64}
    for source, name, roles in (
        ({**audio, "path": "Yard One.WAV"}, "source.wav", ["source"]),
        ({**audio, "path": "yards"}, ".", ["source-0", "source-1"]),
        ({"kind": "tensors", "path": "rows.npz"}, "source.npz", ["source"]),
        ({"kind": "folder", "path": "rows.npz"}, "source.npz", ["source"]),
        ({"kind": "folder", "path": "pictures"}, "source.npz", ["source"]),
        ({"kind": "camera", "device": "film.avi"}, "source.avi", ["source"]),
    ):
        pipeline, files = source_files(read(source), given, out)
        assert list(files) == roles
        assert all(file.is_file() and file.parent == out for file in files.values())
        assert (
            getattr(pipeline.source, "device", None) == name or getattr(pipeline.source, "path", "") == name
        )
    assert digits(out / "source.npz").shape == (3, 8, 8)


def test_what_is_the_boards_own_stays_there(tmp_path: Path) -> None:
    for source in (
        {"kind": "camera", "device": 0},
        {"kind": "camera", "device": "rtsp://camera/1"},
        {"kind": "audio", "path": "/srv/yard.wav", "window": 64},
        {"kind": "http", "port": 0},
    ):
        pipeline = read(source)
        assert source_files(pipeline, tmp_path / "p.yaml", tmp_path) == (pipeline, {})


def test_what_is_not_there_or_cannot_travel_is_said(tmp_path: Path) -> None:
    given = tmp_path / "p.yaml"
    (tmp_path / "mixed").mkdir()
    for number in (1, 2):
        Image.new("L", (8 * number, 8)).save(tmp_path / "mixed" / f"{number}.png")
    for source, match in (
        ({"kind": "tensors", "path": "none.npz"}, "no such file"),
        ({"kind": "camera", "device": "mixed"}, "is a folder"),
        ({"kind": "audio", "path": "mixed", "window": 64}, "holds 0 .wav files"),
        ({"kind": "folder", "path": "mixed"}, "not of one size"),
    ):
        with pytest.raises(RecipeError, match=match):
            source_files(read(source), given, tmp_path)


def test_a_package_holds_the_source_and_names_it(tmp_path: Path) -> None:
    document = yaml.safe_load(resource("sample", "digits.pipeline.yaml").read_text())
    document["source"] = {"kind": "tensors", "path": "rows.npz"}
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(yaml.safe_dump(document))
    np.savez(tmp_path / "rows.npz", image=digits()[:4])
    out = tmp_path / "out"
    out.mkdir()
    params = {"path": str(resource("sample", "digits.onnx")), "pipeline": str(pipeline), "name": "digits"}
    files = package_job(params, out, Silent())["files"]
    assert Path(files["source"]).name == "source.npz"
    kept = load_pipeline(Path(files["pipeline"])).source
    assert getattr(kept, "path", "") == "source.npz"


def test_a_variants_own_samples_are_made_anew_for_every_release(tmp_path: Path) -> None:
    """The library keeps a variant's pipeline, which names its samples, and not the samples."""
    given, out = tmp_path / "library" / "pipeline.yaml", tmp_path / "out"
    given.parent.mkdir()
    out.mkdir()
    plain = load_pipeline(resource("sample", "digits.pipeline.yaml"))
    source = {"kind": "folder", "path": "samples.npz", "rate_hz": 10}
    document = plain.model_dump(mode="json", exclude_none=True) | {"source": source}
    given.write_text(yaml.safe_dump(document), encoding="utf-8")
    params = {
        "path": str(resource("sample", "digits.onnx")),
        "pipeline": str(given),
        "golden_data": str(resource("sample", "digits_test.npz")),
    }
    made = package_job(params, out, Silent())
    assert Path(made["files"]["samples"]).is_file()
    sent = load_pipeline(Path(made["files"]["pipeline"]))
    assert getattr(sent.source, "path", "") == "samples.npz"
