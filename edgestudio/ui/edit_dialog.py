"""Small edits to a model's graph: one edit with its options, made as a new model under the old one."""

from __future__ import annotations

from PySide6.QtWidgets import QComboBox, QWidget

from edgestudio.optimize import catalog
from edgestudio.studio.rows import ModelRow
from edgestudio.ui.dialogs import Sheet
from edgestudio.ui.requests import Requests
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.schema_form import SchemaForm
from edgestudio.ui.widgets.text import label, set_role
from edgestudio.wire.errors import EdgeStudioError


class EditDialog(Sheet):
    """The passes that edit, each with the form of its own options; Undo takes the result away again."""

    def __init__(self, row: ModelRow, requests: Requests, parent: QWidget) -> None:
        super().__init__("edit-dialog", f"Edit {row.name}", parent, 520, 460)
        self._row, self._requests, self._is_open = row, requests, True
        self._specs = [spec for spec in catalog.specs() if spec.is_edit]
        self.body.addWidget(label(f"Edit {row.name}", "title"))
        inputs = ", ".join(str(each.get("name")) for each in row.summary.get("inputs") or ())
        outputs = ", ".join(str(each.get("name")) for each in row.summary.get("outputs") or ())
        self.body.addWidget(
            label(f"Inputs: {inputs or '–'}.  Outputs: {outputs or '–'}.", "caption", wraps=True)
        )
        self.choice = QComboBox()
        self.choice.setObjectName("edit-choice")
        self.choice.setAccessibleName("Edit")
        for spec in self._specs:
            self.choice.addItem(spec.title, spec.id)
        self.choice.currentIndexChanged.connect(lambda _: self._choose())
        self.body.addWidget(self.choice)
        self._description = label("", "muted", wraps=True)
        self.body.addWidget(self._description)
        self.form: SchemaForm | None = None
        self._answer = label("", "muted", wraps=True, name="edit-answer")
        self.body.addWidget(self._answer)
        self.body.addStretch(1)
        self.add_close("Cancel")
        self.accept_button = Button("Make the edited model", "edit-accept", kind="primary", run=self._go)
        self.accept_button.setDefault(True)
        self.buttons.addWidget(self.accept_button)
        self.finished.connect(self._closed)
        self._choose()

    def _choose(self) -> None:
        spec = self._specs[self.choice.currentIndex()]
        self._description.setText(spec.description)
        if self.form is not None:
            self.form.setParent(None)  # at once: two forms would share their names
            self.form.deleteLater()
        self.form = SchemaForm(catalog.options_model(spec), f"edit-{spec.id}")
        self.body.insertWidget(self.body.indexOf(self._description) + 1, self.form)
        self._say("", "muted")

    def _go(self) -> None:
        if self.form is None or not self.form.validate():
            return
        step = {"pass": self.choice.currentData(), "options": self.form.changes()}
        self.accept_button.setEnabled(False)
        self._say("Working …", "muted")
        sha256 = self._row.sha256
        self._requests.serve(lambda studio: studio.edits.edit(sha256, [step]), self._done, self._failed)

    def _done(self, result: object) -> None:
        if self._is_open:
            self.close()

    def _failed(self, error: EdgeStudioError) -> None:
        if self._is_open:
            self._say(error.in_full, "bad")
            self.accept_button.setEnabled(True)

    def _say(self, text: str, role: str) -> None:
        self._answer.setText(text)
        set_role(self._answer, role)

    def _closed(self) -> None:
        self._is_open = False
