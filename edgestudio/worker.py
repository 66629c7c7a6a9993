"""The child process of one job: reads a request, runs it, writes JSON-line events, ends."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import json
import math
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from edgestudio import __version__
from edgestudio.studio.jobs.kinds import KINDS, JobKind
from edgestudio.wire.errors import EdgeStudioError, InputError

# A worker speaks at most this often about the same phase; nobody reads faster.
_PHASE_INTERVAL_S = 0.05
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PARENT_GONE = 3
# What a job's request says about its files and its target.
_TOLD = ("path", "a", "b", "data", "pipeline", "target")
_MOST_LINES = 16
_LONGEST_CAUSE = 500
_EARLY = (
    "edgestudio.model.inspection",
    "edgestudio.model.formats.onnx_sketch",
    "edgestudio.model.formats.onnx",
)


class Pipe:
    """Events to the studio, one JSON object a line; the `Progress` that entry points are given."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._phase = ""
        self._phase_time = 0.0
        self._is_over = False

    def phase(self, name: str, fraction: float | None = None) -> None:
        """Enter or advance a phase."""
        now = time.monotonic()
        is_same = name == self._phase
        if is_same and now - self._phase_time < _PHASE_INTERVAL_S and fraction != 1.0:
            return
        self._phase, self._phase_time = name, now
        self._send({"event": "phase", "name": name, "fraction": fraction})

    def log(self, line: str) -> None:
        """Add a line to the job's log."""
        self._send({"event": "log", "line": line})

    def partial(self, key: str, value: Any) -> None:
        """Publish an early part of the result."""
        self._send({"event": "partial", "key": key, "value": value})

    def end(self, event: Mapping[str, Any]) -> None:
        """Send the one terminal event; anything after it is dropped."""
        self._send(event, is_last=True)

    def _send(self, event: Mapping[str, Any], *, is_last: bool = False) -> None:
        try:
            line = json.dumps(event, default=_plain, allow_nan=False)
        except ValueError:
            line = json.dumps(_without_nan(json.loads(json.dumps(event, default=_plain))), allow_nan=False)
        with self._lock:
            if self._is_over:
                return
            self._is_over = is_last
            self._stream.write(line + "\n")
            self._stream.flush()


def main(kinds: Mapping[str, JobKind] = KINDS, *, is_early: bool = False) -> int:
    """Run the one job that stdin asks for; 0 when it was done, or never came, 1 when it failed.

    Started early, before there is a job, it imports meanwhile what opening a model takes.
    """
    pipe = Pipe(_move_stdout_aside())
    cut_off_network()  # first: a user namespace can only be entered while there is one thread
    if is_early:
        for module in _EARLY:
            importlib.import_module(module)
    line = sys.stdin.buffer.readline()
    if not line and is_early:
        return 0
    threading.Thread(target=_end_with_studio, name="studio-watch", daemon=True).start()
    request: dict[str, Any] = {}
    try:
        request = json.loads(line)
        spec = kinds[request["kind"]]
        _limit(spec)
        result = _entry(spec)(request["params"], Path(request["out_dir"]), pipe)
        pipe.end({"event": "done", "result": result})
    except BaseException as error:  # noqa: BLE001  whatever ends the job is reported, then the process ends
        pipe.end(_failure(error, request))
        return 1
    return 0


def _entry(spec: JobKind) -> Callable[..., dict[str, Any]]:
    module, _, function = spec.entry.partition(":")
    try:
        entry: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise InputError(
            f"“{spec.title}” is not part of this installation.",
            hint="Install EdgeStudio again.",
            code="unavailable",
        ) from error
    return entry


def _move_stdout_aside() -> TextIO:
    """Keep the real stdout for events; what libraries print goes to stderr."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return events


def _end_with_studio() -> None:
    """Wait for stdin to close: the studio is gone or wants no more; end the whole group."""
    # Not through sys.stdin: a thread inside its lock would abort the interpreter's shutdown.
    while os.read(0, 4096):
        pass
    if hasattr(os, "getpgrp") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(_PARENT_GONE)


def _limit(spec: JobKind) -> None:
    if spec.niceness and hasattr(os, "nice"):
        os.nice(spec.niceness)
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = spec.memory_bytes if hard == resource.RLIM_INFINITY else min(spec.memory_bytes, hard)
    # macOS refuses a bound below what a process begins with; there the studio watches the memory in use.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def cut_off_network() -> bool:
    """Move this process into a network namespace of its own where the system allows; True when it did.

    A model's code or a library's download cannot leave then. Where it is not allowed, the environment that
    the studio gave (no proxies, libraries told to be offline) is what remains.
    """
    if not sys.platform.startswith("linux") or not hasattr(os, "fork"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    with contextlib.suppress(OSError):  # unmapped, it only looks as if nobody ran it
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    return True


def _failure(error: BaseException, request: Mapping[str, Any]) -> dict[str, Any]:
    """The terminal event: a refusal with what led to it, a bug with its stack."""
    known = _known(error)
    if known is not None:
        return {
            "event": "failed",
            "type": type(known).__name__,
            **known.as_dict(),
            "details": known.details or _circumstances(known.code, error, request),
        }
    return {
        "event": "failed",
        "type": "JobError",
        "code": "bug",
        "message": f"This is a bug: {type(error).__name__}: {error}",
        "hint": "Please report it with the details.",
        "details": "".join(traceback.format_exception(error)),
    }


def _circumstances(code: str, error: BaseException, request: Mapping[str, Any]) -> str:
    """What helps someone who looks into a refusal: its code, the job, its files, and what was caught beneath it."""
    lines = [f"Code: {code}", f"Job: {request.get('kind', 'unknown')}"]
    params = request.get("params") or {}
    lines += [f"{name}: {params[name]}" for name in _TOLD if isinstance(params.get(name), str)]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while cause is not None and len(lines) < _MOST_LINES:
        lines.append(f"Because: {type(cause).__name__}: {str(cause)[:_LONGEST_CAUSE]}".rstrip(": "))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    lines.append(f"EdgeStudio {__version__}, Python {platform.python_version()}, {sys.platform}")
    return "\n".join(lines)


def _known(error: BaseException) -> EdgeStudioError | None:
    """The error as one of the tree, when it is one or says as much."""
    if isinstance(error, EdgeStudioError):
        return error
    if isinstance(error, MemoryError):
        return InputError(
            "There is not enough memory for this job.",
            hint="Use a smaller model or less data.",
            code="memory",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return InputError("The disk is full.", hint="Free some space and try again.", code="disk-full")
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return InputError(f"{error.filename} does not exist.", code="no-file")
    if isinstance(error, PermissionError) and error.filename is not None:
        return InputError(
            f"{error.filename} may not be read.", hint="Check its permissions.", code="no-access"
        )
    return None


def _plain(value: Any) -> Any:
    """Numbers of NumPy and paths as JSON knows them."""
    if isinstance(value, Path):
        return str(value)
    convert = getattr(value, "tolist", None)
    if convert is not None:
        return convert()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot cross the pipe")


def _without_nan(value: Any) -> Any:
    """NaN and infinities as null, which is what JSON has for an unknown number."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
