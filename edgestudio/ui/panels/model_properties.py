"""What is known about the selected model: figures, inputs, outputs, operators, and what its recipe did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from edgestudio.studio.library.facts import facts_of
from edgestudio.studio.rows import ModelRow
from edgestudio.ui import theme, wording
from edgestudio.ui.desk import Desk
from edgestudio.ui.widgets.buttons import Button, IconButton
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.text import ElidedLabel, IconLabel, label

_MOST_OPERATORS = 14
_MOST_TENSORS = 64
_WIDEST_KEY_PX = 120


class ModelProperties(QWidget):
    """Follows the selected model; rebuilt when its row changes, which is seldom."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("model-properties")
        self._desk = desk
        self._shown: ModelRow | None = None
        self._stack = QStackedWidget()
        self._stack.addWidget(
            EmptyState("info", "Nothing selected", "Select a model in the Library to see what is in it.")
        )
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._stack.addWidget(self._scroll)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._stack)
        desk.selected.model_changed.connect(self.refresh)
        desk.stores.models.changed.connect(lambda row: self.refresh())
        desk.stores.models.removed.connect(self._related)
        desk.stores.models.added.connect(self._related)
        self.refresh()

    def refresh(self) -> None:
        """Show the selected model."""
        row = self._desk.stores.models.get(self._desk.selected.model)
        if row == self._shown and row is not None:
            return
        self._shown = row
        if row is None:
            self._stack.setCurrentIndex(0)
            return
        self._scroll.setWidget(self._page(row))
        self._stack.setCurrentIndex(1)

    def _related(self, row: ModelRow) -> None:
        """A relative came or went: the lineage is another one."""
        if self._shown is not None and self._shown.sha256 in (row.parent, row.sha256):
            self._shown = None
        self.refresh()

    def _page(self, row: ModelRow) -> QWidget:
        page = QWidget()
        page.setProperty("kind", "page")
        column = QVBoxLayout(page)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        column.addWidget(ElidedLabel(row.name, "title"))
        if row.recipe:
            column.addWidget(label(f"Made by {row.recipe} from {self._parent(row)}", "muted", wraps=True))
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(
            Button("Shrink", "properties-optimize", icon="recipe", run=lambda: self._desk.run("view.recipe"))
        )
        buttons.addWidget(
            Button("Benchmark", "properties-bench", icon="results", run=lambda: self._desk.run("model.bench"))
        )
        buttons.addStretch(1)
        column.addLayout(buttons)
        column.addWidget(_form("model-facts", _facts(row)))
        self._add_words(column, row)
        for title, key in (("Inputs", "inputs"), ("Outputs", "outputs")):
            tensors = row.summary.get(key)
            if isinstance(tensors, Sequence) and tensors:
                column.addWidget(label(title, "heading"))
                column.addWidget(_form(f"model-{key}", [_tensor(each) for each in tensors[:_MOST_TENSORS]]))
                if len(tensors) > _MOST_TENSORS:
                    column.addWidget(label(f"and {len(tensors) - _MOST_TENSORS:,} more", "muted"))
        operators = row.summary.get("operators")
        if isinstance(operators, Mapping) and operators:
            column.addWidget(label("Operators", "heading"))
            column.addWidget(_form("model-operators", _operators(operators)))
        self._add_lineage(column, row)
        if row.steps:
            column.addWidget(label("Steps", "heading"))
            column.addWidget(_form("model-steps", [_step(each) for each in row.steps]))
        for text in (*row.warnings, *(row.summary.get("warnings") or ())):
            column.addWidget(_warning(str(text)))
        column.addStretch(1)
        return page

    def _add_words(self, column: QVBoxLayout, row: ModelRow) -> None:
        """What people said about the model, each line with the command that changes it."""
        column.addWidget(label("About it", "heading"))
        card = QFrame()
        card.setProperty("kind", "card")
        card.setObjectName("model-words")
        grid = QGridLayout(card)
        grid.setContentsMargins(12, 6, 4, 6)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        known = facts_of(row)
        made = [f"{key.replace('_', ' ')}: {_short(text)}" for key, text in _leaves(known)]
        lines = (
            ("Version", row.version, "model.set_version", "version"),
            ("Tags", ", ".join(row.tags), "model.set_tags", "tags"),
            ("Note", row.note, "model.note", "note"),
            ("Made", "\n".join(made), "model.set_facts", "made"),
        )
        for at, (title, text, command, name) in enumerate(lines):
            value = label(text or wording.DASH, wraps=True, name=f"model-{name}")
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            edit = IconButton(
                "edit", f"Change: {title.lower()}", f"model-{name}-edit",
                partial(self._desk.run, command),
            )  # fmt: skip
            heading = label(title, "muted")
            for text_label in (heading, value):  # on one line with the picture of the button
                text_label.setContentsMargins(0, 4, 0, 4)
            grid.addWidget(heading, at, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(value, at, 1, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(edit, at, 2, Qt.AlignmentFlag.AlignTop)
        column.addWidget(card)

    def _add_lineage(self, column: QVBoxLayout, row: ModelRow) -> None:
        """Where it comes from and what was made from it; each leads there."""
        store = self._desk.stores.models
        above: list[ModelRow] = []
        parent = store.get(row.parent)
        while parent is not None and parent not in above:
            above.append(parent)
            parent = store.get(parent.parent)
        below = [each for each in store.rows() if each.parent == row.sha256]
        if not above and not below:
            return
        column.addWidget(label("Lineage", "heading"))
        for word, rows in (("Made from", above), ("Made into", below)):
            for each in rows:
                go = Button(
                    f"{word} {each.name}", f"lineage-{each.sha256[:12]}", icon="variant", kind="quiet"
                )
                go.clicked.connect(lambda _=False, sha=each.sha256: self._desk.selected.select_model(sha))
                go.setToolTip(each.recipe or each.path)
                go.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
                column.addWidget(go)

    def _parent(self, row: ModelRow) -> str:
        parent = self._desk.stores.models.get(row.parent)
        return parent.name if parent else "a model that was removed"


def _facts(row: ModelRow) -> list[tuple[str, str]]:
    facts = wording.facts({"format": row.format, **row.summary, "size_bytes": row.size_bytes})
    return [*facts, ("SHA-256", f"{row.sha256[:24]}…")]


def _leaves(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from value.items()
        elif value:
            yield key, value


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _step(step: Mapping[str, Any]) -> tuple[str, str]:
    title = str(step.get("title") or step.get("pass") or "step")
    return title, f"{wording.size(step.get('size_bytes'))}  {wording.duration(step.get('seconds'))}"


def _tensor(tensor: Mapping[str, Any]) -> tuple[str, str]:
    return str(tensor.get("name", "")), f"{tensor.get('dtype', '')}  {wording.shape(tensor.get('shape'))}"


def _operators(operators: Mapping[str, int]) -> list[tuple[str, str]]:
    ranked = sorted(operators.items(), key=lambda item: (-item[1], item[0]))
    rows = [(name, f"{number:,}") for name, number in ranked[:_MOST_OPERATORS]]
    if len(ranked) > _MOST_OPERATORS:
        rows.append(
            (f"{len(ranked) - _MOST_OPERATORS} more", f"{sum(n for _, n in ranked[_MOST_OPERATORS:]):,}")
        )
    return rows


def _form(name: str, rows: Sequence[tuple[str, str]]) -> QFrame:
    card = QFrame()
    card.setProperty("kind", "card")
    card.setObjectName(name)
    grid = QGridLayout(card)
    grid.setContentsMargins(12, 8, 12, 8)
    grid.setVerticalSpacing(4)
    grid.setHorizontalSpacing(12)
    grid.setColumnStretch(1, 1)
    widest = 0
    for at, (key, text) in enumerate(rows):
        value = ElidedLabel(text)
        value.setFont(theme.figures(value.font()))
        name_label = ElidedLabel(key, "muted")
        widest = max(widest, name_label.sizeHint().width())
        grid.addWidget(name_label, at, 0)
        grid.addWidget(value, at, 1)
    grid.setColumnMinimumWidth(0, min(widest, _WIDEST_KEY_PX))
    return card


def _warning(text: str) -> QWidget:
    line = QWidget()
    row = QHBoxLayout(line)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(8)
    row.addWidget(IconLabel("warning", 16, "warning", "Warning"), 0, Qt.AlignmentFlag.AlignTop)
    row.addWidget(label(text, "warning", wraps=True), 1)
    return line
