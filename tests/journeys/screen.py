"""A virtual X screen of our own: started on a free display number, ended by its process id."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class ScreenUnavailableError(RuntimeError):
    """Xvfb or xdotool is not installed, or does not start."""


@contextmanager
def virtual_screen(size: str = "1600x1000") -> Iterator[str]:
    """Start Xvfb with one screen of `size` (WIDTHxHEIGHT) and yield its DISPLAY; it ends with the block."""
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            raise ScreenUnavailableError(
                f"{program} is not installed (Debian and Ubuntu: apt-get install xvfb xdotool)"
            )
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write_end), "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=(write_end,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise ScreenUnavailableError(f"Xvfb ended at once with exit code {server.wait(10)}")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(10)
