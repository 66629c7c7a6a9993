"""Tells which format a file or folder is in, from its content; a suffix that says otherwise is a warning."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from edgestudio.model import foreign
from edgestudio.model.content import head, opened, refuse_os_error
from edgestudio.model.formats.tensorflow_text import text_kind
from edgestudio.model.links import refuse_link, refuse_links, stays_inside
from edgestudio.runtime.engine_header import MAGIC
from edgestudio.runtime.format_names import TITLES, format_title
from edgestudio.runtime.protobuf import LEN, VARINT, Value, WireError, fields
from edgestudio.wire.errors import ModelError

_SUFFIXES = {
    ".onnx": "onnx", ".tflite": "tflite", ".mlmodel": "coreml", ".mlpackage": "coreml", ".keras": "keras",
    ".h5": "keras", ".pt2": "torch-export", ".safetensors": "safetensors", ".engine": "tensorrt",
    ".plan": "tensorrt",
}  # fmt: skip
_MODEL_SUFFIXES = {*_SUFFIXES, ".pb", ".meta", ".pt", ".pth", ".ptl", ".jit", ".xml", ".hdf5"}
_LONGEST_INDEX = 16 << 20
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Recognised:
    """A model found at `path`; `file` is what to read its structure from (inside of a folder, or `path`)."""

    format: str
    path: Path
    file: Path
    warnings: tuple[str, ...] = ()


def detect(path: Path) -> Recognised:
    """The format of the model at `path`; raises ModelError saying what the content is instead."""
    try:
        if path.is_dir():
            return _folder(path)
        if not path.exists():
            raise FileNotFoundError(path)
        found = _file(path)
    except OSError as error:
        raise refuse_os_error(path, error) from error
    promised = _SUFFIXES.get(path.suffix.lower())
    if promised is None or promised == found:
        return Recognised(found, path, path)
    warning = f"The name ends in {path.suffix}, but the content is {format_title(found)}."
    return Recognised(found, path, path, (warning,))


def _folder(path: Path) -> Recognised:
    if any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt", "Manifest.json")):
        refuse_links(path)
        return _in_folder(path)
    found = _in_folder(path)
    refuse_links(path)  # of a folder that holds a model
    return found


def _in_folder(path: Path) -> Recognised:
    if (path / "saved_model.pb").is_file():
        return Recognised("savedmodel", path, path / "saved_model.pb")
    if (path / "saved_model.pbtxt").is_file():
        return Recognised("savedmodel", path, path / "saved_model.pbtxt")
    if (path / "Manifest.json").is_file():
        return Recognised("coreml", path, _package_model(path))
    indices = sorted(path.glob("*.safetensors.index.json"))
    if len(indices) == 1:
        refuse_link(indices[0], path)
        return detect(indices[0])
    inside = sorted(item for item in path.iterdir() if item.suffix.lower() in _MODEL_SUFFIXES)
    if len(inside) == 1 and inside[0].is_file():
        refuse_link(inside[0], path)
        found = detect(inside[0])
        return Recognised(found.format, found.path, found.file, found.warnings)
    names = ", ".join(item.name for item in inside[:5])
    raise ModelError(
        f"The folder {path.name or path} holds several models: {names}."
        if inside
        else f"The folder {path.name or path} holds no model: neither a SavedModel nor a Core ML package.",
        hint="Choose one model file."
        if inside
        else "Choose one of the folders in snapshots."
        if (path / "snapshots").is_dir()
        else "Choose a model file, a SavedModel folder or an .mlpackage.",
        code="not-a-model",
    )


def _package_model(path: Path) -> Path:
    """The model file that a Core ML package's manifest names; raises ModelError."""
    broken = "is not a usable Core ML package"
    hint = "Copy the whole .mlpackage folder again."
    try:
        manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        entries = manifest["itemInfoEntries"]
        relative = str(entries[manifest["rootModelIdentifier"]]["path"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path.name} {broken}: its Manifest.json is damaged.", hint=hint) from error
    root = (path / "Data").resolve()
    file = root / relative
    if ".." in Path(relative).parts or not stays_inside(file, root):
        raise ModelError(
            f"{path.name} {broken}: its manifest points outside of the package ({relative}).",
            hint="Do not use this file: it may be hostile.",
            code="hostile-model",
        )
    if not file.is_file():
        raise ModelError(f"{path.name} {broken}: {relative} is missing.", hint=hint)
    return file


def _file(path: Path) -> str:
    start = head(path)
    for magic, offset, name in (
        (b"TFL3", 4, "tflite"), (_HDF5, 0, "keras"), *((magic, 0, "tensorrt") for magic in MAGIC),
    ):  # fmt: skip
        if start[offset : offset + len(magic)] == magic:
            return name
    described = 4 + int.from_bytes(start[:4], "little")
    if start[3:5] == b"\x00{" and head(path, described + 4)[described:] in MAGIC:
        return "tensorrt"
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip(path)
    size = path.stat().st_size
    if len(start) > 9 and start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= size - 8:
        return "safetensors"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" and re.search(rb"<net[\s>]", start):
        return "openvino"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "state-dict"
    if text_kind(start) is not None:
        return "graphdef" if text_kind(start) == "GraphDef" else "savedmodel"
    if start.lstrip()[:1] == b"{" and (kind := _json_kind(path, start)):
        return kind
    if foreign.name_foreign(start) is not None:
        raise foreign.refuse(path.name, start, TITLES.get(_SUFFIXES.get(path.suffix.lower(), "")))
    with opened(path) as buffer:
        found = _protobuf(memoryview(buffer), path.name)
    if found is None:
        raise foreign.refuse(path.name, start, TITLES.get(_SUFFIXES.get(path.suffix.lower(), "")))
    return found


def _json_kind(path: Path, start: bytes) -> str:
    """The kind of model in a JSON file that begins with `start`, "" for none."""
    if start.startswith(b'{"schema":') and b'"metadata":{"cut_from":' in start:
        return "graph-part"
    is_index = path.stat().st_size <= _LONGEST_INDEX and b'"weight_map"' in head(path, _LONGEST_INDEX)
    return "safetensors" if is_index else ""


def _zip(path: Path) -> str:
    """The kind of model in a zip archive, by the names in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            # An archive inside of one that is cut short has a directory of its own, and entries begin late.
            if min((entry.header_offset for entry in archive.infolist()), default=0) > 0:
                raise zipfile.BadZipFile("its directory is missing")
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path.name} is a damaged zip archive: {error}.",
            hint="It is probably cut short: fetch it again and compare its size with the source.",
            code="damaged-model",
        ) from error
    plain = set(names)
    tails = {name.split("/", 1)[-1] for name in names}
    if "config.json" in plain and ("metadata.json" in plain or "model.weights.h5" in plain):
        return "keras"
    if "serialized_exported_program.json" in tails or any(
        re.fullmatch(r"models/[^/]+\.json", tail) for tail in tails | plain
    ):
        return "torch-export"
    if "constants.pkl" in tails or any(tail.startswith("code/") for tail in tails):
        return "torchscript"
    if "data.pkl" in tails:
        return "state-dict"
    shown = ", ".join(names[:4]) or "nothing"
    hint, code = f"Unpack it first, then open the model inside. {foreign.VIEWER}", "unknown-format"
    if names and all(name.endswith(".npy") for name in names):
        hint = "NumPy arrays are data: add them where a data set is asked for, and choose the model here."
        code = "not-a-model"
    raise ModelError(
        f"{path.name} is a zip archive that holds no model known here (it holds {shown}).",
        hint=hint,
        code=code,
    )


_ONNX_WIRES = {1: VARINT, 5: VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), LEN)
_COREML_FIELDS = {1, 2, 10, *range(200, 3001)}
_GRAPHDEF_WIRES = {1: LEN, 2: LEN, 3: VARINT, 4: LEN, 5: LEN}


def _protobuf(view: memoryview, name: str) -> str | None:
    """Which protocol buffer this is, by its outermost fields; None for none, ModelError for one cut short."""
    wires: dict[int, int] = {}
    values: dict[int, Value] = {}
    cut = ""
    try:
        for number, wire, value in fields(view):
            if wires.setdefault(number, wire) != wire or len(wires) > 64:
                return None
            values.setdefault(number, value)
    except WireError as error:
        cut = str(error)
    found = _protobuf_kind(wires, values, cut_short=bool(cut))
    if found is None and _is_meta_graph(wires, values):
        found = "metagraph"
    if found is not None and cut:
        raise ModelError(
            f"{name} looks like {format_title(found)} but is cut short or damaged: {cut}.",
            hint="Fetch it again and compare its size with the source.",
            code="damaged-model",
        )
    return found


def _protobuf_kind(wires: dict[int, int], values: dict[int, Value], *, cut_short: bool) -> str | None:
    def fits(table: dict[int, int]) -> bool:
        return bool(wires) and all(table.get(number) == wire for number, wire in wires.items())

    first, second = values.get(1), values.get(2)
    is_described = isinstance(second, memoryview) or set(wires) <= _COREML_FIELDS
    if isinstance(first, int) and is_described and any(200 <= number <= 3000 for number in wires):
        return "coreml"
    if fits({1: VARINT, 2: LEN}) and first == 1 and isinstance(second, memoryview) and _parses(second):
        return "savedmodel"
    if fits(_ONNX_WIRES):
        begun = cut_short and isinstance(second, memoryview) and bytes(second[:200]).isascii()
        if 7 in wires or 8 in wires or begun:
            return "onnx"
    if fits(_GRAPHDEF_WIRES) and isinstance(first, memoryview) and _is_node_def(first):
        return "graphdef"
    return None


def _is_meta_graph(wires: dict[int, int], values: dict[int, Value]) -> bool:
    graph = values.get(2)
    if (
        not set(wires) <= set(range(1, 8))
        or set(wires.values()) != {LEN}
        or not isinstance(graph, memoryview)
    ):
        return False
    try:
        number, _, node = next(fields(graph), (0, 0, 0))
    except WireError:
        return False
    return number == 1 and isinstance(node, memoryview) and _is_node_def(node)


def _parses(view: memoryview) -> bool:
    try:
        return all(number < 1 << 20 for number, *_ in fields(view))
    except WireError:
        return False


def _is_node_def(view: memoryview) -> bool:
    """True for NodeDef: a name, then an operator such as Placeholder."""
    try:
        values = {number: value for number, _, value in fields(view)}
    except WireError:
        return False
    op = values.get(2)
    return 1 in values and isinstance(op, memoryview) and bool(re.fullmatch(rb"[A-Za-z_>][\w>.]*", bytes(op)))
