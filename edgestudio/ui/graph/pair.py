"""Two graphs side by side: a selection in one is shown in the other, and a list leads from difference to difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from edgestudio.model.boxes import BoxKind
from edgestudio.model.layout import Layout
from edgestudio.ui.graph.background import Background
from edgestudio.ui.graph.view import GraphView
from edgestudio.ui.widgets.text import ElidedLabel, label

_WORDS = {"removed": "only in A", "added": "only in B", "changed": "changed"}
_PLACES = {"removed": 0.0, "added": 1.0, "changed": 0.55}
_MOST_LISTED = 5000
_READABLE_ZOOM = 0.7


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: what it is, and its node on each side, -1 where there is none."""

    kind: str
    title: str
    a: int
    b: int
    details: str = ""


def differences(result: Mapping[str, Any]) -> list[Difference]:
    """The differences in the result of a `diff`, in the order of the graphs."""
    found = []
    for kind in ("removed", "added", "changed"):
        for row in result.get(kind, ()):
            a = int(row["a"]) if kind == "changed" else int(row["index"]) if kind == "removed" else -1
            b = int(row["b"]) if kind == "changed" else int(row["index"]) if kind == "added" else -1
            found.append(Difference(kind, _title(row), a, b, _details(row)))
    return sorted(found, key=lambda each: max(each.a, each.b))


def _title(row: Mapping[str, Any]) -> str:
    keys = ("operator", "attributes", "shape", "dtype", "weights")
    what = [key for key in keys if key in row] + (["folded"] if row.get("into") else [])
    # TFLite names an operator by everything that was folded into it.
    name = str(row.get("name", "")).partition(";")[0]
    return f"{row.get('op', '')}  {name}" + (f"  ({', '.join(what)})" if what else "")


