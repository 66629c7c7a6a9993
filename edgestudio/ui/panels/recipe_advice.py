"""What is said before a recipe runs: what it will not do for this model, and whether the data can carry it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from edgestudio.optimize.advice import advise_recipe
from edgestudio.studio.rows import ModelRow, ReportRow
from edgestudio.ui.widgets.text import IconLabel, label

# What the recipes' option `target` means as a type of processor; anything else is this computer's own.
_ARM, _X86 = "aarch64", "x86_64"
_SEVERITIES = {
    "ok": ("success", "good"),
    "warning": ("warning", "warning"),
    "error": ("error", "bad"),
    "info": ("info", "muted"),
}


def machine_of(document: Mapping[str, Any]) -> str:
    """The processor that a recipe's document is for, as `platform.machine` names it."""
    for step in document["steps"]:
        target = str(step["options"].get("target", ""))
        if "arm" in target or "pi" in target or "jetson" in target or "tensorrt" in target:
            return _ARM
        if "x86" in target:
            return _X86
    return platform.machine()


class RecipeAdvice(QWidget):
    """Sentences with icons; hidden while there is nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("recipe-advice")
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(6)
        self._said: list[tuple[str, str, str]] = []
        self._show([])

    def sentences(self) -> list[str]:
        """What is said now."""
        return [text for _, _, text in self._said]

    def advise(self, row: ModelRow | None, document: Mapping[str, Any]) -> None:
        """Say what the recipe will not do for this model."""
        remarks = advise_recipe(document["steps"], row.summary, machine_of(document)) if row else []
        self._show([("info", "muted", remark) for remark in remarks])

    def report(self, row: ReportRow) -> None:
        """Say what the calibration doctor found, its warnings first."""
        findings = row.result.get("findings") or ()
        lines = []
        for finding in sorted(findings, key=lambda each: each.get("severity") in ("ok", "info")):
            icon, role = _SEVERITIES.get(str(finding.get("severity")), ("info", "muted"))
            lines.append((icon, role, f"{finding.get('text', '')} {finding.get('remedy') or ''}".strip()))
        self._show(lines or [("success", "good", f"The data is {row.verdict}.")])

    def clear(self) -> None:
        """Say nothing."""
        self._show([])

    def _show(self, lines: list[tuple[str, str, str]]) -> None:
        if lines == self._said and lines:
            return
        self._said = lines
        while (item := self._column.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.setParent(None)
                widget.deleteLater()
        for icon, role, text in lines:
            line = QWidget()
            across = QHBoxLayout(line)
            across.setContentsMargins(0, 0, 0, 0)
            across.setSpacing(6)
            across.addWidget(IconLabel(icon, 15, role, role), 0, Qt.AlignmentFlag.AlignTop)
            across.addWidget(label(text, role, wraps=True), 1)
            self._column.addWidget(line)
        self.setVisible(bool(lines))
