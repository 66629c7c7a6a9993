"""Fault 28: old ONNX Runtimes read what lies outside a model's folder; through our scan no runtime gets that far.

The old versions lie in `.venv/old-runtimes`, where `installers/setup.sh tests` puts them, and are laid before the
present one for a child process at a time.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.patience import PATIENCE
from tests.runtime.test_scan import add, external, ints, loop, save

ROOT = Path(__file__).resolve().parent.parent.parent
OLD = ("1.19.2", "1.23.2")
SECRET = np.array([4.0, 8.0, 15.0, 16.0], np.float32)
READ_BY_OLD = {"parent.onnx", "absolute.onnx", "link.onnx"}
"""What onnxruntime before 1.24.1 reads from outside the model's folder."""

BARE = """
import json, sys
import numpy as np, onnxruntime
said = {"version": onnxruntime.__version__}
for path in sys.argv[1:]:
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        said[path] = session.run(None, {"x": np.zeros(4, np.float32)})[0].tolist()
    except Exception as error:
        said[path] = type(error).__name__
print(json.dumps(said))
"""
OURS = """
import json, sys
import numpy as np
from edgestudio.runtime.backend import open_session
from edgestudio.wire.errors import EdgeStudioError
said = {}
for path in sys.argv[1:]:
    try:
        session = open_session(path)
        said[path] = next(iter(session.run({"x": np.zeros(4, np.float32)}).values())).tolist()
    except EdgeStudioError as error:
        said[path] = {"code": error.code, "loaded": "onnxruntime" in sys.modules}
import onnxruntime
print(json.dumps({**said, "version": onnxruntime.__version__}))
"""


def ask(script: str, version: str, *paths: Path) -> dict[str, Any]:
    """What `script` says of `paths` in a process where onnxruntime `version` comes first; "" is the present one."""
    places = [str(ROOT)]
    if version:
        old = ROOT / ".venv" / "old-runtimes" / f"onnxruntime-{version}"
        if not (old / "onnxruntime").is_dir():
            pytest.skip(f"onnxruntime {version} is not here; `installers/setup.sh tests` installs it")
        places.insert(0, str(old))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, paths)],
        capture_output=True, text=True, env=environment, timeout=100 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert said.pop("version").startswith(version)
    return said


def outside(folder: Path) -> dict[str, Path]:
    """Files that want weights from somewhere else than their own folder, by name."""
    secret = folder / "secret.bin"
    secret.write_bytes(SECRET.tobytes())
    inside = folder / "model"
    inside.mkdir()
    (inside / "own.bin").write_bytes(SECRET.tobytes())
    (inside / "link.bin").symlink_to(secret)
    (inside / "linked").symlink_to(folder)
    places = {
        "parent.onnx": "../secret.bin", "absolute.onnx": str(secret), "link.onnx": "link.bin",
        "folder.onnx": "linked/secret.bin", "process.onnx": "/proc/self/environ", "dots.onnx": "./../secret.bin",
    }  # fmt: skip
    made = {name: save(inside / name, add(), [external(place)]) for name, place in places.items()}
    beyond = {"negative.onnx": {"offset": "-16"}, "huge.onnx": {"offset": "9223372036854775807"}}
    for name, entries in beyond.items():
        made[name] = save(inside / name, add(), [external("own.bin", **entries)])
    constant = helper.make_node("Constant", [], ["w"], value=external("../secret.bin"))
    made["attribute.onnx"] = save(inside / "attribute.onnx", [constant, *add()])
    return made


def bombs(folder: Path) -> dict[str, Path]:
    """Files that ask a runtime for gigabytes, never end, or need a library of their own."""
    fill = [helper.make_node("ConstantOfShape", ["s"], ["y"])]
    tile = [helper.make_node("Tile", ["x", "s"], ["y"])]
    evil = [helper.make_node("Evil", ["x"], ["y"], domain="shop")]
    nodes: dict[str, tuple[list[onnx.NodeProto], list[onnx.TensorProto]]] = {
        "fill.onnx": (fill, [ints("s", [1 << 34])]),
        "tile.onnx": (tile, [ints("s", [1 << 30])]),
        "loop.onnx": loop([1 << 62], "", "cond"),
        "custom.onnx": (evil, []),
    }
    return {name: save(folder / name, *parts) for name, parts in nodes.items()}


@pytest.mark.parametrize("version", [*OLD, ""])
def test_what_reads_elsewhere_reaches_no_runtime(tmp_path: Path, version: str) -> None:
    files = {**outside(tmp_path), **bombs(tmp_path)}
    fine = save(tmp_path / "model" / "fine.onnx", add(), [external("own.bin")])
    said = ask(OURS, version, *files.values())
    for name, path in files.items():
        assert isinstance(said[str(path)], dict), f"{name} was answered: {said[str(path)]}"
        assert said[str(path)]["loaded"] is False, f"a runtime was loaded for {name}"
    assert said[str(files["parent.onnx"])]["code"] == "external-data"
    # And the same door lets an honest file in, whatever the runtime's version.
    assert ask(OURS, version, fine)[str(fine)] == SECRET.tolist()


@pytest.mark.parametrize("version", OLD)
def test_the_old_runtimes_really_would_have_read_it(tmp_path: Path, version: str) -> None:
    """Without this the test above could pass for a corpus that harms nobody."""
    files = outside(tmp_path)
    said = ask(BARE, version, *files.values())
    read = {name for name, path in files.items() if said[str(path)] == SECRET.tolist()}
    assert read >= READ_BY_OLD


def test_the_present_runtime_refuses_it_by_itself(tmp_path: Path) -> None:
    version = importlib.metadata.version("onnxruntime")
    if tuple(map(int, version.split(".")[:3])) < (1, 24, 1):
        pytest.skip(
            f"onnxruntime {version} does not; a board with Python 3.10 has no newer one: there the scan does"
        )
    files = outside(tmp_path)
    said = ask(BARE, "", *files.values())
    assert not [name for name, path in files.items() if said[str(path)] == SECRET.tolist()]
