"""Reads an OpenVINO IR: layers and edges of the XML, weights by their place in the `.bin` beside it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.content import Buffer, opened
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import BITS, elements, size_bytes
from edgestudio.model.formats.openvino_bodies import port_maps
from edgestudio.model.graph import Dimension, Graph, Model, Node
from edgestudio.model.links import refuse_link
from edgestudio.wire.errors import ModelError

_DTYPES = {
    "f32": "float32", "f16": "float16", "f64": "float64", "bf16": "bfloat16", "i64": "int64", "i32": "int32",
    "i16": "int16", "i8": "int8", "u64": "uint64", "u32": "uint32", "u16": "uint16", "u8": "uint8", "boolean": "bool",
    "i4": "int4", "u4": "uint4", "u1": "uint1", "u2": "uint2", "string": "string", "f8e4m3": "float8_e4m3fn",
    "f8e5m2": "float8_e5m2", "fp32": "float32", "fp16": "float16", "nf4": "uint4",
}  # fmt: skip
_SMALL_COUNT = 64
_MAX_ELEMENTS = 20_000_000
_MAX_XML_DEPTH = 200


@dataclass(slots=True)
class Element:
    """One XML element."""

    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def find(self, tag: str) -> Element | None:
        """The first child of this tag."""
        return next((child for child in self.children if child.tag == tag), None)

    def all(self, tag: str) -> list[Element]:
        """Every child of this tag."""
        return [child for child in self.children if child.tag == tag]


class _Tree:
    """Builds elements from expat's events; document types and entities, which can unfold without end, are refused."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > _MAX_ELEMENTS or len(self._open) > _MAX_XML_DEPTH:
            raise ValueError("the XML holds more elements than any model has")
        element = Element(tag, attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, _: str) -> None:
        self._open.pop()

    def _data(self, text: str) -> None:
        if self._open and not text.isspace():
            self._open[-1].text += text

    def _refuse(self, *_: Any) -> int:
        raise ModelError(
            "The XML declares a document type or entities, which no OpenVINO model does.",
            hint="Do not use this file: it may be hostile.",
            code="hostile-model",
        )


def _parsed(path: Path) -> Element:
    with opened(path) as buffer:
        tree = _Tree()
        try:
            tree.parser.Parse(bytes(buffer), True)
        except expat.ExpatError as error:
            raise ModelError(
                f"{path.name} is an OpenVINO model that is cut short or damaged: {error}.",
                hint="Copy the .xml and the .bin file again.",
                code="damaged-model",
            ) from error
    if tree.root is None or tree.root.tag != "net":
        raise ModelError(f"{path.name} holds no OpenVINO network.", hint="Choose the model file.")
    return tree.root


def stored_constants(path: Path) -> list[tuple[str, str, tuple[int, ...], int, int]]:
    """Name, type, shape, start and size in the `.bin` of every constant of the main graph; raises ModelError."""
    layers = _parsed(path).find("layers")
    found = []
    for layer in layers.all("layer") if layers is not None else ():
        data = layer.find("data")
        if layer.attributes.get("type") == "Const" and data is not None:
            given = data.attributes
            shape = tuple(int(size) for size in given.get("shape", "").split(",") if size.strip().isdigit())
            place = int(given.get("offset") or 0), int(given.get("size") or 0)
            ports = _ports(layer, "output")
            found.append(
                (
                    _tensor_name(ports[0], layer.attributes.get("name", "")) if ports else "",
                    _DTYPES.get(given.get("element_type", ""), ""),
                    shape,
                    *place,
                )
            )
    return found


