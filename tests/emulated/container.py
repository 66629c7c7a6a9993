"""A board in a container: Debian with systemd as its first process, and a desk beside it on a network of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import psutil

DESK_ADDRESS, BOARD_ADDRESS = "10.77.1.1", "10.77.1.2"
BOOT_S = 60.0


class Container:
    """One boot of a copy of `system`'s root; `run` acts in it as root, `on_desk` prefixes a command of the desk."""

    def __init__(self, system: Path, scratch: Path) -> None:
        self.root = scratch / "root"
        self.key = system / "key"
        subprocess.run(
            ["cp", "-a", "--reflink=auto", str(system / "root"), str(self.root)], check=True, timeout=300
        )
        self._screen = scratch / "screen.txt"
        self._desk, self._board = f"esdesk{os.getpid()}", f"esboard{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._wire()
        self.boot()

    @property
    def on_desk(self) -> tuple[str, ...]:
        """What puts a command into the desk's network, where only the board is."""
        return ("ip", "netns", "exec", self._desk)

    def _wire(self) -> None:
        desk, board = self._desk, self._board
        for command in (
            f"netns add {desk}", f"netns add {board}",
            f"link add host0 netns {board} type veth peer name host0 netns {desk}",
            f"-n {desk} addr add {DESK_ADDRESS}/24 dev host0", f"-n {board} addr add {BOARD_ADDRESS}/24 dev host0",
            f"-n {desk} link set host0 up", f"-n {board} link set host0 up",
            f"-n {desk} link set lo up", f"-n {board} link set lo up",
        ):  # fmt: skip
            subprocess.run(["ip", *command.split()], check=True, timeout=30)

    def boot(self) -> None:
        """Start systemd in it, and wait until everything that it starts has started."""
        command = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe",
            f"--machine=board{os.getpid()}", f"--directory={self.root}",
            f"--network-namespace-path=/run/netns/{self._board}",
            # A board's kernel offers Landlock; the container's own filter of an older systemd does not know it.
            "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
        ]  # fmt: skip
        with self._screen.open("ab") as screen:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen)
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._screen.read_text(errors="replace")[-2000:]
            for child in psutil.Process(self._process.pid).children():
                self._leader = child.pid
                if self.run("systemctl", "is-system-running", "--wait").stdout.strip() in (
                    "running",
                    "degraded",
                ):
                    return
            time.sleep(0.2)
        raise AssertionError(
            "the container did not boot:\n" + self._screen.read_text(errors="replace")[-2000:]
        )

    def run(self, *command: str, timeout_s: float = 120, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in it as root, as a person at the board would."""
        enter = [
            "nsenter",
            f"--target={self._leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--root",
            "--wd",
        ]
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        return subprocess.run(
            [*enter, *command],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env=clean,
        )

    def show(self, *properties: str) -> dict[str, str]:
        """systemd's own view of the agent's unit."""
        names = ",".join(properties)
        said = self.run("systemctl", "show", "edgestudio-agent.service", f"--property={names}").stdout
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def journal(self) -> str:
        """What the agent and systemd wrote about it, from the boot on."""
        return self.run(
            "journalctl", "--unit=edgestudio-agent", "--no-pager", "--output=cat", "--boot"
        ).stdout

    def halt(self) -> None:
        """Shut it down as its power button would; its disk stays."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("systemctl", "poweroff", timeout_s=20)
            self._process.wait(40)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)
        self._process = None

    def end(self) -> None:
        """Shut it down, and leave neither network nor files behind."""
        self.halt()
        for name in (self._desk, self._board):
            subprocess.run(["ip", "netns", "delete", name], check=False, timeout=30)
        shutil.rmtree(self.root, ignore_errors=True)
