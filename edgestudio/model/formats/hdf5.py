"""Lists what an HDF5 file holds, in a child process with limits: the library hangs on some damaged files.

The C library believes sizes before it checks them and can loop for ever on a damaged heap, which nothing in the
same process can stop. The child sets its own limits, reads names, types, shapes and texts, and writes JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from edgestudio.wire.errors import ModelError

TIME_LIMIT_S = 8
MEMORY_LIMIT_BYTES = 1 << 30
MAX_OBJECTS = 200_000
_ENDLESS = "reading it does not come to an end"
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, zipfile.BadZipFile)
_TEXTS = ("model_config", "keras_version", "training_config", "backend")


class StoredArray(NamedTuple):
    """One data set: its path inside of the file, element type, shape and stored bytes."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


class Contents(NamedTuple):
    """What a file holds: texts of the root, data sets, and the rank of each in its layer where that is stored."""

    texts: dict[str, str]
    arrays: list[StoredArray]
    ranks: dict[str, int]


def read_hdf5(path: Path, member: str = "") -> Contents:
    """What the HDF5 file, or the `member` of the zip archive at `path`, holds; raises ModelError when damaged."""
    shown = f"{member} in {path.name}" if member else path.name
    if getattr(sys, "frozen", False):
        # A bundle's program is no Python that could run a module; the job's own limits must do.
        try:
            return _contents(_read(str(path), member))
        except _DAMAGE as error:
            raise _damaged(shown, _reason(error)) from error
    command = [sys.executable, "-P", "-m", "edgestudio.model.formats.hdf5", str(path), member]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * TIME_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _damaged(shown, _ENDLESS) from error
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _damaged(shown, _ENDLESS if done.returncode < 0 or not lines else lines[-1][:200])
    return _contents(json.loads(done.stdout))


def _contents(document: dict[str, Any]) -> Contents:
    arrays = [StoredArray(name, dtype, tuple(shape), size) for name, dtype, shape, size in document["arrays"]]
    return Contents(document["texts"], arrays, document["ranks"])


def _reason(error: BaseException) -> str:
    return str(error).strip("'\" ").split("\n")[0] or type(error).__name__


def _damaged(name: str, reason: str) -> ModelError:
    return ModelError(
        f"{name} is an HDF5 file that is cut short or damaged: {reason}.",
        hint="Fetch it again and compare its size or checksum with the source.",
        code="damaged-model",
    )


def _limit() -> None:
    """Bound this process's memory and processor time, where the system can."""
    try:
        import resource
    except ImportError:  # Windows; the parent's clock is the limit there
        return
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_LIMIT_S, TIME_LIMIT_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


def _describe(file: Any) -> dict[str, Any]:
    import h5py

    arrays: list[tuple[str, str, list[int], int]] = []
    ranks: dict[str, int] = {}
    seen = 0

    def visit(path: str, item: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if isinstance(item, h5py.Dataset):
            arrays.append((path, str(item.dtype), list(item.shape or ()), int(item.nbytes)))
        else:
            names = _list(item.attrs.get("weight_names"))
            ranks.update({f"{path}/{name}": position for position, name in enumerate(names)})
        return True if seen > MAX_OBJECTS else None

    # Links to other files are not visited.
    file.visititems(visit)
    texts = {name: text for name in _TEXTS if (text := _text(file.attrs.get(name))) is not None}
    return {"texts": texts, "arrays": arrays, "ranks": ranks}


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _list(value: Any) -> list[str]:
    items = value.tolist() if hasattr(value, "tolist") else []
    return [_text(item) or str(item) for item in (items if isinstance(items, list) else [items])]


def _read(path: str, member: str) -> dict[str, Any]:
    import h5py

    if not member:
        with h5py.File(path, "r") as file:
            return _describe(file)
    with zipfile.ZipFile(path) as archive, archive.open(member) as inside, h5py.File(inside, "r") as file:
        return _describe(file)


def _main(path: str, member: str) -> int:
    """The child's side: JSON on stdout, or what is wrong on stderr."""
    _limit()
    try:
        sys.stdout.write(json.dumps(_read(path, member)))
    except _DAMAGE as error:
        sys.stderr.write(_reason(error) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:3]))
