"""The sample model for every test, and the collected models where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgestudio.assets import resource


@pytest.fixture(scope="session")
def sample() -> Path:
    """Folder of the sample model and its data."""
    return resource("sample", "digits.onnx").parent


@pytest.fixture(scope="session")
def collected() -> Path:
    """Folder of the collected models; skips where EDGESTUDIO_TEST_MODELS is unset."""
    folder = os.environ.get("EDGESTUDIO_TEST_MODELS")
    if not folder:
        pytest.skip("EDGESTUDIO_TEST_MODELS is not set: no collected models here")
    return Path(folder)
