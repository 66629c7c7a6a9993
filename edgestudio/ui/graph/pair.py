"""Two graphs side by side: a selection in one is shown in the other, and a list leads from difference to difference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from edgestudio.model.picture.boxes import BoxKind
from edgestudio.model.picture.layout import Layout
from edgestudio.ui import icons, theme
from edgestudio.ui.graph.background import Background
from edgestudio.ui.graph.difference import WORDS, Difference, counts, differences
from edgestudio.ui.graph.legend import Key
from edgestudio.ui.graph.overlay import Overlay
from edgestudio.ui.graph.view import GraphView
from edgestudio.ui.widgets.choice_box import ChoiceBox
from edgestudio.ui.widgets.text import ElidedLabel, label

_ICONS = {"removed": ("minus", "bad"), "changed": ("compare", "warning"), "added": ("add", "good")}
_KINDS = tuple(WORDS)
_LEFT_OUT = {"quantising": "quantise, dequantise", "folded": "folded"}
_MOST_LISTED = 5000
_READABLE_ZOOM = 0.7
_LEAST_LIST_WIDTH = 236
"""Where the words of the list and of the details are not cut off."""


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
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.kinds = ChoiceBox()
        self.kinds.setObjectName("graph-pair-kinds")
        self.kinds.setAccessibleName("Which differences are listed")
        self.keys = (Key((WORDS["removed"], WORDS["changed"])), Key((WORDS["changed"], WORDS["added"])))
        self._only = QCheckBox("Only what differs")
        self._only.setObjectName("graph-pair-only")
        self._state = label("", "muted", wraps=True, name="graph-pair-state")
        self._differences: list[Difference] = []
        self._listed: list[Difference] = []
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
        self._colour()
        total = len(self._differences)
        self._state.setText(f"{total:,} differences" if total else "The graphs have the same structure.")
        self.details.setText("")
        self._offer_kinds()
        self._emphasise()

    def _offer_kinds(self) -> None:
        """Offer the kinds there are; what only quantises or was folded is left out at first, where there are others."""
        number = counts(self._differences)
        total = len(self._differences)
        rest = total - number["quantising"] - number["folded"]
        left_out = [_LEFT_OUT[key] for key in _LEFT_OUT if number[key]]
        self.kinds.blockSignals(True)
        self.kinds.clear()
        self.kinds.addItem(f"All ({total:,})", "")
        for kind in _KINDS:
            if 0 < number[kind] < total:
                self.kinds.addItem(f"{WORDS[kind][:1].upper()}{WORDS[kind][1:]} ({number[kind]:,})", kind)
        if 0 < rest < total:
            self.kinds.addItem(f"Without {' and '.join(left_out)} ({rest:,})", "computing")
            self.kinds.setCurrentIndex(self.kinds.count() - 1)
        self.kinds.setVisible(self.kinds.count() > 1)
        self.kinds.blockSignals(False)
        self._list()

    def _list(self) -> None:
        """List the differences of the chosen kind."""
        kind = self.kinds.currentData()
        self._listed = [
            each
            for each in self._differences
            if not kind
            or each.kind == kind
            or (kind == "computing" and not (each.is_quantising or each.is_folded))
        ]
        self.list.clear()
        pictures = {each: icons.icon(*_ICONS[each]) for each in _KINDS}
        for each in self._listed[:_MOST_LISTED]:
            item = QListWidgetItem(pictures[each.kind], each.title.partition("  (")[0])
            item.setToolTip(each.details)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{WORDS[each.kind]}: {each.title}")
            self.list.addItem(item)

    def _build(self) -> None:
        split = QSplitter(Qt.Orientation.Horizontal)
        for title, key, view in zip(self._titles, self.keys, (self.a, self.b), strict=True):
            side = QWidget()
            column = QVBoxLayout(side)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(4)
            head = QVBoxLayout()
            head.setContentsMargins(12, 8, 12, 0)
            head.setSpacing(2)
            head.addWidget(title)
            head.addWidget(key)
            column.addLayout(head)
            column.addWidget(view, 1)
            split.addWidget(side)
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(12, 8, 12, 12)
        column.setSpacing(8)
        for widget in (self._state, self.kinds, self._only):
            column.addWidget(widget)
        self.details = label("", "muted", wraps=True, name="graph-pair-details")
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.details.setAlignment(Qt.AlignmentFlag.AlignTop)
        below = QScrollArea()
        below.setWidgetResizable(True)
        below.setFrameShape(QFrame.Shape.NoFrame)
        below.setWidget(self.details)
        down = QSplitter(Qt.Orientation.Vertical)
        down.addWidget(self.list)
        down.addWidget(below)
        down.setSizes([300, 120])
        down.setChildrenCollapsible(False)
        column.addWidget(down, 1)
        side.setMinimumWidth(_LEAST_LIST_WIDTH)
        split.addWidget(side)
        split.setSizes([500, 500, 280])
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(split)
        self.a.node_selected.connect(lambda node: self._follow(self.a, self.b, node, self._partner[0]))
        self.b.node_selected.connect(lambda node: self._follow(self.b, self.a, node, self._partner[1]))
        self.list.currentRowChanged.connect(self._go)
        self._only.toggled.connect(self._emphasise)
        self.kinds.currentIndexChanged.connect(lambda _: self._list())
        theme.changed.connect(self._recolour)

    def _follow(self, chosen: GraphView, other: GraphView, node: int, partner: Mapping[int, int]) -> None:
        if self._is_following:
            return
        self._is_following = True
        found = partner.get(node, -1)
        other.select(found)
        self._is_following = False
        self.pair_selected.emit(*((node, found) if chosen is self.a else (found, node)))

    def _go(self, row: int) -> None:
        if not 0 <= row < len(self._listed):
            return
        difference = self._listed[row]
        self.details.setText(difference.details)
        self._is_following = True
        for view in (self.a, self.b):
            if view.camera.zoom < _READABLE_ZOOM:
                view.zoom_to(_READABLE_ZOOM)
        self.a.select(difference.a)
        self.b.select(difference.b)
        self._is_following = False
        self.pair_selected.emit(difference.a, difference.b)

    def _recolour(self) -> None:
        chosen = self.list.currentRow()
        self._colour()
        self._list()
        self.list.setCurrentRow(chosen)
        self._emphasise()

    def _colour(self) -> None:
        """Colour and label the boxes that differ, and say above each graph what the colours mean."""
        colors = theme.palette()
        self.keys[0].show_colors(colors.bad, colors.warning)
        self.keys[1].show_colors(colors.warning, colors.good)
        self._differing = (self._mark(self.a, "a"), self._mark(self.b, "b"))

    def _mark(self, view: GraphView, side: str) -> np.ndarray:
        """Colour and label the boxes of one graph; returns which ones differ."""
        layout = view.layout_shown
        boxes = layout.boxes
        kinds = np.full(len(boxes), np.nan)
        texts = [boxes.details[index] for index in boxes.detail.tolist()]
        operators = np.flatnonzero(boxes.kind == BoxKind.OPERATOR)
        box_of_node = dict(zip(boxes.ref[operators].tolist(), operators.tolist(), strict=True))
        for each in self._differences:
            box = box_of_node.get(getattr(each, side))
            if box is not None:
                kinds[box], texts[box] = _KINDS.index(each.kind), WORDS[each.kind]
        colors = theme.palette()
        ramp = (colors.bad, colors.warning, colors.good)
        overlay = Overlay("Differences", "", kinds, words=tuple(WORDS.values()))
        view.show_overlay(overlay.positions(), texts, ramp)
        differs: np.ndarray = np.isfinite(kinds)
        return differs

    def _emphasise(self) -> None:
        for view, differing in zip((self.a, self.b), self._differing, strict=True):
            view.show_found(differing if self._only.isChecked() and differing.any() else None)
