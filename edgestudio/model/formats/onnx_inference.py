"""Has onnx infer the shapes of one model, within limits: it has none of its own, and some small files never end.

On Linux a copy of this process does it, which costs hundredths of a second and can be ended. Elsewhere a process
with threads and frameworks cannot be copied so: a Python of its own does it, watched from here, which takes half a
second to start. A bundle's program is no Python; there the limits of the job must do.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from edgestudio.model.formats.limited import LimitError, bound_self, run_limited

_SYSTEM: str = sys.platform
_CPU_S, _CPU_S_PER_MB = 5, 3
_WALL_PER_CPU = 4
"""A busy machine gives a process a part of a processor; one that waits for nothing is ended all the same."""
_MEMORY_BYTES, _MEMORY_PER_BYTE = 700 << 20, 60
_ENDLESS = "it takes more time or memory than any sound model needs"
_LONGEST_ANSWER = 4096


def infer(small: bytes) -> bytes:
    """The model without weights, with inferred shapes; raises ValueError saying why onnx has none."""
    with tempfile.TemporaryDirectory(prefix="edgestudio-shapes-") as folder:
        source, target = Path(folder, "in.onnx"), Path(folder, "out.onnx")
        source.write_bytes(small)
        said = _chosen()(source, target)
        if said:
            raise ValueError(said)
        return target.read_bytes()


def _chosen() -> Callable[[Path, Path], str]:
    """How this system keeps the library within limits."""
    if _SYSTEM == "linux":
        return _in_a_copy
    return _infer if getattr(sys, "frozen", False) else in_a_python


def in_a_python(source: Path, target: Path) -> str:
    """As `_infer`, in a Python of its own that is ended at its limits."""
    size = source.stat().st_size
    cpu_s = _CPU_S + _CPU_S_PER_MB * (size >> 20)
    try:
        done = run_limited(
            "edgestudio.model.formats.onnx_inference",
            str(source),
            str(target),
            str(cpu_s),
            wall_s=cpu_s * _WALL_PER_CPU,
            memory_bytes=_MEMORY_BYTES + _MEMORY_PER_BYTE * size,
        )
    except LimitError:
        return _ENDLESS
    return done.out.decode("utf-8", "replace") if done.status == 0 else _ENDLESS


def _infer(source: Path, target: Path) -> str:
    """By files, which keeps two copies of the graph out of the process; what is wrong, or nothing."""
    import onnx

    try:
        onnx.shape_inference.infer_shapes_path(str(source), str(target), strict_mode=False, data_prop=True)
    except MemoryError:
        return _ENDLESS
    except (
        onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, RuntimeError, TypeError,
    ) as error:  # fmt: skip
        return str(error).strip() or type(error).__name__
    return ""


def _in_a_copy(source: Path, target: Path) -> str:
    """As `_infer`, in a child that is ended at its limits."""
    import onnx  # noqa: F401  before the copy is made, so that the next one has it as well

    size = source.stat().st_size
    cpu_s = _CPU_S + _CPU_S_PER_MB * (size >> 20)
    answer, told = os.pipe()
    with warnings.catch_warnings():
        # Python warns of threads: those of a worker wait in a system call, and the child runs none of their code.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        _work_and_end(source, target, told, cpu_s, _MEMORY_BYTES + _MEMORY_PER_BYTE * size)
    os.close(told)
    said = b""
    try:
        with os.fdopen(answer, "rb") as stream:
            if select.select([stream], [], [], cpu_s * _WALL_PER_CPU)[0]:
                said = stream.read()
    finally:
        os.kill(
            child, signal.SIGKILL
        )  # it may have ended long since; until it is waited for, its number is its own
        _, status = os.waitpid(child, 0)
    return said.decode("utf-8", "replace") if os.waitstatus_to_exitcode(status) == 0 else _ENDLESS


def _work_and_end(source: Path, target: Path, told: int, cpu_s: int, memory_bytes: int) -> None:
    """The child's whole life: it leaves by `_exit`, so that nothing of its parent is ended with it."""
    status = 1
    try:
        _limit(cpu_s, memory_bytes)
        os.write(told, _infer(source, target).encode("utf-8", "replace")[-_LONGEST_ANSWER:])
        status = 0
    finally:
        os._exit(status)


def _limit(cpu_s: int, memory_bytes: int) -> None:
    """Bound processor time, and the memory that is added to what the parent has."""
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + memory_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    bound_self(int(sys.argv[3]), 1 << 62)
    sys.stdout.buffer.write(
        _infer(Path(sys.argv[1]), Path(sys.argv[2])).encode("utf-8", "replace")[-_LONGEST_ANSWER:]
    )
