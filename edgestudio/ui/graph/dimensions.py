"""Asks for the sizes of a model's symbolic dimensions, to see its shapes and figures with them."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QFormLayout, QFrame, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.text import label

_LARGEST = 1_000_000


class DimensionsPopup(QFrame):
    """A field for each symbolic dimension; `chosen` carries sizes by name, none of them for the file's own."""

    chosen = Signal(dict)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("graph-dimensions")
        self.setProperty("kind", "card")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._fields: dict[str, QSpinBox] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 12)
        column.setSpacing(8)
        column.addWidget(label("Sizes of open dimensions", "heading"))
        column.addWidget(
            label(
                "Shapes, MACs and memory are worked out for them. The file stays as it is.",
                "muted",
                wraps=True,
            )
        )
        self._form = QFormLayout()
        column.addLayout(self._form)
        row = QHBoxLayout()
        row.addWidget(Button("As in the file", "graph-dimensions-reset", run=lambda: self._choose({})))
        row.addStretch(1)
        row.addWidget(Button("Show", "graph-dimensions-apply", kind="primary", run=self.apply))
        column.addLayout(row)
        self.setFixedWidth(340)

    def offer(self, names: list[str], now: Mapping[str, int]) -> None:
        """Ask for these, filled with what is shown now."""
        while self._form.rowCount():
            self._form.removeRow(0)
        self._fields = {}
        for name in names:
            box = QSpinBox()
            box.setObjectName(f"graph-dimension-{name}")
            box.setAccessibleName(f"Size of {name}")
            box.setRange(1, _LARGEST)
            box.setValue(now.get(name, 1))
            self._form.addRow(name, box)
            self._fields[name] = box

    def open_at(self, where: QPoint) -> None:
        """Show it with its upper right corner there."""
        self.adjustSize()
        self.move(where - QPoint(self.width(), 0))
        self.show()
        for box in self._fields.values():
            box.setFocus()
            box.selectAll()
            break

    def apply(self) -> None:
        """Choose what the fields say."""
        self._choose({name: box.value() for name, box in self._fields.items()})

    def _choose(self, sizes: dict[str, int]) -> None:
        self.close()
        self.chosen.emit(sizes)
