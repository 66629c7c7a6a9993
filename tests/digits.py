"""The sample's pictures, read so that no file stays open: Python 3.13 tells of each that does, in any later test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.assets import resource

DATA = resource("sample", "digits_test.npz")


def digits(path: Path = DATA, name: str = "x") -> np.ndarray[Any, Any]:
    """(pictures, 8, 8), or another array of another file."""
    with np.load(path) as file:
        return np.asarray(file[name])
