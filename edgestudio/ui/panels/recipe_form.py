"""The steps of a recipe as forms: one group per pass, each with the pass's own options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from edgestudio.optimize import catalog
from edgestudio.ui.widgets.schema_form import SchemaForm
from edgestudio.ui.widgets.text import label


class RecipeForm(QWidget):
    """Shows a recipe's document and gives it back with what was changed."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._document: dict[str, Any] = {}
        self._forms: list[SchemaForm] = []
        self._groups: list[QWidget] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)

    def show_recipe(self, document: Mapping[str, Any], model_format: str | None) -> None:
        """Build the forms anew; a pass that cannot run on this format here says why."""
        for group in self._groups:
            group.setParent(None)  # at once: two forms of one pass would share their names
            group.deleteLater()
        self._document = dict(document)
        self._forms, self._groups = [], []
        for number, step in enumerate(document["steps"]):
            self._add(number, step, model_format)

    def document(self) -> dict[str, Any]:
        """The recipe with the options as they are in the forms."""
        steps = [
            {"pass": step["pass"], "options": form.changes()}
            for step, form in zip(self._document.get("steps", ()), self._forms, strict=True)
        ]
        return {**self._document, "steps": steps}

    def is_valid(self) -> bool:
        """True when every option of every step holds."""
        verdicts = [form.validate() for form in self._forms]  # each shows its own messages
        return all(verdicts)

    def needs_data(self) -> bool:
        """True when a pass cannot run without calibration data."""
        return any(catalog.spec(step["pass"]).needs_data for step in self._document.get("steps", ()))

    def reason_unavailable(self, model_format: str | None) -> str:
        """Why the recipe cannot run here, "" when it can."""
        for step in self._document.get("steps", ()):
            spec = catalog.spec(step["pass"])
            reason = catalog.reason_unavailable(spec, model_format)
            if reason:
                return f"“{spec.title}” {reason}."
        return ""

    def _add(self, number: int, step: Mapping[str, Any], model_format: str | None) -> None:
        spec = catalog.spec(step["pass"])
        group = QFrame()
        group.setProperty("kind", "card")
        column = QVBoxLayout(group)
        column.setContentsMargins(12, 10, 12, 12)
        column.setSpacing(6)
        column.addWidget(label(f"{number + 1}. {spec.title}", "heading"))
        column.addWidget(label(spec.description, "muted", wraps=True))
        reason = catalog.reason_unavailable(spec, model_format)
        if reason:
            column.addWidget(label(f"Not available: {reason}.", "warning", wraps=True))
        form = SchemaForm(catalog.options_model(spec), f"recipe-{spec.id}")
        form.set_values(step.get("options") or {})
        form.changed.connect(self.changed)
        column.addSpacing(4)
        column.addWidget(form)
        self._forms.append(form)
        self._groups.append(group)
        self._column.addWidget(group)
