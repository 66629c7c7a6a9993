"""Texts about tensors in the properties: type, shape, who reads it, quantisation per channel, values in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from PySide6.QtGui import QImage

from edgestudio.model.graph import Graph, Quantization, Tensor
from edgestudio.model.picture.boxes import shape_text
from edgestudio.ui import wording
from edgestudio.ui.graph import weight_plots

Ends = tuple[dict[int, int], dict[int, list[int]]]
"""The producer and the consumers of each tensor."""
Statistics = Mapping[str, Mapping[str, Any]]
_CHANNELS_SHOWN = 64
_LIST_SHOWN = 32
_LONGEST_NAME = 240


class Pictures:
    """Pictures that a text refers to, drawn when they are shown, in the colours of that time."""

    def __init__(self) -> None:
        self._draw: dict[str, Callable[[], QImage]] = {}

    def add(self, draw: Callable[..., QImage], *what: Any) -> str:
        """The HTML that stands for a picture of `what`."""
        name = f"picture-{len(self._draw)}"
        self._draw[name] = lambda: draw(*what)
        return f"<p><img src='{name}' width={weight_plots.WIDTH_PX} height={weight_plots.HEIGHT_PX}></p>"

    def drawn(self, name: str) -> QImage | None:
        """The picture of this name."""
        draw = self._draw.get(name)
        return draw() if draw else None

    def __len__(self) -> int:
        """How many there are."""
        return len(self._draw)


def rows(table: list[tuple[str, str]]) -> str:
    """A table of names and texts, which are HTML already."""
    cells = "".join(f"<tr><td class=key>{key}</td><td>{value}</td></tr>" for key, value in table)
    return f"<table cellspacing=0>{cells}</table>"


def value_text(value: Any) -> str:
    """An attribute's value; long lists are cut, and say how long they are."""
    if isinstance(value, list | tuple):
        shown = ", ".join(_plain(v) for v in value[:_LIST_SHOWN])
        more = f", … ({len(value):,} in all)" if len(value) > _LIST_SHOWN else ""
        return escape(f"[{shown}{more}]")
    return escape(_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return str(value)


def name_text(name: str) -> str:
    """A name; of one that would fill the page, its ends."""
    half = _LONGEST_NAME // 2
    return escape(name if len(name) <= _LONGEST_NAME else f"{name[:half]} … {name[-half:]}")


def tensor_text(
    graph: Graph, index: int, ends: Ends, pictures: Pictures, statistics: Statistics, *, is_input: bool
) -> str:
    """One tensor: name, type and shape, size, who writes or reads it, how it is quantised."""
    if index < 0:
        return "<p class=muted>(left out)</p>"
    tensor = graph.tensors[index]
    facts = [escape(tensor.dtype or "type unknown"), escape(shape_text(tensor.shape) or "shape unknown")]
    if tensor.size_bytes is not None:
        facts.append(wording.size(tensor.size_bytes))
    if tensor.kind == "constant":
        facts.append("weight")
    producers, consumers = ends
    nodes = ([producers[index]] if index in producers else []) if is_input else consumers.get(index, [])
    links = ", ".join(f"<a href='node:{n}'>{escape(graph.nodes[n].op)}</a>" for n in nodes[:_LIST_SHOWN]) + (
        f" and {len(nodes) - _LIST_SHOWN} more" if len(nodes) > _LIST_SHOWN else ""
    )
    arrow = f"<br>{'from' if is_input else 'to'} {links}" if nodes else ""
    body = (
        f"<p class=tensor>{name_text(tensor.name)}<br><span class=key>{' · '.join(facts)}{arrow}</span></p>"
    )
    known = statistics.get(tensor.name)
    return body + _quantization(tensor, pictures) + (_statistics(known, pictures) if known else "")


def _quantization(tensor: Tensor, pictures: Pictures) -> str:
    quantization = tensor.quantization
    if quantization is None or not quantization.scale:
        return ""
    channels = len(quantization.scale)
    if channels == 1:
        zero = quantization.zero_point[0] if quantization.zero_point else 0
        return rows([("Quantised", f"{quantization.scale[0]:.6g} × (q − {zero})")])
    table = [
        (f"{i}", f"{scale:.6g} × (q − {_zero(quantization, i)})")
        for i, scale in enumerate(quantization.scale)
    ]
    more = (
        f"<p class=muted>and {channels - _CHANNELS_SHOWN} more channels</p>"
        if channels > _CHANNELS_SHOWN
        else ""
    )
    low, high = min(quantization.scale), max(quantization.scale)
    head = f"<p class=muted>{channels} channels along axis {quantization.axis}, scales {low:.3g} to {high:.3g}</p>"
    picture = pictures.add(weight_plots.channels, quantization.scale)
    return head + picture + rows(table[:_CHANNELS_SHOWN]) + more


def _statistics(known: Mapping[str, Any], pictures: Pictures) -> str:
    """What the worker found of a weight's values, and their histogram."""
    table = [
        ("Values", f"{known['count']:,}"),
        ("Zeros", f"{known['zeros']:,} ({known['sparsity'] or 0:.1%})"),
    ]
    if known.get("not_finite"):
        table.append(("Not finite", f"{known['not_finite']:,}"))
    if known.get("histogram") is None:
        return rows(table)
    low, high = float(known["min"]), float(known["max"])
    table += [
        ("Range", f"{low:.6g} to {high:.6g}"),
        ("Mean ± deviation", f"{known['mean']:.4g} ± {known['std']:.4g}"),
    ]
    return pictures.add(weight_plots.histogram, known["histogram"], low, high) + rows(table)


def _zero(quantization: Quantization, channel: int) -> int:
    points = quantization.zero_point
    return points[channel] if channel < len(points) else (points[0] if points else 0)
