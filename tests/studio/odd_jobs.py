"""Jobs that misbehave in every way that a real one can, run by a real worker process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from edgestudio import worker
from edgestudio.studio.jobs.kinds import GIB, JobKind
from edgestudio.wire.errors import ModelError

NAMES = (
    "count", "refuse", "refuse_because", "bug", "segv", "stubborn", "sleep", "noisy", "write", "hungry",
    "silent_exit", "nan", "orphan", "network", "who", "grown",
)  # fmt: skip
KINDS = {name: JobKind(f"odd_jobs:{name}", name.title(), 4 * GIB, 60) for name in NAMES}
KINDS["light"] = JobKind("odd_jobs:sleep", "Light", 4 * GIB, 60, "light")


def count(params, out_dir, progress):
    for i in range(params["n"]):
        progress.phase(f"step {i}", (i + 1) / params["n"])
        progress.log(f"line {i}")
    progress.partial("half", params["n"] // 2)
    return {"n": params["n"]}


def refuse(params, out_dir, progress):
    raise ModelError("This is no model.", hint="Give a model.", code="odd")


def refuse_because(params, out_dir, progress):
    try:
        try:
            {}["header"]
        except KeyError as missing:
            raise ValueError("it ends at byte 7") from missing
    except ValueError as short:
        raise ModelError("This is no model.", hint="Give a model.", code="odd") from short


def bug(params, out_dir, progress):
    raise ZeroDivisionError("unlucky")


def segv(params, out_dir, progress):
    print("last words", flush=True)  # noqa: T201  as a library would
    ctypes.string_at(0)


def stubborn(params, out_dir, progress):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    progress.partial("pid", os.getpid())
    time.sleep(60)


def who(params, out_dir, progress):
    return {"pid": os.getpid(), "nice": os.nice(0)}


def sleep(params, out_dir, progress):
    progress.partial("pid", os.getpid())
    time.sleep(params.get("s", 60))
    return {}


def noisy(params, out_dir, progress):
    print('{"event": "done", "result": {"from": "print"}}', flush=True)  # noqa: T201  as a library would
    os.write(1, b"garbage on the descriptor\n")
    subprocess.run([sys.executable, "-c", "print('a child talks')"], check=True)
    os.write(2, b"x" * 300_000)
    return {"from": "job", "big": "y" * 1_000_000}


def write(params, out_dir, progress):
    (out_dir / "made.bin").write_bytes(b"content")
    return {"artifact": out_dir / "made.bin"}


def hungry(params, out_dir, progress):
    return {"n": len(bytearray(8 * GIB))}


def grown(params, out_dir, progress):
    filled = bytearray(b"x") * (params["mib"] << 20)
    progress.partial("pid", os.getpid())
    time.sleep(params["s"])
    return {"n": len(filled)}


def silent_exit(params, out_dir, progress):
    sys.stderr.write("leaving\n")
    sys.stderr.flush()
    os._exit(7)


def nan(params, out_dir, progress):
    return {"value": float("nan"), "inner": [float("inf"), 1.0]}


def orphan(params, out_dir, progress):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    return {"pid": child.pid}


def network(params, out_dir, progress):
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return {"interfaces": [line.split(":")[0].strip() for line in lines]}


if __name__ == "__main__":
    raise SystemExit(worker.main(KINDS, is_early="--ready" in sys.argv))
