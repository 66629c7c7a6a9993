"""Hides the agent's folder from this process, its own release aside, and lets it write only where it must.

Linux's Landlock, which needs no rights; the numbers are those of include/uapi/linux/landlock.h. Nothing of EdgeStudio
is imported, so that the walls stand before anything else runs. Run as a program it tries on itself and says what held.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_ABI_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FIRST_RIGHTS = (1 << 13) - 1
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_DEVICES = ("/dev", "/proc")
"""Read and written: drivers of cameras and accelerators need it."""


class _Attributes(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def hide_files(hidden: Iterable[str], readable: Iterable[str], writable: Iterable[str]) -> str:
    """Hide the folders `hidden` but for `readable`, and let this process write to `writable` and devices alone.

    "" when that holds, else why not. `no_new_privs` must be set before; what is open already stays open.
    """
    if sys.platform != "linux":
        return "this system has no Landlock"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_ABI_VERSION))
    if version < 1:
        return f"this kernel has no Landlock for the agent's user ({os.strerror(ctypes.get_errno())})"
    handled = _FIRST_RIGHTS | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    attributes = _Attributes(handled)
    rules = libc.syscall(
        _CREATE, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), ctypes.c_uint32(0)
    )
    if rules < 0:
        return f"Landlock could not be used ({os.strerror(ctypes.get_errno())})"
    try:
        _allow(libc, rules, "/", _READ_DIR)  # names are no secret, and an import looks for them
        away = {os.path.realpath(folder) for folder in hidden}
        for path in (*_around(away, "/"), *readable):
            _allow(libc, rules, path, _READ)
        for path in (*_DEVICES, *writable):
            _allow(libc, rules, path, handled)
        if libc.syscall(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0)) != 0:
            return f"Landlock could not be used ({os.strerror(ctypes.get_errno())})"
    finally:
        os.close(rules)
    return ""


def _around(hidden: Collection[str], folder: str) -> Iterator[str]:
    """What is beneath `folder` without `hidden`, in as few paths as can be: a rule can give, but never take away.

    Links are left out: a rule would hold for what they lead to, and that may be above what is hidden.
    """
    if not any(_is_beneath(each, folder) for each in hidden):
        yield folder
        return
    with contextlib.suppress(OSError):  # what cannot be listed cannot be given
        for name in os.listdir(folder):  # noqa: PTH208 - strings all the way
            path = f"{folder.rstrip('/')}/{name}"
            if path not in hidden and not os.path.islink(path):  # noqa: PTH114
                yield from _around(hidden, path)


def _is_beneath(path: str, folder: str) -> bool:
    return path.startswith(f"{folder.rstrip('/')}/")


def _allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    """Give `rights` beneath `path`; what is not there needs no rule."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        given = rights if os.path.isdir(path) else rights & _OF_FILES  # noqa: PTH112 - strings all the way
        rule = _Beneath(given, handle)
        libc.syscall(
            _ADD_RULE,
            ctypes.c_int(rules),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
    finally:
        os.close(handle)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
    sys.stdout.write(json.dumps({"reason": hide_files((), (), ())}))
