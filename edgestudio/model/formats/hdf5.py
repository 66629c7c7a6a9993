"""Lists the data sets of an HDF5 file by name, type and shape; links to other files are never followed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from edgestudio.wire.errors import ModelError

MAX_OBJECTS = 200_000


class StoredArray(NamedTuple):
    """One data set: its path inside of the file, element type, shape and stored bytes."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


_HEADROOM_BYTES = 512 << 20


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """Keep a damaged file from having gigabytes allocated: HDF5 believes the sizes in it before it checks them."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    wanted = used + _HEADROOM_BYTES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or wanted < soft:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def opened_hdf5(source: Path | IO[bytes], name: str) -> Iterator[Any]:
    """The h5py file; raises ModelError when it is damaged."""
    import h5py

    try:
        with _bounded_memory(), h5py.File(source, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        if isinstance(error, RecursionError):
            raise
        reason = str(error).strip("'\" ").split("\n")[0][:200]
        raise ModelError(
            f"{name} is an HDF5 file that is cut short or damaged: {reason}.",
            hint="Fetch it again and compare its size or checksum with the source.",
            code="damaged-model",
        ) from error


def arrays(group: Any) -> list[StoredArray]:
    """Every data set below the group, in the file's order of names."""
    import h5py

    found: list[StoredArray] = []
    seen = 0

    def visit(path: str, item: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if isinstance(item, h5py.Dataset):
            found.append(StoredArray(path, str(item.dtype), tuple(item.shape or ()), int(item.nbytes)))
        return True if seen > MAX_OBJECTS else None

    group.visititems(visit)
    return found


def text_attribute(group: Any, name: str) -> str | None:
    """A text attribute, None when it is absent."""
    value = group.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def text_list(group: Any, name: str) -> list[str]:
    """An attribute that lists texts, empty when it is absent."""
    value = group.attrs.get(name)
    if value is None or not hasattr(value, "tolist"):
        return []
    items = value.tolist()
    items = items if isinstance(items, list) else [items]
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in items]