def _details(row: Mapping[str, Any]) -> str:
    """What exactly differs, a line each: attributes, shape, type, and how far the weights are apart."""
    lines = [str(row.get("op", ""))]
    if row.get("into"):
        lines.append(f"Its work is done by {str(row['into']).partition(';')[0]}")
    for key, title in (("operator", "Operator"), ("shape", "Shape"), ("dtype", "Type")):
        if key in row:
            lines.append(f"{title}: {_shown(row[key][0])} → {_shown(row[key][1])}")
    for name, (old, new) in dict(row.get("attributes") or {}).items():
        lines.append(f"{name}: {_shown(old)} → {_shown(new)}")
    for weight in row.get("weights") or ():
        facts = [
            f"{key} {_shown(weight[key][0])} → {_shown(weight[key][1])}"
            for key in ("dtype", "shape")
            if key in weight
        ]
        if "max_abs" in weight:
            facts.append(
                f"largest difference {weight['max_abs']:.3g}, relative {weight['relative']:.2%}, "
                f"cosine {weight['cosine']:.5f}"
            )
        lines.append(f"Weight {str(weight['name']).partition(';')[0]}: {', '.join(facts)}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "×".join("?" if each is None else str(each) for each in value)
    return "none" if value is None else str(value)


class GraphPair(QWidget):
    """`pair_selected` carries the selected node of A and of B, -1 where one has none."""

    pair_selected = Signal(int, int)
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("graph-pair")
        self.a, self.b = GraphView(), GraphView()
        self.a.setObjectName("graph-pair-a")
        self.b.setObjectName("graph-pair-b")
        self._titles = (ElidedLabel("", "heading"), ElidedLabel("", "heading"))
        self.list = QListWidget()
        self.list.setObjectName("graph-pair-differences")
        self.list.setAccessibleName("Differences")
        self.list.setUniformItemSizes(True)
        self._only = QCheckBox("Only what differs")
        self._only.setObjectName("graph-pair-only")
        self._state = label("", "muted", wraps=True, name="graph-pair-state")
        self._differences: list[Difference] = []
        self._partner: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._differing: tuple[np.ndarray, np.ndarray] = (np.zeros(0, bool), np.zeros(0, bool))
        self._is_following = False
        self._loading = Background(self)
        self._build()

    def load(self, a: tuple[str, Path], b: tuple[str, Path], result: Mapping[str, Any]) -> None:
        """Show two saved layouts, each with its title, and the result of their `diff`."""

        def work() -> tuple[Layout, Layout]:
            return Layout.load(a[1]), Layout.load(b[1])

        self._loading.run(work, lambda made: self.show_pair((a[0], b[0]), made, result), self.failed.emit)

    def show_pair(
        self, titles: tuple[str, str], layouts: tuple[Layout, Layout], result: Mapping[str, Any]
    ) -> None:
        """Show two layouts that are in memory."""
        pairs = {int(i): int(j) for i, j in result.get("pairs", ())}
        self._partner = (pairs, {j: i for i, j in pairs.items()})
        self._differences = differences(result)
        for view, title, text, layout in zip((self.a, self.b), self._titles, titles, layouts, strict=True):
            title.setText(text)
            view.set_model(None, layout)
        self._differing = (self._mark(self.a, "a"), self._mark(self.b, "b"))
        self.list.clear()
        for each in self._differences[:_MOST_LISTED]:
            self.list.addItem(QListWidgetItem(f"{_WORDS[each.kind]}:  {each.title}"))
        total = len(self._differences)
        self._state.setText(f"{total:,} differences" if total else "The graphs have the same structure.")
        self._emphasise()

    def _build(self) -> None:
        split = QSplitter(Qt.Orientation.Horizontal)
        for title, view in zip(self._titles, (self.a, self.b), strict=True):
            side = QWidget()
            column = QVBoxLayout(side)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(4)
            title.setContentsMargins(12, 8, 12, 0)
            column.addWidget(title)
            column.addWidget(view, 1)
            split.addWidget(side)
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(12, 8, 12, 12)
        column.setSpacing(8)
        for widget in (self._state, self._only):
            column.addWidget(widget)
        column.addWidget(self.list, 1)
        self.details = label("", "muted", wraps=True, name="graph-pair-details")
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column.addWidget(self.details)
        split.addWidget(side)
        split.setSizes([500, 500, 280])
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(split)
        self.a.node_selected.connect(lambda node: self._follow(self.a, self.b, node, self._partner[0]))
        self.b.node_selected.connect(lambda node: self._follow(self.b, self.a, node, self._partner[1]))
        self.list.currentRowChanged.connect(self._go)
        self._only.toggled.connect(self._emphasise)

    def _follow(self, chosen: GraphView, other: GraphView, node: int, partner: Mapping[int, int]) -> None:
        if self._is_following:
            return
        self._is_following = True
        found = partner.get(node, -1)
        other.select(found)
        self._is_following = False
        self.pair_selected.emit(*((node, found) if chosen is self.a else (found, node)))

    def _go(self, row: int) -> None:
        if not 0 <= row < len(self._differences):
            return
        difference = self._differences[row]
        self.details.setText(difference.details)
        self._is_following = True
        for view in (self.a, self.b):
            if view.camera.zoom < _READABLE_ZOOM:
                view.zoom_to(_READABLE_ZOOM)
        self.a.select(difference.a)
        self.b.select(difference.b)
        self._is_following = False
        self.pair_selected.emit(difference.a, difference.b)

    def _mark(self, view: GraphView, side: str) -> np.ndarray:
        """Colour and label the boxes that differ; returns which ones do."""
        layout = view.layout_shown
        boxes = layout.boxes
        places = np.full(len(boxes), np.nan)
        texts = [boxes.details[index] for index in boxes.detail.tolist()]
        operators = np.flatnonzero(boxes.kind == BoxKind.OPERATOR)
        box_of_node = dict(zip(boxes.ref[operators].tolist(), operators.tolist(), strict=True))
        for each in self._differences:
            box = box_of_node.get(getattr(each, side))
            if box is not None:
                places[box], texts[box] = _PLACES[each.kind], _WORDS[each.kind]
        view.show_overlay(places, texts)
        differs: np.ndarray = np.isfinite(places)
        return differs

    def _emphasise(self) -> None:
        for view, differing in zip((self.a, self.b), self._differing, strict=True):
            view.show_found(differing if self._only.isChecked() and differing.any() else None)
