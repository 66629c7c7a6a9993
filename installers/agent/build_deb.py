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

import debian_files  # noqa: E402 - neighbours, which lie in no package
import wheels  # noqa: E402
from debian_files import DEBIAN, write  # noqa: E402

ROOT = wheels.ROOT
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
PREFIX = Path("opt") / "edgestudio-agent"

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
    architecture: str, python: str, out: Path, *, with_dependencies: bool = True, revision: str = "1"
) -> Path:
    """Build the package for Debian's `architecture` (amd64, arm64) and `python` ("3.11"); return its path.

    `revision` is Debian's part of the version, for another build of the same sources.
    """
    out.mkdir(parents=True, exist_ok=True)
    full_version = f"{version()}-{revision}"
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        library = tree / PREFIX / "lib"
        _install_libraries(library, architecture, python, with_dependencies=with_dependencies)
        debian_files.tidy(library)
        debian_files.add_documents(tree, full_version, library)
        write(tree / PREFIX / "back-off.sh", (HERE / "back-off.sh").read_text("utf-8"), 0o755)
        write(tree / "usr" / "bin" / "edgestudio-agent", LAUNCHER, 0o755)
        unit = tree / "lib" / "systemd" / "system" / "edgestudio-agent.service"
        write(unit, (HERE / "edgestudio-agent.service").read_text("utf-8"))
        for folder in tree.rglob("*/"):
            folder.chmod(0o755)  # pip's own are as the umask has it
        fields = {
            "version": full_version,
            "architecture": architecture,
            "maintainer": debian_files.maintainer(),
            "installed_kb": debian_files.add_sums(tree),
            "python": python,
            "next_python": f"3.{int(python.split('.')[1]) + 1}",
        }
        write(tree / "DEBIAN" / "control", (DEBIAN / "control").read_text("utf-8").format(**fields))
        for script in ("preinst", "postinst", "prerm", "postrm"):
            write(tree / "DEBIAN" / script, (DEBIAN / script).read_text("utf-8"), 0o755)
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
        "--revision", default="1", help="Debian's revision, for another build of these sources"
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
