"""Names content that is no model this application reads, so that a refusal says what the file is instead."""

from __future__ import annotations

import re
from typing import NamedTuple

from edgestudio.wire.errors import ModelError

VIEWER = (
    "The extra `netron-view` opens many other formats for viewing: pip install 'edgestudio[netron-view]'."
)
"""The end of a hint; of no use to those who have the extra."""
_DOWNLOAD = "The download probably failed: fetch the model file itself again."
_CHOOSE = "Choose the model file."
_UNPACK = "Unpack it first, then open the model inside."
_COMPILED = "Open the model that it was compiled from. "
_ORIGINAL = "Open the model that it was made from. "
_LOOKED_AT = 4096


class Foreign(NamedTuple):
    """What a file is instead of a model that is read here; `is_netrons` where Netron may read it."""

    what: str
    hint: str
    is_netrons: bool = False


def _viewed(what: str, hint: str = "") -> Foreign:
    return Foreign(what, f"{hint}{VIEWER}", is_netrons=True)


_PICTURE = "Choose the model; pictures are added as data."
_RECORDING = "Choose the model; recordings are added as data."
_MAGIC: tuple[tuple[int, bytes, Foreign], ...] = (
    (0, b"GGUF", _viewed("a GGUF file (llama.cpp language model)", "Run it with llama.cpp. ")),
    (0, b"lmgg", Foreign("a GGML file (old llama.cpp language model)", "Run it with llama.cpp.")),
    (0, b"tjgg", Foreign("a GGML file (old llama.cpp language model)", "Run it with llama.cpp.")),
    (0, b"\x89PNG", Foreign("a PNG picture", _PICTURE)),
    (0, b"\xff\xd8\xff", Foreign("a JPEG picture", _PICTURE)),
    (0, b"GIF8", Foreign("a GIF picture", _PICTURE)),
    (0, b"BM", Foreign("a BMP picture", _PICTURE)),
    (8, b"WEBP", Foreign("a WebP picture", _PICTURE)),
    (0, b"%PDF", Foreign("a PDF document", _CHOOSE)),
    (0, b"\x1f\x8b", Foreign("a gzip archive", _UNPACK, is_netrons=True)),
    (0, b"BZh", Foreign("a bzip2 archive", _UNPACK)),
    (0, b"\xfd7zXZ", Foreign("an xz archive", _UNPACK)),
    (0, b"\x5d\x00\x00", Foreign("an LZMA archive", _UNPACK)),
    (0, b"\x04\x22\x4d\x18", Foreign("an LZ4 archive", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Foreign("a Zstandard archive", _UNPACK)),
    (0, b"7z\xbc\xaf", Foreign("a 7-Zip archive", _UNPACK)),
    (0, b"Rar!", Foreign("a RAR archive", _UNPACK)),
    (0, b"!<arch>\n", Foreign("a static library or Debian package", _CHOOSE)),
    (257, b"ustar", Foreign("a tar archive", _UNPACK, is_netrons=True)),
    (0, b"\x7fELF", Foreign("a program or library for Linux", _CHOOSE)),
    (0, b"MZ", Foreign("a program for Windows", _CHOOSE)),
    (0, b"\xca\xfe\xba\xbe", Foreign("a program for macOS or a Java class", _CHOOSE)),
    (0, b"\xcf\xfa\xed\xfe", Foreign("a program or library for macOS", _CHOOSE)),
    (0, b"\x93NUMPY", Foreign("a NumPy array", "Choose the model; arrays are added as data.")),
    (0, b"PAR1", Foreign("a Parquet table", "Choose the model; tables are no input of one.")),
    (0, b"RIFF", Foreign("a sound or video file", _RECORDING)),
    (4, b"ftyp", Foreign("a sound or video file", _RECORDING)),
    (4, b"ORTM", _viewed("an ONNX Runtime (.ort) file", "Open the ONNX file that it was made from. ")),
    (4, b"ET12", _viewed("an ExecuTorch program (.pte)", _ORIGINAL)),
    (4, b"CIR0", _viewed("a Circle model (ONE)", _ORIGINAL)),
    (4, b"MSL", _viewed("a MindSpore Lite model (.ms)", _ORIGINAL)),
    (4, b"TOSA", _viewed("a TOSA program", _ORIGINAL)),
    (0, b"LITERTLM", _viewed("a LiteRT-LM bundle (.litertlm)", _ORIGINAL)),
    (0, b"HEF", Foreign("a Hailo executable (.hef)", _COMPILED.strip())),
    (0, b"\x01HEF", Foreign("a Hailo executable (.hef)", _COMPILED.strip())),
    (0, b"RKNN", _viewed("a Rockchip RKNN model", _COMPILED)),
    (4, b"RKNN", _viewed("a Rockchip RKNN model", _COMPILED)),
    (0, b"VPMN", _viewed("a VeriSilicon NPU model", _COMPILED)),
    (0, b"IMOD", _viewed("a Huawei Ascend offline model (.om)", _COMPILED)),
    (0, b"PICO", _viewed("a Huawei Ascend offline model (.om)", _COMPILED)),
    (0, b"EDL2", _viewed("an ESP-DL model (.espdl)", _ORIGINAL)),
    (0, b"LDMK", _viewed("a Kendryte model (.kmodel)", _COMPILED)),
    (0, b"CBM1", _viewed("a CatBoost model")),
    (0, b"{L\x00\x00", _viewed("an XGBoost model (UBJSON)")),
    (0, b"7767517", _viewed("an ncnn parameter file")),
    (0, b"SQLite format 3", Foreign("an SQLite database", _CHOOSE)),
)
_TEXTS: tuple[tuple[str, Foreign], ...] = (
    (
        r"<\s*ir_version\s*:|ir_version\s*:\s*\d+\s",
        _viewed(
            "an ONNX model in text form",
            "Write it as binary: onnx.save(onnx.load('NAME', format='onnxtxt'), 'model.onnx'), or 'textproto'. ",
        ),
    ),
    (
        r"c[\w.]+\n[\w.]+\n|\((dp|lp|S'|i\w+\n)",
        Foreign(
            "a Python pickle in an old form; it was not loaded, since loading could run code",
            "Save the model as ONNX, safetensors or torch.export where it was made.",
        ),
    ),
    (r"<\?xml[^>]*>\s*(<!--.*?-->\s*)?<PMML|<PMML", Foreign("a PMML model", "Export the model to ONNX.")),
    (r"\{.*\"irVersion\"", _viewed("an ONNX model in JSON form", "Write it as binary: format='json' of onnx.load. ")),
    (r"\{.*\"(modelTopology|weightsManifest)\"", _viewed("a TensorFlow.js model", "Open the original. ")),
    (r"\{.*\"(arg_nodes|node_row_ptr)\"", _viewed("a symbol file of MXNet or TVM", "Export it to ONNX. ")),
    (r"\{.*\"(learner|gradient_booster)\"", _viewed("an XGBoost model (JSON)", "Export it to ONNX. ")),
    (r"\[(net|network)\]\s", _viewed("a Darknet configuration", "Export the model to ONNX. ")),
    (r"(tree|linear)\s+version=v\d", _viewed("a LightGBM model", "Export it to ONNX. ")),
    (r"(name\s*:.*)?layers?\s*\{.*(type|bottom|top)\s*:", _viewed("a Caffe network (prototxt)", "Export it to ONNX. ")),
)  # fmt: skip


def name_foreign(data: bytes) -> Foreign | None:
    """What content starting with `data` is; None when it has no known mark."""
    if not data:
        return Foreign("empty (0 bytes)", _DOWNLOAD)
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        return Foreign(
            "a Git LFS pointer, not the model itself",
            "Run `git lfs pull` in its repository, or download the file.",
        )
    if len(data) >= _LOOKED_AT and not any(data[:_LOOKED_AT]):
        return Foreign("empty at its start: only zeros where a model begins", _DOWNLOAD)
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Foreign("a web page, not a model", _DOWNLOAD)
    for offset, magic, foreign in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return foreign
    # A binary message may begin with a line feed and "<" or "{" too: they are its tag and a length.
    if any(byte < 9 or 13 < byte < 32 for byte in data[:256]):
        return None
    return _named_text(data[:_LOOKED_AT].decode("utf-8", "replace").lstrip("\ufeff \t\r\n"))


def _named_text(text: str) -> Foreign | None:
    for pattern, foreign in _TEXTS:
        if re.match(pattern, text, re.DOTALL):
            return foreign
    if text.startswith("<") and "<net" not in text:
        return Foreign("an XML document that holds no OpenVINO network", _CHOOSE)
    if text.startswith("{"):
        return _viewed("a JSON document", "Open the model that it belongs to. ")
    return None


def article(word: str) -> str:
    """The article before a name."""
    return "an" if word[:1] in "AEIOU" else "a"


def refuse(name: str, data: bytes, promised: str | None = None) -> ModelError:
    """The error for a file that is no model known here; `data` is its beginning, `promised` what its suffix says."""
    found = name_foreign(data)
    if found is not None:
        code = "unknown-format" if found.is_netrons else "not-a-model"
        return ModelError(f"{name} is {found.what}.", hint=found.hint, code=code)
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
        "source. " + VIEWER,
        code="unknown-format",
    )
