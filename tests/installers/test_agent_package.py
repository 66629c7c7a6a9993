"""The agent alone: its wheel holds three rooms and no more, asks for no Qt, and runs unpacked from its package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "installers" / "agent"


def _dependencies(path: Path) -> list[str]:
    dependencies: list[str] = tomllib.loads(path.read_text("utf-8"))["project"]["dependencies"]
    return dependencies


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package without its dependencies, unpacked."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    folder = tmp_path_factory.mktemp("deb")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import build_deb, pathlib;"
        "print(build_deb.build('amd64', '3.11', pathlib.Path(sys.argv[2]), with_dependencies=False))"
    )
    command = [sys.executable, "-c", code, str(AGENT), str(folder)]
    built = subprocess.run(command, check=True, capture_output=True, text=True, timeout=110)
    subprocess.run(
        ["dpkg-deb", "-x", built.stdout.strip().splitlines()[-1], str(folder / "root")],
        check=True,
        timeout=60,
    )
    return folder / "root"


def test_agent_asks_for_a_subset_of_the_desks_dependencies() -> None:
    desk, board = _dependencies(ROOT / "pyproject.toml"), _dependencies(AGENT / "pyproject.toml")
    assert set(board) <= set(desk)
    assert not [name for name in board if re.match(r"(?i)pyside|pyqtgraph|onnx\b|coremltools|netron", name)]


def test_wheel_holds_the_rooms_of_the_board_only(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(AGENT),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=110)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    rooms = {name.split("/")[1] for name in names if name.startswith("edgestudio/")}
    assert rooms == {"__init__.py", "assets.py", "wire", "runtime", "agent"}


def test_package_runs_without_the_rest_of_the_project(package: Path, tmp_path: Path) -> None:
    library = package / "opt" / "edgestudio-agent" / "lib"
    probe = "import edgestudio.agent.main as m, edgestudio, sys; print(edgestudio.__path__[0]); m.main(['--help'])"
    site = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {**os.environ, "PYTHONPATH": f"{library}:{site}"}
    command = [sys.executable, "-S", "-c", probe]
    result = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert str(library) in result.stdout, result.stderr
    assert "--simulate" in result.stdout


def test_service_is_unprivileged_and_watched(package: Path) -> None:
    unit = (package / "lib" / "systemd" / "system" / "edgestudio-agent.service").read_text("utf-8")
    for line in (
        "User=edgestudio",
        "NoNewPrivileges=yes",
        "WatchdogSec=30",
        "Restart=on-failure",
        "CapabilityBoundingSet=",
    ):
        assert f"\n{line}\n" in unit
