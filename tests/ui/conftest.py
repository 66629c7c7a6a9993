"""Offscreen by default; every test must leave no widget, timer or thread behind."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest
from PySide6.QtCore import QEvent, QTimer
from PySide6.QtWidgets import QApplication

from edgestudio.ui import theme
from tests.ui.parts import Bench


@pytest.fixture(scope="session", autouse=True)
def _themed(qapp: QApplication) -> None:
    qapp.setQuitOnLastWindowClosed(False)
    theme.install(qapp, "light")


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest, qapp: QApplication) -> Iterator[None]:
    """Fail a test that leaves a visible top-level widget, a running timer or a thread."""
    threads = set(threading.enumerate())
    timers = set(_running_timers(qapp))
    yield
    for _ in range(3):
        qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        qapp.processEvents()
    gc.collect()
    visible = [widget for widget in qapp.topLevelWidgets() if widget.isVisible()]
    assert not visible, f"left on screen: {visible}"
    left = [timer for timer in _running_timers(qapp) if timer not in timers]
    assert not left, f"left running: {[timer.parent() for timer in left]}"
    until = time.monotonic() + 5
    while (more := set(threading.enumerate()) - threads) and time.monotonic() < until:
        time.sleep(0.02)
    assert not more, f"left running: {more}"


def _running_timers(app: QApplication) -> list[QTimer]:
    found = list(app.findChildren(QTimer))
    for widget in app.topLevelWidgets():
        found += widget.findChildren(QTimer)
    return [timer for timer in found if timer.isActive()]


@pytest.fixture
def bench() -> Bench:
    return Bench()
