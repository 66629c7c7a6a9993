"""Reads a TorchScript archive: its code as text, its weights from the pickle's operations; nothing is run."""

from __future__ import annotations

import ast
import re
import zipfile
from dataclasses import replace
from functools import partial
from typing import Any

from edgestudio.model.content import opened
from edgestudio.model.detect import Recognised
from edgestudio.model.formats.archive import opened_zip, read_entry
from edgestudio.model.formats.pickle_text import Made, Reading
from edgestudio.model.formats.torch_code import CodeReader
from edgestudio.model.formats.torch_parts import Methods
from edgestudio.model.formats.torch_shapes import infer_shapes
from edgestudio.model.formats.torch_values import (
    check_names,
    described,
    placed_below,
    placed_of,
    read_placed,
    small_storage,
    tensors_below,
)
from edgestudio.model.graph import Model
from edgestudio.wire.errors import ModelError

_MAX_CODE_BYTES = 16 << 20
_MAX_CODE_WORDS = 800_000
"""Parsed code takes some kilobytes a statement: this many words stay below a gigabyte."""
_WORDS = re.compile(rb"\w+|[\[({]")
_MAX_CODE_FILES = 20_000


def read(found: Recognised) -> Model:
    """The model in `found.file`; raises ModelError when it would run code or is damaged."""
    name = found.path.name
    with opened(found.file) as buffer:
        size = len(buffer)
    with opened_zip(found.file) as archive:
        names = archive.namelist()
        root = next((item[: -len("data.pkl")] for item in names if item.endswith("data.pkl")), None)
        if root is None:
            raise ModelError(f"{name} is a TorchScript archive without its data.pkl.", hint="Fetch it again.")
        reading = Reading(read_entry(archive, f"{root}data.pkl"))
        warnings = [*found.warnings, *check_names(name, reading)]
        constants = _constants(archive, root, name)
        version = (
            read_entry(archive, f"{root}version").decode("ascii", "replace").strip()
            if f"{root}version" in names
            else ""
        )
        methods = _code(archive, f"{root}code/", names)
        metadata = _extra(archive, root, names)
        storage_of = partial(small_storage, archive, f"{root}data/")
        tensors = tensors_below(reading.value, storage_of)
        places = [placed for _, placed in placed_below(reading.value)]
    module = reading.value
    if not isinstance(module, Made) or not module.name.startswith("__torch__"):
        raise ModelError(
            f"{name} is a TorchScript archive that holds no module.",
            hint="Save it again with torch.jit.save, or open the file it was made from.",
            code="no-graph",
        )
    # The name by which a tensor is met first is its name.
    first = dict(reversed(list(zip(places, tensors, strict=True))))
    reader = CodeReader(methods, constants, first)
    reader.read(module)
    used = reader.used_weights
    # One that is held twice, as a recurrent layer does in a list of its own, is one weight.
    weights = [tensor for tensor in reversed(first.values()) if tensor.name not in used]
    names = [value.name for value in reader.graphs[0].tensors if value.kind == "input"]
    if names:
        warnings.append(
            "the file does not say how large its inputs are; operations and memory are counted once their sizes are "
            f"set ({names[0]}:0, {names[0]}:1, …)"
        )
    model = Model(
        format="torchscript",
        format_version=f"version {version}" if version else None,
        producer="PyTorch",
        opsets={},
        graphs=tuple(reader.graphs),
        size_bytes=size,
        metadata={"class": module.name.removeprefix("__torch__."), **metadata},
        warnings=tuple(dict.fromkeys((*warnings, *reader.warnings))),
        weights=tuple(weights),
    )
    return infer_shapes(model)


def _constants(archive: zipfile.ZipFile, root: str, name: str) -> list[Any]:
    """The constants that the code refers to; of single whole numbers, which sizes are made of, the value as well."""
    entry = f"{root}constants.pkl"
    if entry not in archive.namelist():
        return []
    reading = Reading(read_entry(archive, entry))
    check_names(name, reading)
    value = reading.value
    items = list(value) if isinstance(value, (list, tuple)) else []
    found: list[Any] = []
    for at, item in enumerate(items):
        placed = placed_of(item)
        if placed is None:
            found.append(item)
            continue
        tensor = described(f"CONSTANTS.c{at}", placed)
        if placed.shape == () and placed.dtype in ("int64", "int32"):
            storage = small_storage(archive, f"{root}constants/", placed.storage)
            number = None if storage is None else read_placed(storage, placed)
            tensor = tensor if number is None else replace(tensor, values=(int(number),))
        found.append(tensor)
    return found


def _code(archive: zipfile.ZipFile, prefix: str, names: list[str]) -> Methods:
    """Every class and function of the archive's code, parsed as text."""
    methods = Methods()
    total = words = 0
    sources = [item for item in names if item.startswith(prefix) and item.endswith(".py")]
    if len(sources) > _MAX_CODE_FILES:
        raise ModelError("The archive holds more code than any model has.", hint="Do not use this file.")
    for item in sources:
        text = read_entry(archive, item)
        total += len(text)
        words += sum(1 for _ in _WORDS.finditer(text)) if total <= _MAX_CODE_BYTES else 0
        if total > _MAX_CODE_BYTES or words > _MAX_CODE_WORDS:
            raise ModelError("The archive holds more code than any model has.", hint="Do not use this file.")
        module = item[len(prefix) : -3].replace("/", ".")
        try:
            methods.add(module, ast.parse(text.decode("utf-8", "replace")))
        except SyntaxError as error:
            raise ValueError(
                f"the code in {item} cannot be read ({error.msg}, line {error.lineno})"
            ) from error
    return methods


def _extra(archive: zipfile.ZipFile, root: str, names: list[str]) -> dict[str, str]:
    """Short texts that were saved beside the model."""
    found = {}
    for item in names:
        if item.startswith(f"{root}extra/") and archive.getinfo(item).file_size <= 4096:
            text = read_entry(archive, item)
            if text.isascii():
                found[item[len(root) + len("extra/") :]] = text.decode("ascii").strip()
    return found
