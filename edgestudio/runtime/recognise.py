"""Names a model file's format from its content, never from its suffix."""

from __future__ import annotations

import stat
from pathlib import Path

from edgestudio.runtime.engine_header import MAGIC
from edgestudio.runtime.protobuf import WireError, fields
from edgestudio.wire.errors import ModelError

HEAD_BYTES = 4096
# ModelProto of onnx.proto3; a file whose top level holds anything else is not ONNX.
_ONNX_WIRE_TYPES = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_SHORT_TEXTS, _MAX_SHORT_TEXT = (2, 3, 4), 1024


def recognise(path: Path) -> str:
    """ "onnx", "tflite", "openvino" or "tensorrt"; ModelError saying what else the file seems to be."""
    path = Path(path)
    head, size = _head(path)
    if size == 0:
        raise ModelError(
            f"{path.name} is empty (0 bytes)", hint="Download or export it again.", code="empty-file"
        )
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[:4] in MAGIC:
        return "tensorrt"
    _refuse_other_kinds(path, head)
    if head.lstrip()[:5] == b"<?xml" and b"<net" in head:
        return "openvino"
    if _looks_like_onnx(path, head, size):
        return "onnx"
    raise ModelError(
        f"{path.name} is no ONNX, TFLite, OpenVINO or TensorRT file",
        hint="Check that the download or export finished.",
        code="unknown-format",
    )


def _head(path: Path) -> tuple[bytes, int]:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{path.name} is a folder; a single model file is needed here", code="is-folder")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path.name} is not a regular file", code="not-a-file")
        with path.open("rb") as file:
            return file.read(HEAD_BYTES), status.st_size
    except FileNotFoundError:
        raise ModelError(f"there is no file {path}", hint="Check the path.", code="no-file") from None
    except PermissionError:
        raise ModelError(f"{path} may not be read", hint="Check its permissions.", code="no-access") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", code="unreadable") from error


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    text = head.lstrip()[:200].lower()
    if head.startswith(b"version https://git-lfs"):
        raise ModelError(
            f"{path.name} is a Git LFS pointer, not the model itself",
            hint="Fetch the real file with `git lfs pull`.",
            code="lfs-pointer",
        )
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        raise ModelError(
            f"{path.name} is a web page, not a model",
            hint="The download led to an error page.",
            code="html-page",
        )
    if head.startswith(b"PK\x03\x04"):
        raise ModelError(
            f"{path.name} is a zip archive (PyTorch, Keras or packed); boards take no archives",
            hint="Convert it to ONNX or TFLite on the desk.",
            code="archive",
        )
    if head[:1] == b"\x80" and len(head) > 1 and 2 <= head[1] <= 5:
        raise ModelError(
            f"{path.name} is a Python pickle, which can run code when opened; it is refused",
            hint="Export the model to ONNX or TFLite where it was trained.",
            code="pickle",
        )
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        raise ModelError(
            f"{path.name} is an HDF5 file (Keras)", hint="Convert it to ONNX or TFLite.", code="hdf5"
        )


def _looks_like_onnx(path: Path, head: bytes, size: int) -> bool:
    """Whether the top-level fields that the head shows are those of a ModelProto with a graph or opsets."""
    seen: set[int] = set()
    try:
        for number, wire_type, value in fields(memoryview(head), total_size=size):
            if _ONNX_WIRE_TYPES.get(number) != wire_type:
                return False
            if number in _SHORT_TEXTS and not isinstance(value, int) and len(value) > _MAX_SHORT_TEXT:
                return False
            seen.add(number)
    except WireError as error:
        # A file that begins with an IR version, a producer and then promises more bytes than it has.
        if 1 in seen and seen & {2, 3, 8}:
            raise ModelError(
                f"{path.name} is damaged or cut short: {error}",
                hint="Download or export it again.",
                code="damaged",
            ) from None
        return False
    return bool(seen & {7, 8}) or seen >= {1, 2}
