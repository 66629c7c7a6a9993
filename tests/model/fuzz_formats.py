"""Mutates model files and inspects each: every one must end in a result or a ModelError, in bounded time.

    python tests/model/fuzz_formats.py [COUNT] [SEED] FILE...

Files are mutated in a temporary folder. Prints a line for each failure, and ends with 1 when there was one.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from itertools import islice
from pathlib import Path

from edgestudio.model.detect import detect
from edgestudio.model.inspection import inspect_file
from edgestudio.model.statistics import describe
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.errors import ModelError

SLOW_S = 10.0
_WEIGHTS = 6
_INTERESTING = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x0A, 0x12, 0x3A, 0x28, 0x2E)


def mutated(data: bytes, random_: random.Random) -> bytes:
    """A damaged copy: bytes flipped, cut off, cut out, doubled, or numbers overwritten."""
    out = bytearray(data)
    kind = random_.randrange(6)
    if not out:
        return bytes(out)
    if kind == 0:
        for _ in range(random_.randrange(1, 9)):
            out[random_.randrange(len(out))] = random_.randrange(256)
    elif kind == 1:
        del out[random_.randrange(len(out)) :]
    elif kind == 2:
        start = random_.randrange(len(out))
        del out[start : start + random_.randrange(1, 65)]
    elif kind == 3:
        start = random_.randrange(len(out))
        out[start:start] = out[start : start + random_.randrange(1, 257)]
    elif kind == 4:
        for _ in range(random_.randrange(1, 5)):
            out[random_.randrange(len(out))] = random_.choice(_INTERESTING)
    else:
        start = random_.randrange(max(len(out) - 8, 1))
        width = random_.choice((2, 4, 8))
        out[start : start + width] = random_.randrange(256**width).to_bytes(width, "little")
    return bytes(out)


def damage(source: Path, folder: Path, random_: random.Random) -> Path:
    """A mutated copy of a model file, or of a folder with one of its files mutated."""
    target = folder / source.name
    if source.is_dir():
        shutil.copytree(source, target)
        for item in target.rglob("*"):
            item.chmod(0o755 if item.is_dir() else 0o644)
        files = sorted(
            item for item in target.rglob("*") if item.is_file() and item.stat().st_size < 4_000_000
        )
        victim = random_.choice(files)
    else:
        shutil.copyfile(source, target)
        victim = target
    # Structure is at both ends of most formats; most mutations should hit it and not the weights.
    data = victim.read_bytes()
    if len(data) > 4096 and random_.random() < 0.6:
        data = (
            mutated(data[:4096], random_) + data[4096:]
            if random_.random() < 0.5
            else data[:-4096] + mutated(data[-4096:], random_)
        )
    else:
        data = mutated(data, random_)
    victim.write_bytes(data)
    return target


def _read_weights(path: Path) -> None:
    """Describe some weights, as the window does on demand; a format without any is no failure."""
    if detect(path).format == "tensorrt":
        return
    for load in islice(weight_loaders(path).values(), _WEIGHTS):
        values = load()
        if values is not None and values.dtype.kind in "biuf":
            describe(values)


def attempt(source: Path, random_: random.Random) -> tuple[str, str]:
    """Mutate and inspect once: `(outcome, detail)`, outcome "result", "refused" or "failed"."""
    with tempfile.TemporaryDirectory() as folder:
        path = damage(source, Path(folder), random_)
        started, spent = time.monotonic(), 0.0
        try:
            inspect_file(path)
            spent = time.monotonic() - started
            _read_weights(path)
            outcome, detail = "result", ""
        except ModelError as error:
            outcome, detail = (
                ("refused", "") if error.message and error.hint else ("failed", f"no hint: {error.message}")
            )
        except Exception:
            outcome, detail = "failed", traceback.format_exc()
        spent = spent or time.monotonic() - started
        if spent > SLOW_S:
            outcome, detail = "failed", f"took {spent:.1f} s"
        return outcome, detail


def main(arguments: list[str]) -> int:
    """Run; see the module's docstring."""
    numbers = [int(text) for text in arguments if text.isdigit()]
    count, seed = (numbers + [1000, 1][len(numbers) :])[:2]
    files = [Path(text) for text in arguments if not text.isdigit()]
    outcomes: Counter[str] = Counter()
    seen: set[str] = set()
    for number in range(count):
        source = files[number % len(files)]
        random_ = random.Random(seed * 1_000_003 + number)
        outcome, detail = attempt(source, random_)
        outcomes[outcome] += 1
        if outcome == "failed" and detail[-400:] not in seen:
            seen.add(detail[-400:])
            sys.stdout.write(f"{number} {source.name}: {detail}\n")
    sys.stdout.write(f"{dict(outcomes)} of {count}\n")
    return 1 if outcomes["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
