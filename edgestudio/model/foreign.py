"""Names content that is no model this application reads, so that a refusal says what the file is instead."""

from __future__ import annotations

from edgestudio.wire.errors import ModelError

_VIEWER = (
    "The extra `netron-view` opens many other formats for viewing: pip install 'edgestudio[netron-view]'."
)
_DOWNLOAD = "The download probably failed: fetch the model file itself again."

_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"GGUF",
        "a GGUF file (llama.cpp language model)",
        "Run it with llama.cpp; boards here run ONNX or TFLite.",
    ),
    (0, b"\x89PNG", "a PNG picture", "Choose the model; pictures are added as data."),
    (0, b"\xff\xd8\xff", "a JPEG picture", "Choose the model; pictures are added as data."),
    (0, b"GIF8", "a GIF picture", "Choose the model; pictures are added as data."),
    (0, b"BM", "a BMP picture", "Choose the model; pictures are added as data."),
    (0, b"%PDF", "a PDF document", "Choose the model file."),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it first, then open the model inside."),
    (0, b"BZh", "a bzip2 archive", "Unpack it first, then open the model inside."),
    (0, b"\xfd7zXZ", "an xz archive", "Unpack it first, then open the model inside."),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", "Unpack it first, then open the model inside."),
    (0, b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it first, then open the model inside."),
    (0, b"Rar!", "a RAR archive", "Unpack it first, then open the model inside."),
    (257, b"ustar", "a tar archive", "Unpack it first, then open the model inside."),
    (0, b"\x7fELF", "a program or library for Linux", "Choose the model file."),
    (0, b"MZ", "a program for Windows", "Choose the model file."),
    (0, b"\x93NUMPY", "a NumPy array", "Choose the model; arrays are added as data."),
    (0, b"RIFF", "a sound or video file", "Choose the model; recordings are added as data."),
    (4, b"ORTM", "an ONNX Runtime (.ort) file", "Open the ONNX file that it was made from. " + _VIEWER),
    (4, b"ET12", "an ExecuTorch program (.pte)", "Open the model that it was made from. " + _VIEWER),
    (0, b"HEF", "a Hailo executable (.hef)", "Open the model that it was compiled from."),
    (0, b"\x01HEF", "a Hailo executable (.hef)", "Open the model that it was compiled from."),
    (0, b"RKNN", "a Rockchip RKNN model", "Open the model that it was compiled from. " + _VIEWER),
    (0, b"7767517", "an ncnn parameter file", _VIEWER),
    (0, b"SQLite format 3", "an SQLite database", "Choose the model file."),
)


def name_foreign(data: bytes) -> tuple[str, str] | None:
    """What content starting with `data` is, as `(what, what to do)`; None when it has no known mark."""
    if not data:
        return "empty (0 bytes)", _DOWNLOAD
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        return (
            "a Git LFS pointer, not the model itself",
            "Run `git lfs pull` in its repository, or download the file.",
        )
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page, not a model", _DOWNLOAD
    for offset, magic, what, hint in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return what, hint
    # A binary message may begin with a line feed and "<" or "{" too: they are its tag and a length.
    if any(byte < 9 or 13 < byte < 32 for byte in data[:256]):
        return None
    if text.startswith(b"<") and b"<net" not in data[:4096]:
        return "an XML document that holds no OpenVINO network", "Choose the model file."
    if text.startswith(b"{"):
        return (
            "a JSON document",
            "Open the model that it belongs to (for TensorFlow.js, the original). " + _VIEWER,
        )
    return None


def article(word: str) -> str:
    """The article before a name."""
    return "an" if word[:1] in "AEIOU" else "a"


def refuse(name: str, data: bytes, promised: str | None = None) -> ModelError:
    """The error for a file that is no model known here; `data` is its beginning, `promised` what its suffix says."""
    found = name_foreign(data)
    if found is not None:
        return ModelError(f"{name} is {found[0]}.", hint=found[1], code="not-a-model")
    printable = all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in data[:256])
    if promised is not None:
        what = "is text" if printable else "is something else, or is damaged at its start"
        message = f"{name} is named like {article(promised)} {promised} model, but its content {what}."
    elif printable:
        message = f"{name} is text, not a model."
    else:
        message = f"{name} is in no model format that is known here."
    return ModelError(
        message,
        hint="Known are ONNX, TFLite, Core ML, Keras, SavedModel, GraphDef, TorchScript, torch.export, safetensors, "
        "state dict, OpenVINO and TensorRT. If this should be one of them, compare its size or checksum with the "
        "source. " + _VIEWER,
        code="unknown-format",
    )
