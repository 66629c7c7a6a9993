"""A lighter model that the pipeline falls back to travels with the release."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgestudio.assets import resource
from edgestudio.optimize.package import package_job
from edgestudio.wire.errors import ModelError, RecipeError
from edgestudio.wire.progress import Silent


def test_a_lighter_model_is_packed_from_beside_the_pipeline(tmp_path: Path) -> None:
    model, text = resource("sample", "digits.onnx"), resource("sample", "digits.pipeline.yaml").read_text()
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(text + "fallback:\n  - {kind: model, file: small.onnx}\n")
    out = tmp_path / "out"
    out.mkdir()
    params = {"path": str(model), "pipeline": str(pipeline), "name": "digits", "version": "1"}
    with pytest.raises(RecipeError, match=r"small\.onnx"):
        package_job(params, out, Silent())
    (tmp_path / "small.onnx").write_bytes(b"no model at all")
    with pytest.raises(ModelError):
        package_job(params, out, Silent())
    (tmp_path / "small.onnx").write_bytes(model.read_bytes())
    files = package_job(params, out, Silent())["files"]
    assert Path(files["lighter-0"]) == out / "small.onnx"
    assert "small.onnx" in Path(files["pipeline"]).read_text()
