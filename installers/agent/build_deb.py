"""Builds a Debian package of the agent with all its dependencies inside: one file to copy to a board.

    python installers/agent/build_deb.py --arch arm64 --python 3.11 --out dist

The package is built on any machine: pip fetches the wheels of the board's architecture and Python version.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

CONTROL = """\
Package: edgestudio-agent
Version: {version}
Architecture: {architecture}
Maintainer: The EdgeStudio developers
Section: misc
Priority: optional
Depends: python3 (>= {python}), python3 (<< {next_python}), adduser
Description: Runs models on this board and takes signed updates from a paired EdgeStudio
 Installs models atomically with a health gate and rollback, and streams honest telemetry.
"""

POSTINST = """\
#!/bin/sh
set -e
if ! getent passwd edgestudio >/dev/null; then
    adduser --system --group --home /var/lib/edgestudio --shell /usr/sbin/nologin edgestudio
fi
install -d -m 0700 -o edgestudio -g edgestudio /var/lib/edgestudio
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable edgestudio-agent.service
    systemctl restart edgestudio-agent.service
fi
"""

PRERM = """\
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl stop edgestudio-agent.service || true; fi
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl disable edgestudio-agent.service || true; fi
"""

POSTRM = """\
#!/bin/sh
set -e
if [ "$1" = purge ]; then rm -rf /var/lib/edgestudio; fi
"""

LAUNCHER = """\
#!/bin/sh
PYTHONPATH=/opt/edgestudio-agent/lib PYTHONSAFEPATH=1 exec /usr/bin/python3 -m edgestudio.agent.main "$@"
"""


def version() -> str:
    """The project's version, as `edgestudio/__init__.py` states it."""
    match = re.search(r'__version__ = "([^"]+)"', (ROOT / "edgestudio" / "__init__.py").read_text("utf-8"))
    assert match is not None
    return match.group(1)


def build(architecture: str, python: str, out: Path, *, with_dependencies: bool = True) -> Path:
    """Build the package for Debian's `architecture` (amd64, arm64) and `python` ("3.11"); return its path."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        library = tree / "opt" / "edgestudio-agent" / "lib"
        library.mkdir(parents=True)
        _install_libraries(library, architecture, python, with_dependencies=with_dependencies)
        _write(tree / "usr" / "bin" / "edgestudio-agent", LAUNCHER, 0o755)
        unit = tree / "lib" / "systemd" / "system" / "edgestudio-agent.service"
        _write(unit, (HERE / "edgestudio-agent.service").read_text("utf-8"), 0o644)
        minor = int(python.split(".")[1])
        fields = {
            "version": version(),
            "architecture": architecture,
            "python": python,
            "next_python": f"3.{minor + 1}",
        }
        _write(tree / "DEBIAN" / "control", CONTROL.format(**fields), 0o644)
        for name, script in (("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)):
            _write(tree / "DEBIAN" / name, script, 0o755)
        package = out / f"edgestudio-agent_{version()}_{architecture}_py{python}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(package)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return package


def _install_libraries(library: Path, architecture: str, python: str, *, with_dependencies: bool) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = library.parent / "wheel"
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(HERE)],
        check=True,
    )
    wheel = next(wheels.glob("*.whl"))
    command = [*pip, "install", "--target", str(library), "--no-compile"]
    if with_dependencies:
        machine = MACHINES[architecture]
        for platform in ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014"):
            command += ["--platform", f"{platform}_{machine}"]
        command += [
            "--python-version",
            python,
            "--implementation",
            "cp",
            "--only-binary=:all:",
            f"{wheel}[default]",
        ]
    else:
        command += ["--no-deps", str(wheel)]
    subprocess.run(command, check=True)
    shutil.rmtree(wheels)
    shutil.rmtree(library / "bin", ignore_errors=True)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def main() -> int:
    """Parse the arguments, build, print the path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--arch", choices=sorted(MACHINES), required=True)
    parser.add_argument(
        "--python",
        default="3.11",
        help="the board's Python: Debian 12 3.11, Ubuntu 24.04 3.12, Debian 13 3.13",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    if shutil.which("dpkg-deb") is None:
        print(
            "error: dpkg-deb is not installed. Install the package dpkg.",
            file=sys.stderr,
        )
        return 2
    print(build(arguments.arch, arguments.python, arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
