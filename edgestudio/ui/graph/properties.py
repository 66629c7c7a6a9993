"""Everything about the selected box, to read and to copy: attributes, tensors, quantisation per channel, cost."""

from __future__ import annotations

from html import escape
from typing import Any

from PySide6.QtCore import QUrl, Signal
from PySide6.QtWidgets import QTextBrowser, QVBoxLayout, QWidget

from edgestudio.model.boxes import shape_text
from edgestudio.model.families import family_of
from edgestudio.model.graph import Graph, Model, Quantization, Tensor
from edgestudio.model.query import parameters
from edgestudio.ui import theme, wording

_CHANNELS_SHOWN = 64
_LIST_SHOWN = 32


class PropertiesPanel(QWidget):
    """Describes a node, a model's input or output, or a group; links lead to producers and consumers."""

    node_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("graph-properties")
        self._page = QTextBrowser()
        self._page.setObjectName("graph-properties-text")
        self._page.setAccessibleName("Properties")
        self._page.setProperty("kind", "plain")
        self._page.setOpenLinks(False)
        self._page.document().setDocumentMargin(12)
        self._page.anchorClicked.connect(self._follow)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._page)
        self._body = ""
        self.show_nothing()
        theme.changed.connect(self._write)

    def text(self) -> str:
        """What is shown, as plain text."""
        return self._page.toPlainText()

    def show_nothing(self) -> None:
        """Say what to do."""
        self._show("<p class=muted>Select a box in the graph or a row of the table to see what it does.</p>")

    def show_node(self, model: Model, graph: Graph, index: int) -> None:
        """Describe a node of `graph`."""
        node = graph.nodes[index]
        family = family_of(node.op)
        cost: list[tuple[str, str]] = [
            ("Family", escape(family.title)),
            ("Node", f"{index} of {len(graph.nodes)}"),
        ]
        if node.domain:
            cost.append(("Domain", escape(node.domain)))
        if node.scope:
            cost.append(("Scope", escape(node.scope)))
        if node.macs is not None:
            cost.append(("MACs", f"{node.macs:,}"))
        weights = parameters(graph, node)
        if weights:
            cost.append(("Parameters", f"{weights:,}"))
        if node.subgraphs:
            named = (model.graphs[g].name for g in node.subgraphs if g < len(model.graphs))
            cost.append(("Subgraphs", escape(", ".join(name or "unnamed" for name in named))))
        parts = [
            f"<h2>{escape(node.op)}</h2><p class=name>{escape(node.name) or '<i>unnamed</i>'}</p>",
            _rows(cost),
        ]
        attributes = [(escape(key), _value(value)) for key, value in sorted(node.attributes.items())]
        if attributes:
            parts.append("<h3>Attributes</h3>" + _rows(attributes))
        producers, consumers = graph.producers(), graph.consumers()
        for title, tensors in (("Inputs", node.inputs), ("Outputs", node.outputs)):
            described = [_tensor(graph, t, producers, consumers, is_input=title == "Inputs") for t in tensors]
            if described:
                parts.append(f"<h3>{title}</h3>" + "".join(described))
        self._show("".join(parts))

    def show_tensor(self, graph: Graph, index: int, *, is_input: bool) -> None:
        """Describe an input or output of the whole model."""
        kind = "Model input" if is_input else "Model output"
        links = _tensor(graph, index, graph.producers(), graph.consumers(), is_input=not is_input)
        self._show(f"<h2>{kind}</h2>{links}")

    def show_group(self, title: str, size: int, operators: dict[str, int]) -> None:
        """Describe a collapsed group."""
        rows = [
            (escape(op), f"{count:,}") for op, count in sorted(operators.items(), key=lambda item: -item[1])
        ]
        hint = "<p class=muted>Double-click it, or press Enter, to open it.</p>"
        self._show(f"<h2>{escape(title)}</h2><p class=name>group of {size:,} nodes</p>{hint}{_rows(rows)}")

    def _show(self, body: str) -> None:
        self._body = body
        self._write()

    def _write(self) -> None:
        colors = theme.palette()
        style = (
            f"body {{ color: {colors.text}; }} a {{ color: {colors.accent}; text-decoration: none; }}"
            f"h2 {{ font-size: 14pt; font-weight: 600; margin: 0 0 2px 0; }}"
            f"h3 {{ font-size: 9.75pt; font-weight: 600; color: {colors.muted}; margin: 16px 0 6px 0; }}"
            f".name, .muted {{ color: {colors.muted}; margin: 0 0 10px 0; }} td {{ padding: 2px 16px 2px 0; }}"
            f".key {{ color: {colors.muted}; }} .tensor {{ margin: 0 0 8px 0; }}"
        )
        self._page.document().setDefaultStyleSheet(style)
        self._page.setHtml(f"<body>{self._body}</body>")

    def _follow(self, link: QUrl) -> None:
        if link.scheme() == "node":
            self.node_chosen.emit(int(link.path()))


def _rows(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td class=key>{key}</td><td>{value}</td></tr>" for key, value in rows)
    return f"<table cellspacing=0>{cells}</table>"


def _value(value: Any) -> str:
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


def _tensor(
    graph: Graph, index: int, producers: dict[int, int], consumers: dict[int, list[int]], *, is_input: bool
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
    ends = (
        [producers[index]]
        if is_input and index in producers
        else ([] if is_input else consumers.get(index, []))
    )
    links = ", ".join(f"<a href='node:{n}'>{escape(graph.nodes[n].op)}</a>" for n in ends[:_LIST_SHOWN]) + (
        f" and {len(ends) - _LIST_SHOWN} more" if len(ends) > _LIST_SHOWN else ""
    )
    arrow = f"<br>{'from' if is_input else 'to'} {links}" if ends else ""
    body = f"<p class=tensor>{escape(tensor.name)}<br><span class=key>{' · '.join(facts)}{arrow}</span></p>"
    return body + _quantization(tensor)


def _quantization(tensor: Tensor) -> str:
    quantization = tensor.quantization
    if quantization is None or not quantization.scale:
        return ""
    channels = len(quantization.scale)
    if channels == 1:
        zero = quantization.zero_point[0] if quantization.zero_point else 0
        return _rows([("Quantised", f"{quantization.scale[0]:.6g} × (q − {zero})")])
    rows = [
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
    return head + _rows(rows[:_CHANNELS_SHOWN]) + more


def _zero(quantization: Quantization, channel: int) -> int:
    points = quantization.zero_point
    return points[channel] if channel < len(points) else (points[0] if points else 0)
