"""Everything about the selected box, to read and to copy: attributes, tensors, quantisation, weights, a note."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from PySide6.QtCore import QEvent, QObject, QTimer, QUrl, Signal
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QTextBrowser, QVBoxLayout, QWidget

from edgestudio.model.graph import Graph, Model
from edgestudio.model.picture.families import family_of
from edgestudio.model.query import parameters
from edgestudio.ui import theme
from edgestudio.ui.graph.tensor_text import Pictures, name_text, rows, tensor_text, value_text
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.text import label

_NOTE_PX, _EMPTY_NOTE_PX = 66, 34
_NOTE_RESTS_MS = 500
_MOST_TENSORS = 64


class _Page(QTextBrowser):
    """A text with pictures that are drawn here."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = Pictures()

    def loadResource(self, kind: int, name: QUrl | str) -> Any:
        """A picture of the text."""
        picture = self.pictures.drawn(name.toString() if isinstance(name, QUrl) else name)
        return super().loadResource(kind, name) if picture is None else picture


class PropertiesPanel(QWidget):
    """Describes a node, a model's input or output, or a group; links lead to producers and consumers.

    `statistics_wanted` carries the names of the weights to look into, `note_changed` a node's name and its note.
    """

    node_chosen = Signal(int)
    statistics_wanted = Signal(list)
    statistics_unwanted = Signal()
    note_changed = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("graph-properties")
        self._page = _Page()
        self._page.setObjectName("graph-properties-text")
        self._page.setAccessibleName("Properties of the node")
        self._page.setProperty("kind", "plain")
        self._page.setOpenLinks(False)
        self._page.document().setDocumentMargin(12)
        self._page.anchorClicked.connect(self._follow)
        self.weights_button = Button("Weight statistics", "graph-weights", run=self._want)
        self._cancel = Button("Cancel", "graph-weights-cancel", run=self._unwant)
        self._state = label("", "muted", wraps=True, name="graph-weights-state")
        self.note = QPlainTextEdit()
        self.note.setObjectName("graph-note")
        self.note.setAccessibleName("Note about this node")
        self.note.setPlaceholderText("Add a note")
        self.note.setToolTip("Kept beside the model, not in it")
        self.note.setTabChangesFocus(True)
        self.note.setFixedHeight(_EMPTY_NOTE_PX)
        self.note.installEventFilter(self)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_NOTE_RESTS_MS)
        self._rest.timeout.connect(self.keep_note)
        self.note.textChanged.connect(self._rest.start)
        self.note.textChanged.connect(self._make_room)
        self._arrange()
        self._statistics: dict[str, Mapping[str, Any]] = {}
        self._shown: tuple[Model, Graph, int] | None = None
        self._notes: dict[str, str] = {}
        self._noted = ""
        self.can_ask = False
        self._body = ""
        self.show_nothing()
        theme.changed.connect(self._write)

    def _arrange(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._page, 1)
        self._foot = QWidget()
        foot = QVBoxLayout(self._foot)
        foot.setContentsMargins(12, 8, 12, 12)
        foot.setSpacing(8)
        row = QHBoxLayout()
        row.addWidget(self.weights_button)
        row.addWidget(self._cancel)
        row.addWidget(self._state, 1)
        foot.addLayout(row)
        foot.addWidget(self.note)
        column.addWidget(self._foot)
        self._cancel.hide()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Give the note more room while it is written."""
        if event.type() in (QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            self._make_room()
        return False

    def _make_room(self) -> None:
        is_used = self.note.hasFocus() or bool(self.note.toPlainText())
        self.note.setFixedHeight(_NOTE_PX if is_used else _EMPTY_NOTE_PX)

    def text(self) -> str:
        """What is shown, as plain text."""
        return self._page.toPlainText()

    def show_nothing(self) -> None:
        """Say what to do."""
        self._leave()
        self._show("<p class=muted>Select a box in the graph or a row of the table to see what it does.</p>")

    def show_node(self, model: Model, graph: Graph, index: int) -> None:
        """Describe a node of `graph`."""
        self._leave()
        self._shown = (model, graph, index)
        self._describe(model, graph, index)
        self._offer()

    def know_statistics(self, found: Iterable[Mapping[str, Any]]) -> None:
        """Take in what a worker found of weights, and show it where it belongs."""
        self._statistics.update({str(row["name"]): row for row in found})
        self.say("")
        if self._shown is not None:
            self._describe(*self._shown)
            self._offer()
            self._page.scrollToAnchor("inputs")  # what was asked for comes into view

    def say(self, sentence: str, *, is_waiting: bool = False) -> None:
        """Say what becomes of the statistics that were asked for."""
        self._state.setText(sentence)
        self._cancel.setVisible(is_waiting)
        self.weights_button.setEnabled(not is_waiting)

    def forget(self) -> None:
        """Another model: nothing is known of its weights."""
        self._statistics, self._notes = {}, {}
        self.say("")
        self.show_nothing()

    def know_notes(self, notes: Mapping[str, str]) -> None:
        """The notes by the names of nodes."""
        self._notes = dict(notes)
        self._show_note()

    def keep_note(self) -> None:
        """Announce the note if it was changed."""
        self._rest.stop()
        text = self.note.toPlainText().strip()
        if self._noted and text != self._notes.get(self._noted, ""):
            self._notes[self._noted] = text
            self.note_changed.emit(self._noted, text)

    def _describe(self, model: Model, graph: Graph, index: int) -> None:
        node = graph.nodes[index]
        family = family_of(node.op)
        cost: list[tuple[str, str]] = [
            ("Family", escape(family.title)),
            ("Node", f"{index} of {len(graph.nodes)}"),
        ]
        if node.domain:
            cost.append(("Domain", escape(node.domain)))
        if node.scope:
            cost.append(("Scope", name_text(node.scope)))
        if node.macs is not None:
            cost.append(("MACs", f"{node.macs:,}"))
        weights = parameters(graph, node)
        if weights:
            cost.append(("Parameters", f"{weights:,}"))
        if node.subgraphs:
            named = (model.graphs[g].name for g in node.subgraphs if g < len(model.graphs))
            cost.append(("Subgraphs", escape(", ".join(name or "unnamed" for name in named))))
        name, *others = dict.fromkeys(node.name.split(";"))
        parts = [
            f"<h2>{escape(node.op)}</h2><p class=name>{name_text(name) or '<i>unnamed</i>'}</p>",
            rows(cost),
        ]
        attributes = [(escape(key), value_text(value)) for key, value in sorted(node.attributes.items())]
        if attributes:
            parts.append("<h3>Attributes</h3>" + rows(attributes))
        shown = {"Inputs": node.inputs[:_MOST_TENSORS], "Outputs": node.outputs[:_MOST_TENSORS]}
        pictures, ends = Pictures(), graph.ends((*shown["Inputs"], *shown["Outputs"]))
        for title, tensors in (("Inputs", node.inputs), ("Outputs", node.outputs)):
            described = [
                tensor_text(graph, t, ends, pictures, self._statistics, is_input=title == "Inputs")
                for t in shown[title]
            ]
            if len(tensors) > _MOST_TENSORS:
                described.append(f"<p class=muted>and {len(tensors) - _MOST_TENSORS:,} more</p>")
            if described:
                parts.append(f"<h3><a name={title.lower()}></a>{title}</h3>" + "".join(described))
        if others:  # TFLite names an operator by everything that was folded into it
            folded = "".join(f"<p class=tensor>{escape(each)}</p>" for each in others)
            parts.append(f"<h3>Also named</h3>{folded}")
        self._show("".join(parts), pictures)

    def show_outline(self, operator: str, name: str, detail: str) -> None:
        """Say of a box what its picture tells, while the graph is still being read."""
        self._leave()
        lines = (f"<p>{escape(detail)}</p>" if detail else "") + "<p class=muted>The rest is being read …</p>"
        self._show(f"<h2>{escape(operator)}</h2><p class=name>{name_text(name)}</p>{lines}")

    def show_tensor(self, graph: Graph, index: int, *, is_input: bool) -> None:
        """Describe an input or output of the whole model."""
        kind = "Model input" if is_input else "Model output"
        self._leave()
        pictures, ends = Pictures(), graph.ends((index,))
        links = tensor_text(graph, index, ends, pictures, {}, is_input=not is_input)
        self._show(f"<h2>{kind}</h2>{links}", pictures)

    def show_group(self, title: str, size: int, operators: dict[str, int]) -> None:
        """Describe a collapsed group."""
        self._leave()
        table = [
            (escape(op), f"{count:,}") for op, count in sorted(operators.items(), key=lambda item: -item[1])
        ]
        hint = "<p class=muted>Double-click it, or press Enter, to open it.</p>"
        self._show(f"<h2>{escape(title)}</h2><p class=name>group of {size:,} nodes</p>{hint}{rows(table)}")

    def _leave(self) -> None:
        self.keep_note()
        self._shown, self._noted = None, ""
        self._foot.hide()

    def _offer(self) -> None:
        """Offer what can be asked about the node."""
        assert self._shown is not None
        _, graph, index = self._shown
        names = self._weight_names()
        self.weights_button.setVisible(
            bool(names) and self.can_ask and not set(names) <= self._statistics.keys()
        )
        self._noted = graph.nodes[index].name
        self._show_note()
        self._foot.setVisible(self.can_ask)

    def _show_note(self) -> None:
        self.note.blockSignals(True)
        self.note.setPlainText(self._notes.get(self._noted, ""))
        self.note.blockSignals(False)
        self._make_room()
        self.note.setVisible(bool(self._noted))

    def _weight_names(self) -> list[str]:
        if self._shown is None:
            return []
        _, graph, index = self._shown
        tensors = (graph.tensors[t] for t in graph.nodes[index].inputs if t >= 0)
        return [tensor.name for tensor in tensors if tensor.kind == "constant" and tensor.name]

    def _want(self) -> None:
        self._page.setFocus()  # the button is about to go, and the note is not what comes next
        self.statistics_wanted.emit(self._weight_names())

    def _unwant(self) -> None:
        self.say("")
        self.statistics_unwanted.emit()

    def _show(self, body: str, pictures: Pictures | None = None) -> None:
        self._body, self._page.pictures = body, pictures or Pictures()
        self._write()

    def _write(self) -> None:
        colors = theme.palette()
        style = (
            f"body {{ color: {colors.text}; }} a {{ color: {colors.accent}; text-decoration: none; }}"
            f"h2 {{ font-size: 14pt; font-weight: 600; margin: 0 0 2px 0; }}"
            f"h3 {{ font-size: 9.75pt; font-weight: 600; color: {colors.muted}; margin: 16px 0 6px 0; }}"
            f".name, .muted {{ color: {colors.muted}; margin: 0 0 10px 0; }} td {{ padding: 2px 12px 2px 0; }}"
            f".key {{ color: {colors.muted}; }} .tensor {{ margin: 0 0 8px 0; }}"
        )
        self._page.document().setDefaultStyleSheet(style)
        self._page.setHtml(f"<body>{self._body}</body>")

    def _follow(self, link: QUrl) -> None:
        if link.scheme() == "node":
            self.node_chosen.emit(int(link.path()))
