"""Libraries that report their use to their makers are told not to, in every process that imports EdgeStudio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE

MODEL = Path(__file__).parents[2] / "resources" / "sample" / "digits.onnx"
PROBE = "import edgestudio, onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])"


def test_onnx_runtime_keeps_no_record_of_its_use(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", PROBE, str(MODEL)],
        env={**environment, "HOME": str(tmp_path)}, check=True, timeout=60 * PATIENCE,
    )  # fmt: skip
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
