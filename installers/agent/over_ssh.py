"""Puts the agent on a board over ssh, in one command on the desk; the board itself needs no network but the desk.

    python installers/agent/over_ssh.py pi@raspberrypi.local [--provision FILE] [--wheels DIR] [-o OPTION]...

Looks at the board, gathers the wheels that fit it, copies them with install.sh, and runs that there as root. Running it
again upgrades: the old agent serves until the new one has started, and comes back if it does not.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import wheels  # noqa: E402 - a neighbour, which lies in no package

NEEDED_MB = 200
SCRIPTS = ("install.sh", "back-off.sh", "edgestudio-agent.service")
MARK = "edgestudio looks:"
# One line each behind the mark, in this order: a board's shell may greet first.
# Its root may be read-only or full; its temporary folder decides.
LOOK = f"""
echo '{MARK}'
uname -m
python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none
df -Pk "${{TMPDIR:-/tmp}}" | awk 'NR == 2 {{ print int($4 / 1024) }}'
if [ "$(id -u)" = 0 ]; then echo root; elif command -v sudo >/dev/null; then echo sudo; else echo neither; fi
"""


class RefusedError(Exception):
    """It cannot go on: the message says what and why, the second argument what to do."""


def address(given: str) -> tuple[str, str]:
    """(USER@HOST, port or "") of a board as ssh takes it, also as `ssh://USER@HOST:PORT`, which scp does not take."""
    if not given.startswith("ssh://"):
        return given, ""
    parts = urllib.parse.urlsplit(given)
    try:
        host, port = parts.hostname or "", str(parts.port or "")
    except ValueError:
        host, port = "", ""
    if not host or parts.path.strip("/"):
        raise RefusedError(f"{given} is no board.", "Name it as ssh takes it: USER@BOARD")
    return f"{parts.username}@{host}" if parts.username else host, port


class Board:
    """One board behind ssh; every call shares one connection, so that a password is asked for once."""

    def __init__(self, name: str, options: list[str], scratch: Path) -> None:
        self.name, port = address(name)
        options = [*options, *([f"Port={port}"] if port else [])]
        shared = ["-o", "ControlMaster=auto", "-o", f"ControlPath={scratch}/link", "-o", "ControlPersist=60"]
        self._options = [*(part for option in options for part in ("-o", option)), *shared]

    def look(self) -> tuple[str, str, str]:
        """The board's architecture, Python and way to become root; raises RefusedError where it cannot be used."""
        done = self._run(["ssh", *self._options, self.name, "sh -s"], script=LOOK, capture=True)
        if done.returncode == 255:
            raise RefusedError(
                f"{self.name} could not be reached over ssh; its own words are above.",
                f"It must answer: ssh {self.name} true",
            )
        said = done.stdout.rpartition(MARK)[2].split()
        if done.returncode != 0 or len(said) != 4:
            raise RefusedError(f"{self.name} answers, but is no Linux board.", "It needs sh, df and Python.")
        architecture, python, free_mb, root = said
        if architecture not in wheels.ARCHITECTURES:
            raise RefusedError(
                f"{self.name} is {architecture}; the agent runs on 64-bit x86-64 and aarch64.",
                "Install a 64-bit operating system on it.",
            )
        if python not in wheels.PYTHONS:
            has = "no Python" if python == "none" else f"Python {python}"
            raise RefusedError(
                f"{self.name} has {has}; the agent runs on Python {wheels.PYTHONS[0]} to {wheels.PYTHONS[-1]}.",
                "Debian 12, Ubuntu 22.04 and newer have it: apt-get install python3",
            )
        if int(free_mb) < NEEDED_MB:
            raise RefusedError(
                f"{self.name} has {free_mb} MB free for temporary files; {NEEDED_MB} are needed.",
                "Make room there.",
            )
        if root == "neither":
            raise RefusedError(
                f"{self.name} lets you become root by no means.", "Install sudo, or log in as root."
            )
        return architecture, python, root

    def install(self, folder: Path, root: str, arguments: list[str]) -> int:
        """Copy `folder` and run its install.sh as root; returns that script's status."""
        made = self._run(["ssh", *self._options, self.name, "mktemp -d"], capture=True)
        remote = (made.stdout.split() or [""])[-1]
        if made.returncode != 0 or not remote.startswith("/"):
            raise RefusedError(f"{self.name} could not make a temporary folder.", "Look at its disk.")
        try:
            copied = self._run(
                ["scp", "-q", *self._options, *map(str, folder.iterdir()), f"{self._for_scp()}:{remote}/"]
            )
            if copied.returncode != 0:
                raise RefusedError(
                    f"The files could not be copied to {self.name}.", "Its own words are above."
                )
            words = " ".join(argument.replace("@", remote, 1) for argument in arguments)
            terminal = ["-t"] if sys.stdin.isatty() else []
            become = "sudo " if root == "sudo" else ""
            command = f"{become}sh {remote}/install.sh {words}"
            installing = ["ssh", "-q", *terminal, *self._options, self.name, command]
            return self._run(installing, asks=bool(terminal)).returncode
        finally:
            self._run(["ssh", *self._options, self.name, f"rm -rf {remote}"])

    def _for_scp(self) -> str:
        """The board as scp takes it, to which a colon ends a name: IPv6 addresses stand in brackets."""
        user, at, host = self.name.rpartition("@")
        return f"{user}{at}[{host}]" if ":" in host else self.name

    def leave(self) -> None:
        """Close the shared connection."""
        self._run(["ssh", "-q", *self._options, "-O", "exit", self.name])

    @staticmethod
    def _run(
        command: list[str], *, script: str | None = None, capture: bool = False, asks: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run with `script` as standard input; `asks` leaves the terminal to it, for a password."""
        given = {} if asks else {"input": script or ""}
        return subprocess.run(
            command, text=True, check=False, stdout=subprocess.PIPE if capture else None, **given
        )


def put(board: str, options: list[str], provision: Path | None, given: Path | None) -> int:
    """Install or upgrade the agent on `board`; returns the installer's status.

    `given` is a folder that was filled before, for a desk without network. Raises RefusedError, MissingWheelError.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        there = Board(board, options, scratch)
        try:
            architecture, python, root = there.look()
            print(f"{board}: {architecture}, Python {python}", flush=True)
            folder = scratch / "copied"
            folder.mkdir()
            if given is None:
                print("gathering what it needs", flush=True)
                wheels.gather(folder, architecture, python)
            else:
                for wheel in given.glob("*.whl"):
                    shutil.copy(wheel, folder)
            for script in SCRIPTS:
                shutil.copy(HERE / script, folder)
            # "@" stands for the folder on the board, which is known only there.
            arguments = ["--wheels", "@"]
            if provision is not None:
                shutil.copy(provision, folder / "provision.in")
                (folder / "provision.in").chmod(0o600)
                arguments += ["--provision", "@/provision.in"]
            size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            print(f"copying {size_mb:.0f} MB and installing", flush=True)
            return there.install(folder, root, arguments)
        finally:
            there.leave()


def main() -> int:
    """Parse the arguments, install, say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("board", metavar="USER@BOARD", help="as ssh takes it")
    parser.add_argument(
        "--provision", type=Path, metavar="FILE", help="the board starts paired, by this file"
    )
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", help="a folder that wheels.py filled, for a desk offline"
    )
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="OPTION",
                        help="an option for ssh, such as -o Port=2222 or -o IdentityFile=KEY")  # fmt: skip
    options = parser.parse_args()
    try:
        if options.board.startswith("-"):
            raise RefusedError(f"{options.board} is no board.", "Name it as ssh takes it: USER@BOARD")
        if options.provision is not None and not options.provision.is_file():
            raise RefusedError(
                f"There is no file {options.provision}.", "Make one: edgestudio provision FILE --name NAME"
            )
        if options.wheels is not None and not list(options.wheels.glob("edgestudio_agent-*.whl")):
            raise RefusedError(
                f"{options.wheels} holds no agent.",
                "Fill it: python installers/agent/wheels.py --arch ARCH --python 3.x --out DIR",
            )
        if not (shutil.which("ssh") and shutil.which("scp")):
            raise RefusedError(
                "ssh and scp are not installed here.", "Debian and Ubuntu: apt-get install openssh-client"
            )
        return put(options.board, options.options, options.provision, options.wheels)
    except RefusedError as refused:
        print(f"error: {refused.args[0]}\n       {refused.args[1]}", file=sys.stderr)
    except wheels.MissingWheelError as failure:
        print(f"error: the wheels for this board could not be gathered.\n{failure}", file=sys.stderr)
    return 3


if __name__ == "__main__":
    sys.exit(main())
