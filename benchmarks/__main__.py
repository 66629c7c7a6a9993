"""`python -m benchmarks [--quick] [--first] [NAME ...]` runs every benchmark, or those named, each in its own process.

    --quick   fewer rounds and smaller sizes: minutes in place of an hour, with wider spreads
    --first   with real-time priority, where the system allows it, so that other programs on the machine do not
              count; not for graph_view, whose browsers would leave nobody else a turn

Each prints its baseline, how often it measured, the spread, and the ratio to the baseline of the same run. What a
benchmark does is said by `python -m pydoc benchmarks.NAME`; some take options of their own when they are started
alone, as `python -m benchmarks.graph_view --help` says.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

_NEVER_FIRST = {"graph_view"}


def main(arguments: list[str]) -> int:
    """Run the benchmarks and return how many failed."""
    folder = Path(__file__).parent
    known = sorted(p.stem for p in folder.glob("*.py") if "\ndef main(" in p.read_text("utf-8"))
    known.remove("__main__")
    flags = [argument for argument in arguments if argument.startswith("-")]
    names = [argument for argument in arguments if not argument.startswith("-")]
    if "--help" in flags or "-h" in flags:
        print(f"{__doc__}\nThere are: {', '.join(known)}")
        return 0
    unknown = [*(name for name in names if name not in known), *(set(flags) - {"--quick", "--first"})]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{time.strftime('%Y-%m-%d %H:%M')}, {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}, {os.cpu_count()} processors, load {load:.1f}\n"
    )
    failed = []
    for name in names or known:
        begun = time.monotonic()
        goes_first = "--first" in flags and name not in _NEVER_FIRST
        print(f"== {name}{' (real-time priority)' if goes_first else ''}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if "--quick" in flags else [])]
        try:
            done = subprocess.run(command, cwd=folder.parent, preexec_fn=_go_first if goes_first else None)
        except subprocess.SubprocessError:
            print("it cannot have that priority here", file=sys.stderr)
            failed.append(name)
            continue
        if done.returncode:
            failed.append(name)
        print(f"({time.monotonic() - begun:.0f} s)\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def _go_first() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
