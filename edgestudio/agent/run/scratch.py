"""The folder for the moment that each model's process has: made by it, removed by its agent, or by the next one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

_NAME = re.compile(r"edgestudio-model-([1-9][0-9]{0,9})")
_held: list[int] = []


def scratch_of(pid: int) -> Path:
    """Where the process may keep what a library wants to write; whoever started it removes it."""
    return Path(tempfile.gettempdir()) / f"edgestudio-model-{pid}"


def take_scratch() -> Path | None:
    """Make this process's folder and let its libraries use it; None where there can be none.

    It is locked for as long as the process lives, so that nobody takes it for one that was left behind, whatever
    numbers processes have where he looks from.
    """
    folder = scratch_of(os.getpid())
    try:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:  # of a process before, which had the same number
            _remove_abandoned(folder)
            folder.mkdir(mode=0o700)
        handle = _opened(folder)
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return None
    _held.append(handle)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    return folder


def sweep_scratch() -> int:
    """Remove what the processes of agents left behind that were killed together with them; how many folders.

    Only folders of this user whose process is gone. In a folder that everybody may write to, no link is followed and
    nobody else's is touched.
    """
    swept = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(tempfile.gettempdir()):
            named = _NAME.fullmatch(entry.name)
            if named is None or _is_running(int(named[1])):
                continue
            with contextlib.suppress(OSError):
                swept += _remove_abandoned(Path(entry.path))
    return swept


def _remove_abandoned(folder: Path) -> bool:
    handle = _opened(folder)
    try:
        found = os.fstat(handle)
        if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False  # its process lives, under a number that means nothing here
        shutil.rmtree(folder)  # follows no links, wherever they are (`shutil.rmtree.avoids_symlink_attacks`)
        return True
    finally:
        os.close(handle)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
