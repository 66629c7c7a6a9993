"""Formats that only Netron reads come into our own graph, with no port opened and nothing sent anywhere."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgestudio.model import graph as graphs

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("PySide6.QtWebEngineCore") is None,
    reason="the extra `netron-view` is not installed",
)

DARKNET = """[net]
width=32
height=32
channels=3

[convolutional]
batch_normalize=1
filters=16
size=3
stride=1
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[connected]
output=10
activation=linear

[softmax]
groups=1
"""

_JOB = """
import json, sys
from pathlib import Path
from edgestudio.ui.netron.reader import read_job
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.progress import Silent
try:
    print(json.dumps(read_job({"path": sys.argv[1]}, Path(sys.argv[2]), Silent())))
except EdgeStudioError as error:
    print(json.dumps({"error": error.as_dict()}))
"""


def _read(path: Path, out_dir: Path) -> dict[str, Any]:
    """Run the job in a process of its own, as a worker does: the scheme must be known before the application."""
    command = [sys.executable, "-c", _JOB, str(path), str(out_dir)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    assert lines, result.stderr[-3000:]
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def test_darknet_configuration_becomes_a_graph(tmp_path: Path) -> None:
    source = tmp_path / "tiny.cfg"
    source.write_text(DARKNET)
    answer = _read(source, tmp_path)
    model = graphs.load(Path(answer["graph"]))
    assert model.format == "darknet"
    assert [node.op.lower() for node in model.main.nodes] == [
        "convolutional",
        "maxpool",
        "connected",
        "softmax",
    ]
    assert model.main.nodes[0].attributes["filters"] in (16, "16")


def test_what_netron_does_not_know_ends_in_a_sentence(tmp_path: Path) -> None:
    source = tmp_path / "nothing.xyz"
    source.write_bytes(bytes(range(256)) * 8)
    answer = _read(source, tmp_path)
    assert answer["error"]["code"] == "unknown-format"
    assert "nothing.xyz" in answer["error"]["message"]
    assert "Traceback" not in answer["error"]["message"]


def test_names_with_markup_stay_names(tmp_path: Path) -> None:
    source = tmp_path / 'a"><script>alert(1)<!--.cfg'
    source.write_text(DARKNET)
    assert _read(source, tmp_path)["format"] == "darknet"
