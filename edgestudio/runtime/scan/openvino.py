"""Judges an OpenVINO IR: a plain XML file whose constants lie within the .bin beside it."""

from __future__ import annotations

import mmap
import re

from edgestudio.runtime.scan.findings import Findings, check_external

_MAX_XML_BYTES = 256 << 20
_LAYER = re.compile(rb'<layer\b[^>]*?\btype="([^"]{1,200})"')
_CONSTANT = re.compile(rb"<data\b[^>]*>")
_NUMBER = re.compile(rb'\b(offset|size)="(\d{1,19})"')


def scan_openvino(data: bytes | mmap.mmap, found: Findings) -> None:
    """ModelError for entities, too many layers, or constants outside the weights file."""
    if len(data) > _MAX_XML_BYTES:
        raise found.refuse("is larger than any description of a network", "too-large")
    for forbidden in (b"<!DOCTYPE", b"<!ENTITY", b"<xi:include"):
        if data.find(forbidden) >= 0:
            raise found.refuse(f"uses {forbidden.decode()}, which can pull in other files", "malformed")
    layers = sum(
        1 for match in _LAYER.finditer(data) if match.group(1) not in (b"Const", b"Parameter", b"Result")
    )
    found.count_nodes(layers)
    if layers == 0:
        raise found.refuse("holds no operators", "empty-model")
    end = 0
    for match in _CONSTANT.finditer(data):
        numbers = {key: int(value) for key, value in _NUMBER.findall(match.group(0))}
        if b"offset" in numbers and b"size" in numbers:
            end = max(end, numbers[b"offset"] + numbers[b"size"])
    if end:
        check_external(found, found.path.with_suffix(".bin").name, 0, end)
