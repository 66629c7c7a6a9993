"""The agent alone: its wheel holds three rooms and no more, asks for no Qt, and runs unpacked from its package."""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgestudio.agent.main import _parser

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


def test_package_says_what_debian_asks_of_one(package: Path) -> None:
    documents = package / "usr/share/doc/edgestudio-agent"
    assert "Apache-2.0" in (documents / "copyright").read_text("utf-8")
    assert "edgestudio-agent" in gzip.decompress((documents / "changelog.Debian.gz").read_bytes()).decode()
    assert gzip.decompress((documents / "changelog.gz").read_bytes()) == (ROOT / "CHANGELOG.md").read_bytes()
    page = gzip.decompress((package / "usr/share/man/man1/edgestudio-agent.1.gz").read_bytes()).decode()
    explained = set(re.findall(r"^\.BI? (--[a-z]+)", page.replace("\\-", "-"), re.M))
    offered = {option for action in _parser()._actions if action.help != argparse.SUPPRESS
               for option in action.option_strings if option.startswith("--")}  # fmt: skip
    assert explained == offered - {"--help"}
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    file = next(package.parent.glob("*.deb"))
    said = subprocess.run(
        ["lintian", "--fail-on", "none", str(file)], capture_output=True, text=True, check=True, timeout=90
    )
    # Overrides are for what the libraries bring, which this package is without.
    assert not [line for line in said.stdout.splitlines() if line.startswith(("E:", "W:"))]


def test_service_is_unprivileged_and_watched(package: Path) -> None:
    unit = (package / "lib" / "systemd" / "system" / "edgestudio-agent.service").read_text("utf-8")
    for line in (
        "User=edgestudio",
        "NoNewPrivileges=yes",
        "WatchdogSec=30",
        "Restart=always",
        "CapabilityBoundingSet=",
        "StartLimitIntervalSec=0",
        "OOMPolicy=continue",
    ):
        assert f"\n{line}\n" in unit


@pytest.fixture
def starts(tmp_path: Path) -> Callable[[], str]:
    """What the back-off says at the next start; the clock of its pauses is ours, the script and its file are real."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sleep").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin" / "sleep").chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "RUNTIME_DIRECTORY": str(tmp_path)}

    def start() -> str:
        command = ["sh", str(AGENT / "back-off.sh")]
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, timeout=20
        )
        return done.stdout

    return start


@pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="boards are Linux")
def test_pause_between_restarts_grows_to_a_minute_and_is_forgotten(
    starts: Callable[[], str], tmp_path: Path
) -> None:
    assert starts() == ""
    pauses = [re.findall(r"again in (\d+) s", starts()) for _ in range(7)]
    assert pauses == [["2"], ["4"], ["8"], ["16"], ["32"], ["60"], ["60"]]
    # A run of more than two minutes ended the row.
    deaths, last = (tmp_path / "starts").read_text().split()
    (tmp_path / "starts").write_text(f"{deaths} {int(last) - 121}\n")
    assert starts() == ""
    assert starts() != ""


@pytest.mark.skipif(shutil.which("ssh") is None, reason="the ssh client is not installed")
def test_board_that_does_not_answer_is_named_with_a_remedy(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        command = [
            sys.executable, str(AGENT / "over_ssh.py"), "nobody@127.0.0.1",
            "-o", f"Port={port}", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={tmp_path / 'known'}",
        ]  # fmt: skip
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 3
    assert "error: nobody@127.0.0.1 could not be reached over ssh" in done.stderr
    assert "It must answer: ssh nobody@127.0.0.1 true" in done.stderr


def test_installer_says_what_is_wrong_with_its_arguments(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the installer asks for root first")
    for arguments, said in (
        (["--wheels", str(tmp_path / "absent")], "--wheels needs a folder"),
        (["--provision", str(tmp_path / "absent")], "--provision needs a file"),
        (["--frobnicate"], "unknown option --frobnicate"),
    ):
        command = ["sh", str(AGENT / "install.sh"), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
        assert done.returncode == 2
        assert said in done.stderr


@pytest.mark.parametrize(
    ("given", "for_ssh", "for_scp", "port"),
    [
        ("pi@board.local", "pi@board.local", "pi@board.local:", ""),
        ("board", "board", "board:", ""),
        ("root@fe80::1%eth0", "root@fe80::1%eth0", "root@[fe80::1%eth0]:", ""),
        ("ssh://pi@board:2222", "pi@board", "pi@board:", "Port=2222"),
        ("ssh://pi@[::1]", "pi@::1", "pi@[::1]:", ""),
    ],
)
def test_a_board_is_named_to_ssh_and_scp_as_each_takes_it(
    tmp_path: Path, given: str, for_ssh: str, for_scp: str, port: str
) -> None:
    """Stand-ins for ssh and scp on the path: the board's shell greets first, as many do."""
    tools, calls = tmp_path / "bin", tmp_path / "calls"
    tools.mkdir()
    for name in ("ssh", "scp"):
        (tools / name).write_text(
            f"""#!/bin/sh
printf '%s ' {name} "$@" >>{calls}; echo >>{calls}
echo Welcome
case "$*" in
*"sh -s"*) sed 's/uname -m/echo x86_64/; s/echo neither/echo root/' | sh ;;
*mktemp*) echo {tmp_path}/there ;;
esac
"""
        )
        (tools / name).chmod(0o755)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "edgestudio_agent-1-py3-none-any.whl").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, str(AGENT / "over_ssh.py"), given, "--wheels", str(wheels)],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
    )  # fmt: skip
    said = calls.read_text()
    assert done.returncode == 0, done.stderr + said
    copied = next(line for line in said.splitlines() if line.startswith("scp"))
    assert copied.endswith(f" {for_scp}{tmp_path}/there/ ")
    assert f" {for_ssh} sh -s " in said
    assert all((port in line) if port else ("Port=" not in line) for line in said.splitlines())


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    for given in ("ssh://", "ssh://pi@board:port", "ssh://pi@board/folder", "-oProxyCommand=x"):
        done = subprocess.run(
            [sys.executable, str(AGENT / "over_ssh.py"), "--", given],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 3
        assert "is no board" in done.stderr