def read(found: Recognised) -> Model:
    """The model at `found.file`; raises ModelError when it is damaged."""
    size = found.file.stat().st_size
    root = _parsed(found.file)
    warnings = list(found.warnings)
    weights = found.file.with_suffix(".bin")
    if weights.is_symlink():
        refuse_link(weights, weights.parent)
    has_weights = weights.is_file()
    with opened(weights) if has_weights else nullcontext(b"") as buffer:
        reader = _Reader(warnings, buffer)
        reader.graph(root, root.attributes.get("name", ""), 0)
    if reader.weight_bytes and not has_weights:
        warnings.append(f"the file {weights.name} with the weights is missing; put it beside the model")
    elif has_weights and reader.reaches > weights.stat().st_size:
        warnings.append(
            f"the file {weights.name} is shorter than the weights in it; it was probably cut short"
        )
    version = root.attributes.get("version", "")
    facts = _facts(root)
    runtime = facts.get("Runtime_version", "")
    return Model(
        format="openvino",
        format_version=f"IR {version}" if version else None,
        producer=f"OpenVINO {runtime}".strip(),
        opsets=reader.opsets,
        graphs=tuple(reader.graphs),
        size_bytes=size + (weights.stat().st_size if has_weights else 0),
        metadata={**facts, "operations": str(reader.operations)},
        warnings=tuple(dict.fromkeys(warnings)),
        companions=(weights.name,) if has_weights else (),
    )


