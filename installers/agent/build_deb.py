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
sys.path.insert(0, str(HERE))

import wheels  # noqa: E402 - a neighbour, which lies in no package

ROOT = wheels.ROOT
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
PREFIX = Path("opt") / "edgestudio-agent"

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

PREINST = """\
#!/bin/sh
set -e
if [ -e /etc/systemd/system/edgestudio-agent.service ] && [ -x /opt/edgestudio-agent/bin/python ]; then
    echo "edgestudio-agent was put here by install.sh. Remove that first: sh install.sh --remove (models stay)" >&2
    exit 1
fi
"""

# Compiled for the board's own Python: the agent may not write here, and would compile everything at each start.
POSTINST = """\
#!/bin/sh
set -e
if ! getent passwd edgestudio >/dev/null; then
    adduser --quiet --system --group --home /var/lib/edgestudio --shell /usr/sbin/nologin edgestudio
fi
# Firmware sensors and accelerators belong to these groups, where they exist.
for group in video render; do
    if getent group "$group" >/dev/null; then adduser --quiet edgestudio "$group"; fi
done
install -d -m 0700 -o edgestudio -g edgestudio /var/lib/edgestudio
/usr/bin/python3 -I -m compileall -q /opt/edgestudio-agent/lib >/dev/null || true
deb-systemd-helper unmask edgestudio-agent.service >/dev/null || true
if deb-systemd-helper --quiet was-enabled edgestudio-agent.service; then
    deb-systemd-helper enable edgestudio-agent.service >/dev/null || true
else
    deb-systemd-helper update-state edgestudio-agent.service >/dev/null || true
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    deb-systemd-invoke restart edgestudio-agent.service || \\
        echo "edgestudio-agent did not start: journalctl -u edgestudio-agent says why" >&2
fi
"""

# Not stopped for an upgrade: the old agent serves until the new one takes over.
PRERM = """\
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then deb-systemd-invoke stop edgestudio-agent.service || true; fi
if [ "$1" = remove ]; then find /opt/edgestudio-agent -name __pycache__ -type d -prune -exec rm -rf {} +; fi
"""

POSTRM = """\
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
if [ "$1" = remove ]; then deb-systemd-helper mask edgestudio-agent.service >/dev/null || true; fi
if [ "$1" = purge ]; then
    deb-systemd-helper purge edgestudio-agent.service >/dev/null || true
    deb-systemd-helper unmask edgestudio-agent.service >/dev/null || true
    rm -rf /var/lib/edgestudio /opt/edgestudio-agent
    if getent passwd edgestudio >/dev/null; then deluser --quiet --system edgestudio || true; fi
fi
"""

# Isolated: nothing from the folder in which somebody calls it is ever imported.
LAUNCHER = """\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/opt/edgestudio-agent/lib")
from edgestudio.agent.main import main

sys.exit(main())
"""


def version() -> str:
    """The project's version, as `edgestudio/__init__.py` states it."""
    match = re.search(r'__version__ = "([^"]+)"', (ROOT / "edgestudio" / "__init__.py").read_text("utf-8"))
    assert match is not None
    return match.group(1)


def build(
    architecture: str, python: str, out: Path, *, with_dependencies: bool = True, revision: str = ""
) -> Path:
    """Build the package for Debian's `architecture` (amd64, arm64) and `python` ("3.11"); return its path.

    `revision` is Debian's part of the version, for another build of the same sources.
    """
    out.mkdir(parents=True, exist_ok=True)
    full_version = f"{version()}-{revision}" if revision else version()
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        _install_libraries(tree / PREFIX / "lib", architecture, python, with_dependencies=with_dependencies)
        _write(tree / PREFIX / "back-off.sh", (HERE / "back-off.sh").read_text("utf-8"), 0o644)
        _write(tree / "usr" / "bin" / "edgestudio-agent", LAUNCHER, 0o755)
        unit = tree / "lib" / "systemd" / "system" / "edgestudio-agent.service"
        _write(unit, (HERE / "edgestudio-agent.service").read_text("utf-8"), 0o644)
        minor = int(python.split(".")[1])
        fields = {
            "version": full_version,
            "architecture": architecture,
            "python": python,
            "next_python": f"3.{minor + 1}",
        }
        _write(tree / "DEBIAN" / "control", CONTROL.format(**fields), 0o644)
        scripts = {"preinst": PREINST, "postinst": POSTINST, "prerm": PRERM, "postrm": POSTRM}
        for name, script in scripts.items():
            _write(tree / "DEBIAN" / name, script, 0o755)
        package = out / f"edgestudio-agent_{full_version}_{architecture}_py{python}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", str(tree), str(package)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return package


def _install_libraries(library: Path, architecture: str, python: str, *, with_dependencies: bool) -> None:
    library.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        chosen = ["--target", str(library), "--no-compile", "--no-index", "--find-links", scratch]
        if with_dependencies:
            wheels.gather(folder, MACHINES[architecture], python)
            chosen += [*wheels.target(MACHINES[architecture], python, pinned=False), *wheels.requirements()]
        else:
            wheels.own_wheel(folder)
            chosen.append("--no-deps")
        wheel = next(folder.glob("edgestudio_agent-*.whl"))
        subprocess.run([*wheels.PIP, "install", *chosen, str(wheel)], check=True)
    shutil.rmtree(library / "bin", ignore_errors=True)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def main() -> int:
    """Parse the arguments, build, print the path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", choices=sorted(MACHINES), required=True)
    parser.add_argument(
        "--python",
        choices=wheels.PYTHONS,
        default="3.11",
        help="the board's Python: Ubuntu 22.04 3.10, Debian 12 3.11, Ubuntu 24.04 3.12, Debian 13 3.13",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument(
        "--revision", default="", help="Debian's revision, for another build of these sources"
    )
    arguments = parser.parse_args()
    if shutil.which("dpkg-deb") is None:
        print(
            "error: dpkg-deb is not installed. Install the package dpkg.",
            file=sys.stderr,
        )
        return 2
    try:
        package = build(arguments.arch, arguments.python, arguments.out, revision=arguments.revision)
    except wheels.MissingWheelError as failure:
        print(f"error: the dependencies could not be gathered.\n{failure}", file=sys.stderr)
        return 3
    print(package)
    return 0


if __name__ == "__main__":
    sys.exit(main())
