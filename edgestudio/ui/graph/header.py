"""Above the graph: what the model is, from its format to its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from edgestudio.ui import wording
from edgestudio.ui.widgets.text import ElidedLabel, label

_TOGETHER = "\N{NO-BREAK SPACE}"
_BETWEEN = f"{_TOGETHER * 2}· {_TOGETHER}"


class GraphHeader(QWidget):
    """The model's name, and its facts with a middle dot between them, on as many lines as they need."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("graph-header")
        self._title = ElidedLabel("", "heading", Qt.TextElideMode.ElideMiddle)
        self._title.setObjectName("graph-title")
        self._title.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._facts = label("", "muted", wraps=True, name="graph-facts")
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 8, 16, 2)
        row.setSpacing(12)
        row.addWidget(self._title, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self._facts, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """A long name leaves the facts their half."""
        super().resizeEvent(event)
        self._title.setMaximumWidth(max(120, self.width() // 2))

    def title(self) -> str:
        """The model's name."""
        return self._title.text()

    def show_summary(self, title: str, summary: Mapping[str, Any]) -> None:
        """Show what `inspect` found."""
        self._title.setText(title)
        facts = wording.facts(summary)
        own_words = {"Format", "Quantisation"}
        texts = [text if name in own_words else _phrase(name, text) for name, text in facts]
        # Lines break between facts, never inside one.
        self._facts.setText(_BETWEEN.join(text.replace(" ", _TOGETHER) for text in texts))
        self._facts.setToolTip("\n".join(f"{name}: {text}" for name, text in facts))


def _phrase(name: str, text: str) -> str:
    if name == "Version":
        return f"opset {text.removeprefix('ai.onnx ')}" if "ai.onnx" in text else text
    if name == "Nodes" and text == "1":
        return "1 node"
    if name in ("Parameters", "MACs", "Nodes"):
        return f"{text} {name if name == 'MACs' else name.lower()}"
    if name == "MACs not counted":
        return f"MACs not counted: {text}"
    if name == "Peak activations":
        return f"{text} peak activations"
    return text
