"""Reads arrays from .npz, .npy and raw files: bounded, row by row, and never a pickle."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast, overload

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from edgestudio.wire.errors import RecipeError

MAX_ITEM_BYTES = 512 << 20
MAX_ROWS = 50_000_000


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool


class Rows:
    """The rows of one array inside an .npz; each iteration streams the file anew, one row in memory."""

    def __init__(self, path: Path, member: str, header: _Header) -> None:
        self._path, self._member, self._header = path, member, header

    def __len__(self) -> int:
        return self._header.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a single row."""
        return self._header.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        return self._header.dtype

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        row_bytes = math.prod(self.shape) * self.dtype.itemsize
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(self._member) as stream:
                _header(stream, self._member)
                for index in range(len(self)):
                    data = stream.read(row_bytes)
                    if len(data) != row_bytes:
                        raise RecipeError(f"{self._path.name} ends inside row {index} of {self._member[:-4]}")
                    yield np.frombuffer(data, self.dtype).reshape(self.shape).copy()
        except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            raise _damaged(self._path, error) from error
        except Exception as error:
            if error.__class__.__module__ == "zlib":
                raise _damaged(self._path, error) from error
            raise


@overload
def open_rows(path: Path, name: str, *, is_required: Literal[True] = True) -> Rows: ...
@overload
def open_rows(path: Path, name: str, *, is_required: bool) -> Rows | None: ...
def open_rows(path: Path, name: str, *, is_required: bool = True) -> Rows | None:
    """The array `name` of an .npz; None when it lacks one that is not required; RecipeError when unusable."""
    member = f"{name}.npy"
    try:
        with zipfile.ZipFile(path) as archive:
            if member not in archive.namelist():
                if not is_required:
                    return None
                inside = (
                    ", ".join(entry.removesuffix(".npy") for entry in archive.namelist()[:10]) or "nothing"
                )
                raise RecipeError(f"{path.name} has no array '{name}'", hint=f"It holds: {inside}.")
            with archive.open(member) as stream:
                header = _header(stream, name)
    except FileNotFoundError:
        raise RecipeError(f"there is no file {path}", hint="Check the path.", code="no-file") from None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    if not header.shape:
        raise RecipeError(f"'{name}' in {path.name} is a single number, not rows")
    if header.is_fortran and len(header.shape) > 1:
        raise RecipeError(
            f"'{name}' in {path.name} is stored by columns", hint="Save it with numpy.ascontiguousarray."
        )
    if header.shape[0] > MAX_ROWS or math.prod(header.shape[1:]) * header.dtype.itemsize > MAX_ITEM_BYTES:
        raise RecipeError(f"the rows of '{name}' in {path.name} are too large")
    return Rows(path, member, header)


def read_npy(path: Path) -> npt.NDArray[Any]:
    """A whole .npy file of at most 512 MiB; RecipeError when damaged, larger, or a pickle."""
    try:
        with path.open("rb") as stream:
            return _read_npy(stream, path.name)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, error) from error


def decode_npy(data: bytes, name: str = "array") -> npt.NDArray[Any]:
    """The bytes of a whole .npy file; RecipeError when damaged, too large, or a pickle."""
    try:
        return _read_npy(io.BytesIO(data), name)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise _damaged(Path(name), error) from error


def _read_npy(stream: IO[bytes], name: str) -> npt.NDArray[Any]:
    header = _header(stream, name)
    size = math.prod(header.shape) * header.dtype.itemsize
    if size > MAX_ITEM_BYTES:
        raise RecipeError(f"{name} is larger than {MAX_ITEM_BYTES >> 20} MiB")
    data = stream.read(size)
    if len(data) != size:
        raise RecipeError(f"{name} is cut short")
    array = np.frombuffer(data, header.dtype)
    return array.reshape(header.shape, order="F" if header.is_fortran else "C").copy()


def read_raw(path: Path, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A raw little-endian file of exactly `shape`; RecipeError when its size is another."""
    kind = np.dtype(dtype).newbyteorder("<")
    expected = math.prod(shape) * kind.itemsize
    if expected > MAX_ITEM_BYTES:
        raise RecipeError(f"an item of {expected} bytes is too large")
    try:
        size = path.stat().st_size
        if size != expected:
            raise RecipeError(
                f"{path.name} has {size} bytes; {dtype} {list(shape)} needs {expected}",
                hint="Set raw_dtype and raw_shape in the pipeline's tensor input.",
                code="bad-item",
            )
        return cast("npt.NDArray[Any]", np.frombuffer(path.read_bytes(), kind).reshape(shape).copy())
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _header(stream: IO[bytes], name: str) -> _Header:
    reader: Any = npy_format  # numpy leaves these functions without types
    version = reader.read_magic(stream)
    if version == (1, 0):
        shape, is_fortran, dtype = reader.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, is_fortran, dtype = reader.read_array_header_2_0(stream)
    else:
        raise RecipeError(f"the array '{name}' has an unknown format version {version}")
    if dtype.hasobject or dtype.names is not None:
        raise RecipeError(
            f"the array '{name}' holds Python objects, which could run code when read; it is refused",
            hint="Save plain numbers.",
            code="pickle",
        )
    if any(size < 0 for size in shape):
        raise RecipeError(f"the array '{name}' has a negative size")
    return _Header(tuple(shape), dtype, bool(is_fortran))


def _damaged(path: Path, error: Exception) -> RecipeError:
    reason = str(error) or type(error).__name__
    return RecipeError(
        f"{path.name} is damaged or no array file: {reason}", hint="Save it again.", code="bad-array"
    )