class _Reader:
    """The network and the bodies of its loops and branches."""

    def __init__(self, warnings: list[str], buffer: Buffer) -> None:
        self.graphs: list[Graph] = []
        self.opsets: dict[str, int] = {}
        self.warnings = warnings
        self.buffer = buffer
        self.operations = 0
        self.weight_bytes = 0
        self.reaches = 0

    def graph(self, net: Element, name: str, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ValueError("bodies are nested too deeply")
        index = len(self.graphs)
        self.graphs.append(Graph("", (), (), (), ()))
        builder = GraphBuilder(name)
        layers, edges = net.find("layers"), net.find("edges")
        sources = {
            (edge.attributes["to-layer"], edge.attributes["to-port"]): (
                edge.attributes["from-layer"],
                edge.attributes["from-port"],
            )
            for edge in (edges.all("edge") if edges is not None else ())
        }
        inputs: list[int] = []
        outputs: list[int] = []
        for layer in layers.all("layer") if layers is not None else ():
            self.operations += 1
            self._layer(builder, layer, sources, inputs, outputs, depth)
        self.graphs[index] = builder.finish(inputs, outputs)
        self.warnings += builder.warnings
        return index

    def _layer(
        self,
        builder: GraphBuilder,
        layer: Element,
        sources: dict[tuple[str, str], tuple[str, str]],
        inputs: list[int],
        outputs: list[int],
        depth: int,
    ) -> None:
        key, name, op = (layer.attributes.get(item, "") for item in ("id", "name", "type"))
        data = layer.find("data")
        attributes: dict[str, Any] = dict(data.attributes) if data is not None else {}
        self._opset(layer.attributes.get("version", ""))
        ins = [
            builder.find(source)
            for port in _ports(layer, "input")
            if (source := sources.get((key, port.attributes["id"])))
        ]
        if op == "Const" and _is_met_again(builder, layer, attributes):
            return
        outs = [self._output(builder, key, name, port) for port in _ports(layer, "output")]
        if op in ("Parameter", "Input"):
            for index in outs:
                builder.kinds[index] = "input"
            inputs += outs
        elif op == "Const":
            self._constant(builder, outs, attributes)
        elif op == "Result":
            for index in ins:
                if builder.kinds[index] == "activation":
                    builder.kinds[index] = "output"
            outputs += ins
        else:
            bodies = [child for child in layer.children if child.tag.endswith("body")]
            subgraphs = tuple(self.graph(body, f"{name}/{body.tag}", depth + 1) for body in bodies)
            shown = {label: _value(text) for label, text in attributes.items()}
            if op == "TensorIterator":
                shown.update(_steps(layer))
            if bodies:
                wired = [port for port in _numbers(layer, "input") if (key, port) in sources]
                shown.update(port_maps(layer, bodies, wired, _numbers(layer, "output")))
            scope = name.strip("/").rpartition("/")[0]
            builder.nodes.append(Node(name, op, tuple(ins), tuple(outs), shown, "", scope, subgraphs))

    def _opset(self, version: str) -> None:
        number = version.removeprefix("opset")
        if version.startswith("opset") and number.isdigit():
            self.opsets["opset"] = max(self.opsets.get("opset", 0), int(number[:4]))

    def _output(self, builder: GraphBuilder, key: str, name: str, port: Element) -> int:
        number = port.attributes["id"]
        index = builder.find((key, number), name)
        builder.names[index] = _tensor_name(port, name)
        dims = [dim.text for dim in port.all("dim")]
        shape: tuple[Dimension, ...] = tuple(int(dim) if dim.isdigit() else None for dim in dims)
        precision = port.attributes.get("precision", "").lower()
        builder.describe(index, _DTYPES.get(precision, ""), shape)
        return index

    def _constant(self, builder: GraphBuilder, outs: list[int], attributes: dict[str, Any]) -> None:
        stored = int(attributes.get("size") or 0)
        self.weight_bytes += stored
        self.reaches = max(self.reaches, int(attributes.get("offset") or 0) + stored)
        dtype = _DTYPES.get(str(attributes.get("element_type")), "")
        sizes = str(attributes.get("shape") or "")
        shape = tuple(int(size) for size in sizes.split(",") if size.strip().isdigit())
        values = self._values(dtype, shape, int(attributes.get("offset") or 0), stored)
        for index in outs:
            builder.describe(index, dtype, shape, "constant", stored or size_bytes(dtype, shape))
            if values is not None:
                builder.values[index] = values

    def _values(self, dtype: str, shape: tuple[int, ...], start: int, size: int) -> tuple[Any, ...] | None:
        """The elements of a small constant."""
        count = elements(shape)
        if count is None or count > _SMALL_COUNT or BITS.get(dtype, 0) < 8 or start < 0:
            return None
        try:
            kind = np.dtype(dtype).newbyteorder("<")
        except TypeError:
            return None
        if count * kind.itemsize != size or start + size > len(self.buffer):
            return None
        return tuple(np.frombuffer(bytes(self.buffer[start : start + size]), kind).tolist())


def _tensor_name(port: Element, layer: str) -> str:
    """What the tensor of a port is called: the first of its own names, else the name of its layer."""
    return port.attributes.get("names", "").split(",")[0] or layer


def _is_met_again(builder: GraphBuilder, layer: Element, attributes: dict[str, Any]) -> bool:
    """True for a matrix that an earlier constant has in the same place: its readers then read that one.

    The exporter writes equal bytes once. Vectors may be equal by chance, such as biases of zeros; matrices are not.
    """
    sizes = str(attributes.get("shape") or "").split(",")
    if sum(size.strip() not in ("", "0", "1") for size in sizes) < 2:
        return False
    place = ("stored", *(attributes.get(key) for key in ("offset", "size", "element_type", "shape")))
    sources = [(layer.attributes.get("id", ""), port.attributes["id"]) for port in _ports(layer, "output")]
    first = builder.keys.get(place)
    if first is None or any(source in builder.keys for source in sources):
        builder.keys.update((place, builder.find(source)) for source in sources[:1])
        return False
    builder.keys.update((source, first) for source in sources)
    return True


def _steps(layer: Element) -> dict[str, int]:
    """By which input, along which axis, an iterator is cut into steps of one."""
    places, ports = layer.find("port_map"), _numbers(layer, "input")
    for entry in places.all("input") if places is not None else ():
        given = entry.attributes
        if "axis" in given and given.get("external_port_id") in ports and given.get("part_size", "1") == "1":
            return {"steps_slot": ports.index(given["external_port_id"]), "steps_axis": int(given["axis"])}
    return {}


def _ports(layer: Element, side: str) -> list[Element]:
    found = layer.find(side)
    return [port for port in found.all("port") if "id" in port.attributes] if found is not None else []


def _numbers(layer: Element, side: str) -> list[str]:
    return [port.attributes["id"] for port in _ports(layer, side)]


def _value(text: str) -> Any:
    """An attribute's text as numbers where it is made of them."""
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        if text in ("true", "false"):
            return text == "true"
        return text[:1000]
    return numbers if len(numbers) > 1 else numbers[0]


def _facts(root: Element) -> dict[str, str]:
    found = {}
    info = root.find("rt_info") or root.find("meta_data")
    for child in info.children if info is not None else ():
        value = child.attributes.get("value")
        if value:
            found[child.tag] = value[:200]
    return found
