"""Gathers the wheels that the agent needs on a board of any architecture and Python version, or checks that they exist.

python installers/agent/wheels.py --arch aarch64 --python 3.11 --out DIR   # all that a board without network needs
python installers/agent/wheels.py --check                                   # every supported board; fetches nothing
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ARCHITECTURES = ("x86_64", "aarch64")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# The oldest C library that ONNX Runtime's wheels run on is 2.28; boards have 2.35 (Ubuntu 22.04) or newer.
GLIBC = range(28, 16, -1)
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


class MissingWheelError(Exception):
    """pip found no set of wheels; its own words are the message."""


def requirements() -> list[str]:
    """What the agent needs with the runtimes that every board gets."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["onnx"], *extras["litert"]]


def target(architecture: str, python: str, *, pinned: bool = True) -> list[str]:
    """pip's arguments for a board that is not this machine, with the versions that were run together."""
    platforms = [f"manylinux_2_{minor}_{architecture}" for minor in GLIBC] + [f"manylinux2014_{architecture}"]
    arguments = ["--implementation", "cp", "--only-binary=:all:", "--python-version", python]
    for platform in platforms:
        arguments += ["--platform", platform]
    if pinned and python != "3.10":  # the pins are the desk's, which starts at 3.11
        arguments += ["--constraint", str(ROOT / "constraints.txt")]
    return arguments


def own_wheel(out: Path) -> Path:
    """Build the agent's own wheel into `out`."""
    built = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(HERE)]
    _pip(built)
    return next(out.glob("edgestudio_agent-*.whl"))


def gather(out: Path, architecture: str, python: str) -> Path:
    """Fill `out` with the agent's wheel, pip and every dependency; returns `out`. Raises MissingWheelError."""
    out.mkdir(parents=True, exist_ok=True)
    own_wheel(out)
    _pip(["download", "--dest", str(out), *target(architecture, python), *requirements()])
    # With pip among them, a board needs no package of its distribution but Python itself.
    _pip(["download", "--dest", str(out), "--no-deps", *target(architecture, python), "pip"])
    return out


def check(architecture: str, python: str) -> None:
    """Raise MissingWheelError unless every dependency has a ready wheel for such a board."""
    with tempfile.TemporaryDirectory() as nowhere:
        dry = ["install", "--dry-run", "--ignore-installed", "--target", nowhere]
        _pip([*dry, *target(architecture, python), *requirements()])


def _pip(arguments: list[str]) -> None:
    done = subprocess.run([*PIP, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR")
        ] or done.stderr.splitlines()
        raise MissingWheelError("\n".join(said[-3:]) or "pip failed without a word")


def main() -> int:
    """Parse the arguments, gather or check, print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="only ask whether all wheels exist, for every board"
    )
    parser.add_argument("--arch", choices=ARCHITECTURES, help="the board's `uname -m`")
    parser.add_argument("--python", choices=PYTHONS, help="the board's Python")
    parser.add_argument("--out", type=Path, help="folder to fill")
    options = parser.parse_args()
    if not options.check and not (options.arch and options.python and options.out):
        parser.error("name --arch, --python and --out, or --check")
    if not options.check:
        try:
            print(gather(options.out, options.arch, options.python))
        except MissingWheelError as failure:
            print(f"error: the wheels could not be gathered.\n{failure}", file=sys.stderr)
            return 3
        return 0
    status = 0
    for architecture in ARCHITECTURES:
        for python in PYTHONS:
            try:
                check(architecture, python)
                print(f"{architecture} Python {python}: all wheels exist")
            except MissingWheelError as failure:
                print(f"{architecture} Python {python}: a wheel is missing\n{failure}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
