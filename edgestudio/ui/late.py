"""A page that is built when it is first looked at, so that the window does not wait for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget


def build(reference: str, *arguments: Any) -> QWidget:
    """Import "module:Class" now, and make one."""
    module, _, name = reference.partition(":")
    made: QWidget = getattr(importlib.import_module(module), name)(*arguments)
    return made


class LatePage(QWidget):
    """Holds the place of a widget; `page` builds it if need be."""

    def __init__(self, name: str, build: Callable[[], QWidget]) -> None:
        super().__init__()
        self.setObjectName(name)
        self._build = build
        self._page: QWidget | None = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    @property
    def page(self) -> QWidget:
        """The widget itself."""
        if self._page is None:
            self._page = self._build()
            self._column.addWidget(self._page)
            self.setFocusProxy(self._page)
        return self._page

    @property
    def is_built(self) -> bool:
        """True once it was looked at."""
        return self._page is not None

    def showEvent(self, event: QShowEvent) -> None:
        """Build it now."""
        _ = self.page
        super().showEvent(event)
