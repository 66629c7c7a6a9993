"""A dialog that asks for a few things and does one: it blocks nothing, and says in place what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QWidget

from edgestudio.ui.dialogs import Sheet
from edgestudio.ui.requests import Done, Failed
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.choice_box import ChoiceBox
from edgestudio.ui.widgets.file_field import FileField
from edgestudio.ui.widgets.text import label, set_role
from edgestudio.wire.errors import EdgeStudioError

Answers = Mapping[str, Any]
Act = Callable[[Answers, Done, Failed], object]


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask; `choices` are pairs of a value and what is shown for it, `data` is a file or a folder."""

    key: str
    title: str
    value: str = ""
    kind: Literal["line", "text", "secret", "choice", "file", "data", "new-file", "check"] = "line"
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    is_required: bool = True


class AskDialog(Sheet):
    """Answers are texts by key (a path for files, true or false for checks).

    `act` is given them with two callbacks; what it calls `done` with is shown when it is a sentence, and the
    dialog closes by itself otherwise.
    """

    def __init__(
        self, name: str, title: str, parent: QWidget, questions: Sequence[Question], act: Act,
        *, accept: str = "Save", sentence: str = "",
    ) -> None:  # fmt: skip
        super().__init__(name, title, parent, 460, 230 + 72 * len(questions))
        self._act, self._questions = act, tuple(questions)
        self._fields: dict[str, QWidget] = {}
        self._is_open = True
        self.body.addWidget(label(title, "title"))
        if sentence:
            self.body.addWidget(label(sentence, "muted", wraps=True))
        for question in self._questions:
            self._add(question)
        self._answer = label("", "muted", wraps=True, name=f"{name}-answer")
        self._answer.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.body.addWidget(self._answer)
        self.body.addStretch(1)
        self._cancel = Button("Cancel", f"{name}-cancel", run=self.close)
        self._cancel.setAutoDefault(False)
        self.accept_button = Button(accept, f"{name}-accept", kind="primary", run=self._go)
        self.accept_button.setDefault(True)
        self.buttons.addWidget(self._cancel)
        self.buttons.addWidget(self.accept_button)
        self.finished.connect(self._closed)
        self._check()

    def answers(self) -> dict[str, Any]:
        """What is in the fields now."""
        return {question.key: self._read(question) for question in self._questions}

    def showEvent(self, event: QShowEvent) -> None:
        """The first field can be typed into at once."""
        super().showEvent(event)
        first = next(iter(self._fields.values()), None)
        if first is not None:
            first.setFocus(Qt.FocusReason.ActiveWindowFocusReason)
            if isinstance(first, QLineEdit):
                first.selectAll()

    def _add(self, question: Question) -> None:
        field = self._field(question)
        self._fields[question.key] = field
        inner = field.line if isinstance(field, FileField) else field
        inner.setObjectName(f"{self.objectName()}-{question.key}")
        inner.setAccessibleName(question.title)
        if question.kind != "check":
            heading = label(question.title, "heading")
            heading.setBuddy(inner)
            self.body.addWidget(heading)
        self.body.addWidget(field)
        if question.hint:
            self.body.addWidget(label(question.hint, "caption", wraps=True))

    def _field(self, question: Question) -> QWidget:
        if question.kind == "choice":
            box = ChoiceBox()
            for value, shown in question.choices:
                box.addItem(shown, value)
            box.setCurrentIndex(max(0, box.findData(question.value)))
            return box
        if question.kind == "text":
            text = QPlainTextEdit(question.value)
            text.setTabChangesFocus(True)
            text.setMinimumHeight(90)
            text.textChanged.connect(self._check)
            return text
        if question.kind == "check":
            tick = QCheckBox(question.title)
            tick.setChecked(question.value == "true")
            return tick
        if question.kind in ("file", "data", "new-file"):
            place = FileField(
                question.title, question.key, "", takes_folders=question.kind == "data", pattern="All files (*)",
                is_new=question.kind == "new-file",
            )  # fmt: skip
            place.set_path(question.value)
            place.changed.connect(self._check)
            return place
        line = QLineEdit(question.value)
        if question.kind == "secret":
            line.setEchoMode(QLineEdit.EchoMode.Password)
        line.textChanged.connect(self._check)
        return line

    def _read(self, question: Question) -> Any:
        field = self._fields[question.key]
        if isinstance(field, FileField):
            return field.path()
        if isinstance(field, QComboBox):
            return field.currentData()
        if isinstance(field, QCheckBox):
            return field.isChecked()
        if isinstance(field, QPlainTextEdit):
            return field.toPlainText()
        assert isinstance(field, QLineEdit)
        return field.text() if question.kind == "secret" else field.text().strip()

    def _check(self) -> None:
        if hasattr(self, "accept_button"):
            missing = [each for each in self._questions if each.is_required and not self._read(each)]
            self.accept_button.setEnabled(all(each.kind == "check" for each in missing))

    def _go(self) -> None:
        if not self.accept_button.isEnabled():
            return
        self.accept_button.setEnabled(False)
        self._say("Working …", "muted")
        self._act(self.answers(), self._done, self._failed)

    def _done(self, result: object) -> None:
        if not self._is_open:
            return
        if not isinstance(result, str):
            self.close()
            return
        self._say(result, "good")
        for field in self._fields.values():
            field.setEnabled(False)
        self.accept_button.hide()
        self._cancel.setText("Close")
        self._cancel.setFocus()

    def _failed(self, error: EdgeStudioError) -> None:
        if self._is_open:
            self._say(error.in_full, "bad")
            self.accept_button.setEnabled(True)

    def _say(self, text: str, role: str) -> None:
        self._answer.setText(text)
        set_role(self._answer, role)

    def _closed(self) -> None:
        self._is_open = False


def ask_one(
    name: str,
    title: str,
    parent: QWidget,
    question: Question,
    go: Callable[[str], object],
    *,
    accept: str = "Save",
) -> None:
    """Ask for one line or choice, and go on with what was said, without its outer spaces."""

    def act(answers: Answers, done: Done, failed: Failed) -> None:
        go(str(answers[question.key]).strip())
        done(None)

    AskDialog(name, title, parent, [question], act, accept=accept).show()
