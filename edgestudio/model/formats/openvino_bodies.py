"""What an OpenVINO loop or branch hands to its bodies and takes from them, as its maps of ports say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from edgestudio.model.graph import Node
from edgestudio.model.inference import Shape, Values

LOOPS = {"Loop", "TensorIterator"}


class _Element(Protocol):
    """An XML element as the reader keeps it."""

    tag: str
    attributes: dict[str, str]
    children: list[Any]


def _all(element: _Element | None, tag: str) -> list[Any]:
    return [child for child in element.children if child.tag == tag] if element is not None else []


def _child(element: _Element, tag: str) -> Any:
    return next(iter(_all(element, tag)), None)


def port_maps(layer: _Element, bodies: Sequence[_Element], ins: list[str], outs: list[str]) -> dict[str, Any]:
    """Attributes of the node: for each body where its inputs come from, and where the node's outputs do.

    `ins` and `outs` are the layer's ports. An input is [port's place, axis, size of a part], an output is
    [body's result, axis]; the axis is None for what is handed over whole, and a place -1 for what is none.
    """
    handed, results = [], []
    slots = {port: at for at, port in enumerate(ins)}
    for body in bodies:
        kind = body.tag.removesuffix("body")
        places = _child(layer, f"{kind}port_map")
        inner = [each.attributes for each in _all(_child(body, "layers"), "layer")]
        given = {each.attributes.get("internal_layer_id"): each.attributes for each in _all(places, "input")}
        ids = [each.get("id") for each in inner if each.get("type") in ("Parameter", "Input")]
        handed.append([_place(given.get(key, {}), slots) for key in ids])
        last = [each.get("id", "") for each in inner if each.get("type") == "Result"]
        ends = {key: at for at, key in enumerate(last)}
        taken = {each.attributes.get("external_port_id"): each.attributes for each in _all(places, "output")}
        results.append([_result(taken.get(port, {}), ends) for port in outs])
    return {"body_inputs": handed, "body_outputs": results} if any(handed) or any(results) else {}


def _place(given: dict[str, str], slots: dict[str, int]) -> list[int | None]:
    place = slots.get(given.get("external_port_id", ""), -1)
    return [place, _number(given.get("axis")), _number(given.get("part_size", "1"))]


def _result(given: dict[str, str], ends: dict[str, int]) -> list[int | None]:
    return [ends.get(given.get("internal_layer_id", ""), -1), _number(given.get("axis"))]


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() and len(text) < 19 else None


def handed(
    node: Node, body: int, shapes: Sequence[Shape], values: Sequence[Values]
) -> tuple[list[Shape], list[Values]]:
    """What body number `body` is given: shapes, parts of them where a loop takes steps, and numbers of a branch."""
    maps = node.attributes.get("body_inputs")
    if not isinstance(maps, list) or body >= len(maps):
        return [], []
    given: list[Shape] = []
    numbers: list[Values] = []
    for place, axis, part in maps[body]:
        shape = shapes[place] if 0 <= place < len(shapes) else None
        given.append(shape if shape is None or axis is None else _cut(shape, axis, part))
        is_kept = node.op not in LOOPS and 0 <= place < len(values)
        numbers.append(values[place] if is_kept else None)
    return given, numbers


def _cut(shape: tuple[Any, ...], axis: int, part: int | None) -> Shape:
    if not -len(shape) <= axis < len(shape):
        return None
    cut = list(shape)
    cut[axis] = abs(part) if part else None
    return tuple(cut)


def gathered(node: Node, results: Sequence[Sequence[Shape]], trips: int | None) -> list[Sequence[Shape]]:
    """For each body the shapes of the node's outputs: results as they are, or those of all rounds side by side."""
    maps = node.attributes.get("body_outputs")
    if not isinstance(maps, list):
        return [[]]
    found: list[Sequence[Shape]] = []
    for row, shapes in zip(maps, results, strict=False):
        sides: list[Shape] = []
        for place, axis in row:
            shape = shapes[place] if 0 <= place < len(shapes) else None
            sides.append(shape if shape is None or axis is None else _joined(shape, axis, trips))
        found.append(sides)
    return found


def _joined(shape: tuple[Any, ...], axis: int, trips: int | None) -> Shape:
    if not -len(shape) <= axis < len(shape):
        return None
    joined = list(shape)
    size = joined[axis]
    joined[axis] = size * trips if isinstance(size, int) and trips is not None else None
    return tuple(joined)


def rounds(node: Node, shapes: Sequence[Shape], values: Sequence[Values]) -> int | None:
    """How often a loop's body runs: as many parts as an input has, or as its first input says."""
    maps = node.attributes.get("body_inputs")
    for place, axis, part in maps[0] if isinstance(maps, list) and maps else ():
        shape = shapes[place] if 0 <= place < len(shapes) else None
        if axis is not None and shape is not None and -len(shape) <= axis < len(shape):
            size = shape[axis]
            return size // abs(part) if isinstance(size, int) and part else None
    count = values[0] if node.op == "Loop" and values else None
    return count[0] if count and len(count) == 1 and isinstance(count[0], int) and count[0] > 0 else None
