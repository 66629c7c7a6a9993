from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QLineEdit, QPlainTextEdit, QPushButton, QWidget

from edgestudio.ui.ask import AskDialog, Question, ask_one
from edgestudio.wire.errors import InputError


@pytest.fixture
def window(qtbot) -> QWidget:
    made = QWidget()
    qtbot.addWidget(made)
    made.resize(800, 700)
    made.show()
    return made


class Service:
    """Remembers what it was asked, and answers when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], Any, Any]] = []

    def __call__(self, answers, done, failed) -> None:
        self.asked.append((dict(answers), done, failed))


def test_a_refusal_stays_in_place_and_success_closes(qtbot, window: QWidget) -> None:
    service = Service()
    dialog = AskDialog(
        "rename-dialog", "Rename digits", window, [Question("name", "Name", "digits")], service
    )
    dialog.show()
    field = dialog.findChild(QLineEdit, "rename-dialog-name")
    assert field.hasFocus() or not dialog.isActiveWindow()
    assert not dialog.isModal()
    field.clear()
    assert not dialog.accept_button.isEnabled()
    QTest.keyClicks(field, "digits two")
    QTest.keyClick(field, Qt.Key.Key_Return)
    ((answers, done, failed),) = service.asked
    assert answers == {"name": "digits two"}
    assert not dialog.accept_button.isEnabled()
    failed(InputError("That name is taken.", hint="Choose another."))
    assert dialog.findChild(QLabel, "rename-dialog-answer").text() == "That name is taken. Choose another."
    assert dialog.isVisible()
    assert dialog.accept_button.isEnabled()
    with qtbot.waitSignal(dialog.destroyed, timeout=5000):
        done(None)


def test_a_sentence_is_shown_before_closing(qtbot, window: QWidget) -> None:
    service = Service()
    questions = [Question("note", "Note", "old", kind="text"), Question("sure", "Sure?", kind="check")]
    dialog = AskDialog("invite-dialog", "Invite", window, questions, service, accept="Invite")
    dialog.show()
    dialog.findChild(QPlainTextEdit, "invite-dialog-note").setPlainText("new")
    dialog.accept_button.click()
    answers, done, _ = service.asked[0]
    assert answers == {"note": "new", "sure": False}
    done("The code is 7-KARTON.")
    assert dialog.findChild(QLabel, "invite-dialog-answer").text() == "The code is 7-KARTON."
    close = dialog.findChild(QPushButton, "invite-dialog-cancel")
    assert close.text() == "Close"
    with qtbot.waitSignal(dialog.destroyed, timeout=5000):
        close.click()
    done("too late")  # the dialog is gone


def test_files_are_paths(window: QWidget, tmp_path: Path, qtbot) -> None:
    service = Service()
    questions = [Question("path", "File", kind="new-file"), Question("secret", "Passphrase", kind="secret")]
    dialog = AskDialog("kit", "Kit", window, questions, service)
    dialog.show()
    dialog.findChild(QLineEdit, "kit-path").setText(str(tmp_path / "kit.bin"))
    dialog.findChild(QLineEdit, "kit-secret").setText(" with spaces ")
    dialog.accept_button.click()
    assert service.asked[0][0] == {"path": tmp_path / "kit.bin", "secret": " with spaces "}
    with qtbot.waitSignal(dialog.destroyed, timeout=5000):
        QTest.keyClick(dialog, Qt.Key.Key_Escape)


def test_one_question_hands_on_its_answer_and_closes(qtbot, window: QWidget) -> None:
    said: list[str] = []
    ask_one("address-dialog", "Add a board", window, Question("answer", "Address"), said.append, accept="Add")
    field = window.findChild(QLineEdit, "address-dialog-answer")
    QTest.keyClicks(field, " 192.0.2.7:8743 ")
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert said == ["192.0.2.7:8743"]
    qtbot.waitUntil(lambda: not window.findChildren(QLineEdit, "address-dialog-answer"))
