"""`python -m benchmarks [NAME ...]` runs every benchmark, or those named, each in its own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Run the benchmarks and return how many failed."""
    folder = Path(__file__).parent
    known = sorted(
        p.stem
        for p in folder.glob("*.py")
        if not p.stem.startswith("_") and "def main(" in p.read_text("utf-8")
    )
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or known:
        print(f"== {name}", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=folder.parent).returncode != 0
        )
        print(flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
