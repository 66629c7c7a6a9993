"""Lists what an HDF5 file holds, in a child process with limits: the library hangs on some damaged files.

The C library believes sizes before it checks them and can loop for ever on a damaged heap, which nothing in the
same process can stop. The child sets its own limits, reads names, types, shapes and texts, and writes JSON.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from edgestudio.model.formats.archive import read_entry, stored_span
from edgestudio.model.formats.limited import LimitError, bound_self, run_limited
from edgestudio.wire.errors import ModelError

TIME_LIMIT_S = 4
"""Of processor time."""
_WALL_LIMIT_S = 30
"""A sound file must open on a busy machine as well, which gives the child a part of a processor."""
MEMORY_LIMIT_BYTES = 1 << 30
MAX_OBJECTS = 200_000
_ENDLESS = "reading it does not come to an end"
_DAMAGE = (
    ModelError,
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    MemoryError,
    zipfile.BadZipFile,
)
_TEXTS = ("model_config", "keras_version", "training_config", "backend")


class StoredArray(NamedTuple):
    """One data set: its path below the group of weights, element type, shape and stored bytes."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    offset: int | None = None
    """Where its bytes begin, lowest byte first and in one piece; None for one in chunks, compressed or not written."""
    source: str = ""
    """Its path inside of the file."""


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
    return _contents(json.loads(_child(shown, str(path), member)))


def read_array(path: Path, member: str, array: StoredArray) -> bytes:
    """The elements of one data set, lowest byte first, as the library unpacks them; raises ModelError when damaged."""
    if array.size_bytes > MEMORY_LIMIT_BYTES // 2:
        raise ModelError(
            f"{array.path} in {path.name} is {array.size_bytes >> 20} MB and compressed, too much to unpack.",
            hint="Save the model again without compression.",
            code="too-large",
        )
    if getattr(sys, "frozen", False):
        try:
            return _values(str(path), member, array.source)
        except _DAMAGE as error:
            raise _damaged(path.name, _reason(error)) from error
    return _child(path.name, str(path), member, array.source)


def _child(shown: str, *arguments: str) -> bytes:
    """What the child process writes for these arguments."""
    try:
        done = run_limited(
            "edgestudio.model.formats.hdf5", *arguments, wall_s=_WALL_LIMIT_S, memory_bytes=MEMORY_LIMIT_BYTES
        )
    except LimitError as error:
        raise _damaged(shown, _ENDLESS) from error
    if done.status != 0:
        lines = done.err.decode("utf-8", "replace").strip().splitlines()
        raise _damaged(shown, _ENDLESS if done.status < 0 or not lines else lines[-1][:200])
    return done.out


def _contents(document: dict[str, Any]) -> Contents:
    arrays = [
        StoredArray(name, dtype, tuple(shape), size, offset, name)
        for name, dtype, shape, size, offset in document["arrays"]
    ]
    return Contents(document["texts"], arrays, document["ranks"])


def _reason(error: BaseException) -> str:
    return str(error).strip("'\" ").split("\n")[0] or type(error).__name__


def _damaged(name: str, reason: str) -> ModelError:
    return ModelError(
        f"{name} is an HDF5 file that is cut short or damaged: {reason}.",
        hint="Fetch it again and compare its size or checksum with the source.",
        code="damaged-model",
    )


def _describe(file: Any) -> dict[str, Any]:
    import h5py

    arrays: list[tuple[str, str, list[int], int, int | None]] = []
    ranks: dict[str, int] = {}
    seen = 0

    def visit(path: str, item: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if isinstance(item, h5py.Dataset):
            if item.shape is None:  # a place without values
                return None
            is_plain = item.dtype.byteorder != ">" and item.external is None
            offset = item.id.get_offset() if is_plain else None
            arrays.append((path, _name(item), list(item.shape), int(item.nbytes), offset))
        else:
            names = _list(item.attrs.get("weight_names"))
            ranks.update({f"{path}/{name}": position for position, name in enumerate(names)})
        return True if seen > MAX_OBJECTS else None

    # Links to other files are not visited.
    file.visititems(visit)
    texts = {name: text for name in _TEXTS if (text := _text(file.attrs.get(name))) is not None}
    return {"texts": texts, "arrays": arrays, "ranks": ranks}


def _name(item: Any) -> str:
    """The element type; Keras stores bfloat16 as two opaque bytes and says so beside them."""
    said = _text(item.attrs.get("dtype"))
    return said if said == "bfloat16" else str(item.dtype.name)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _list(value: Any) -> list[str]:
    items = value.tolist() if hasattr(value, "tolist") else []
    return [_text(item) or str(item) for item in (items if isinstance(items, list) else [items])]


class _Part(io.RawIOBase):
    """A part of a file, as a file of its own."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._start, self._size, self._at = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(offset + (0, self._at, self._size)[whence], 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(min(len(view), self._size - self._at), 0)
        self._file.seek(self._start + self._at)
        data = self._file.read(count)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def _opened(path: str, member: str) -> Iterator[Any]:
    import h5py

    if not member:
        with h5py.File(path, "r") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        span = stored_span(archive, member)
        # What is packed can only be read from its start on, and HDF5 reads here and there: unpack it once.
        inside: Any = (
            _Part(Path(path), *span)
            if span
            else io.BytesIO(read_entry(archive, member, MEMORY_LIMIT_BYTES // 2))
        )
        with inside, h5py.File(inside, "r") as file:
            yield file


def _read(path: str, member: str) -> dict[str, Any]:
    with _opened(path, member) as file:
        return _describe(file)


def _values(path: str, member: str, name: str) -> bytes:
    with _opened(path, member) as file:
        values = file[name][()]
        return bytes(values.astype(values.dtype.newbyteorder("<")).tobytes())


def _main(path: str, member: str, name: str = "") -> int:
    """The child's side: JSON or the bytes of one data set on stdout, or what is wrong on stderr."""
    bound_self(TIME_LIMIT_S, MEMORY_LIMIT_BYTES)
    try:
        written = _values(path, member, name) if name else json.dumps(_read(path, member)).encode()
    except _DAMAGE as error:
        sys.stderr.write(_reason(error) + "\n")
        return 1
    sys.stdout.buffer.write(written)
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:4]))
