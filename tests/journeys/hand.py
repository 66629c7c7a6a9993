"""A person's hand: pointer and key events through the X server, and looks at the window in between.

The hand lives in a thread of its own, so that the window's event loop, and the nested one of a drag, run as
they do for a person. It reads the window only through `look`, which runs a function on the window's thread.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from PySide6.QtCore import QObject, QPoint, QRect, Qt, Signal, Slot
from PySide6.QtWidgets import QAbstractItemView, QApplication, QWidget

T = TypeVar("T")


class StepFailedError(AssertionError):
    """What the hand waited for did not happen."""


class _Eye(QObject):
    """Runs functions on the window's thread for a caller in another one."""

    asked = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self.asked.connect(self._answer, Qt.ConnectionType.QueuedConnection)

    @Slot(object, object)
    def _answer(self, function: Callable[[], Any], answer: Future[Any]) -> None:
        try:
            answer.set_result(function())
        except BaseException as problem:
            answer.set_exception(problem)


class Hand:
    """Moves the real pointer and presses real keys on the display that this process shows its window on."""

    def __init__(self) -> None:
        self._eye = _Eye()

    def look(self, function: Callable[[], T], *, timeout: float = 20) -> T:
        """The result of `function`, run on the window's thread."""
        answer: Future[T] = Future()
        self._eye.asked.emit(function, answer)
        return answer.result(timeout)

    def wait(self, what: str, function: Callable[[], T], *, timeout: float = 30) -> T:
        """Look again and again until `function` gives something true; say what was awaited if it never does."""
        deadline = time.monotonic() + timeout
        problem = ""
        while True:
            try:
                seen = self.look(function)
                if seen:
                    return seen
            except (AttributeError, LookupError, RuntimeError) as error:
                problem = f" ({error})"
            if time.monotonic() > deadline:
                raise StepFailedError(f"waited {timeout:.0f} s in vain: {what}{problem}")
            time.sleep(0.05)

    def find(self, name: str, *, within: Callable[[QWidget], bool] | None = None) -> QWidget:
        """The visible widget of that object name, one of whose parents is `within`; on the window's thread."""
        for widget in QApplication.allWidgets():
            if (
                widget.objectName() == name
                and widget.isVisible()
                and (within is None or _has(widget, within))
            ):
                return widget
        raise LookupError(f"no visible widget is named {name!r}")

    def middle(self, name: str) -> QPoint:
        """Where on the screen the middle of the widget of that object name is; call it on the window's thread."""
        return _middle(self.find(name))

    def click(
        self, name: str, *, within: Callable[[QWidget], bool] | None = None, timeout: float = 30
    ) -> None:
        """Click into the middle of the enabled widget of that object name."""
        self.wait(
            f"{name} to be enabled", lambda: self.find(name, within=within).isEnabled(), timeout=timeout
        )
        self.press_at(self.look(lambda: _middle(self.find(name, within=within))))

    def click_row(self, view: str, text: str) -> None:
        """Click the row of the item view whose first column contains `text`."""
        self.press_at(self.wait(f"a row {text!r} in {view}", lambda: row_middle(self.find(view), text)))

    def press_at(self, point: QPoint) -> None:
        """Move the pointer there and click once."""
        self._xdotool("mousemove", "--sync", str(point.x()), str(point.y()))
        time.sleep(0.05)
        self._xdotool("click", "1")
        time.sleep(0.15)

    def drag(self, start: QPoint, end: QPoint, *, halfway: Callable[[], None] | None = None) -> None:
        """Press at `start`, travel to `end` in steps as a hand does, call `halfway` above the target, release."""
        self._xdotool("mousemove", "--sync", str(start.x()), str(start.y()), "mousedown", "1")
        time.sleep(0.1)
        steps = 24
        for step in range(1, steps + 1):
            x = start.x() + (end.x() - start.x()) * step // steps
            y = start.y() + (end.y() - start.y()) * step // steps
            self._xdotool("mousemove", str(x), str(y))
            time.sleep(0.02)
        self._xdotool("mousemove", str(end.x() + 2), str(end.y() + 1))
        time.sleep(0.3)
        if halfway is not None:
            halfway()
        self._xdotool("mouseup", "1")
        time.sleep(0.2)

    def type(self, text: str) -> None:
        """Type `text` on the keyboard."""
        self._xdotool("type", "--delay", "12", text)
        time.sleep(0.1)

    def key(self, *keys: str) -> None:
        """Press key combinations in X's names, such as `ctrl+f` or `Return`."""
        self._xdotool("key", "--delay", "30", *keys)
        time.sleep(0.15)

    def photograph(self, path: Path) -> None:
        """Save what the screen shows, the pointer's drag image included."""
        path.parent.mkdir(parents=True, exist_ok=True)
        saved = self.look(lambda: QApplication.primaryScreen().grabWindow(0).save(str(path)))
        if not saved or path.stat().st_size < 10_000:
            raise StepFailedError(f"the screenshot {path.name} is empty")

    def _xdotool(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], check=True, timeout=30, capture_output=True)


def _has(widget: QWidget, wanted: Callable[[QWidget], bool]) -> bool:
    parent: QWidget | None = widget
    while parent is not None:
        if wanted(parent):
            return True
        parent = parent.parentWidget()
    return False


def _middle(widget: QWidget) -> QPoint:
    return widget.mapToGlobal(widget.rect().center())


def row_middle(view: QWidget, text: str) -> QPoint | None:
    """Where to press for the row of an item view whose first column contains `text`; None if there is none."""
    assert isinstance(view, QAbstractItemView)
    model = view.model()
    queue = [model.index(row, 0) for row in range(model.rowCount())]
    while queue:
        index = queue.pop(0)
        if text.lower() in str(index.data()).lower():
            view.scrollTo(index)
            rect: QRect = view.visualRect(index)
            return view.viewport().mapToGlobal(
                QPoint(rect.left() + min(60, rect.width() // 2), rect.center().y())
            )
        queue += [model.index(row, 0, index) for row in range(model.rowCount(index))]
    return None
