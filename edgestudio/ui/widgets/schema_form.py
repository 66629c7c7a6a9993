"""A form built from a pydantic model: one field per option, its description as help, its limits kept."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from edgestudio.ui.widgets.text import label, set_property

# The last word of a field's name that is a unit, and how it is written behind the number.
UNITS = {
    "ms": " ms", "s": " s", "minutes": " min", "hz": " Hz", "bytes": " bytes", "c": " °C", "percent": " %",
    "percentile": " %",
}  # fmt: skip
_FAR = 2_000_000_000
_INSET_PX = 6  # style sheets do not reach the text inside a spin box


@dataclass(frozen=True)
class Field:
    """One option on screen: its widget, how to read and how to set it."""

    widget: QWidget
    read: Callable[[], Any]
    write: Callable[[Any], None]


class SchemaForm(QWidget):
    """Reads as `values()`, tells `changed`, and shows what does not validate under its field."""

    changed = Signal()

    def __init__(
        self, model: type[BaseModel], prefix: str, skip: Iterable[str] = ("schema_version",)
    ) -> None:
        super().__init__()
        self._model = model
        self._fields: dict[str, Field] = {}
        self._problems: dict[str, Any] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        for name, info in model.model_fields.items():
            if name not in set(skip):
                self._add(layout, prefix, name, info)

    def values(self) -> dict[str, Any]:
        """What is in the fields, valid or not."""
        return {name: field.read() for name, field in self._fields.items()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Put values into the fields; unknown names are ignored."""
        for name, value in values.items():
            if name in self._fields:
                self._fields[name].write(value)
        self.changed.emit()

    def changes(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        defaults = {
            name: info.get_default(call_default_factory=True)
            for name, info in self._model.model_fields.items()
        }
        return {
            name: value for name, value in self.values().items() if _plain(value) != _plain(defaults[name])
        }

    def validate(self) -> bool:
        """Check against the model; messages appear under the fields. True when all is well."""
        for name, problem in self._problems.items():
            problem.hide()
            set_property(self._fields[name].widget, "invalid", "false")
        try:
            self._model.model_validate(self.values())
        except ValidationError as error:
            for each in error.errors(include_url=False):
                name = str(each["loc"][0]) if each["loc"] else next(iter(self._fields), "")
                if name in self._problems:
                    self._problems[name].setText(str(each["msg"]).removeprefix("Value error, "))
                    self._problems[name].show()
                    set_property(self._fields[name].widget, "invalid", "true")
            return False
        return True

    def _add(self, layout: QVBoxLayout, prefix: str, name: str, info: FieldInfo) -> None:
        field = _field(info, name)
        title = info.title or name.replace("_", " ").capitalize()
        for unit in UNITS:
            title = title.removesuffix(f" {unit}") or title
        field.widget.setObjectName(f"{prefix}-{name}")
        field.widget.setAccessibleName(title)
        field.widget.setToolTip(_prose(info.description or ""))
        field.widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        field.widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        field.widget.installEventFilter(self)
        field.write(info.get_default(call_default_factory=True))
        _on_change(field.widget, self._edited)
        cell = QVBoxLayout()
        cell.setSpacing(3)
        if isinstance(field.widget, QCheckBox):
            field.widget.setText(title)
        else:
            heading = label(title)
            heading.setBuddy(field.widget)
            cell.addWidget(heading)
        cell.addWidget(field.widget)
        if info.description:
            cell.addWidget(label(_prose(info.description), "caption", wraps=True))
        problem = label("", "bad", wraps=True, name=f"{prefix}-{name}-problem")
        problem.hide()
        cell.addWidget(problem)
        layout.addLayout(cell)
        self._fields[name], self._problems[name] = field, problem

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The wheel scrolls the page past a field that has no focus, and does not change it."""
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def _edited(self) -> None:
        self.validate()
        self.changed.emit()


def _field(info: FieldInfo, name: str) -> Field:
    kind, is_optional = _inner(info.annotation)
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if choices:
        return _choice(choices, is_optional=is_optional)
    if kind is bool and not is_optional:
        box = QCheckBox()
        return Field(box, box.isChecked, lambda value: box.setChecked(bool(value)))
    if kind in (int, float) and not is_optional:
        return _number(kind, info, name)
    if get_origin(kind) in (tuple, list, set, frozenset):
        return _list(kind)
    if get_origin(kind) in (dict, Mapping):
        return _mapping()
    return _text(kind, is_optional=is_optional)


def _choice(choices: tuple[Any, ...], *, is_optional: bool) -> Field:
    box = QComboBox()
    if is_optional:
        box.addItem("default", None)
    for choice in choices:
        box.addItem(str(choice), choice)
    return Field(box, box.currentData, lambda value: box.setCurrentIndex(max(0, box.findData(value))))


def _number(kind: type, info: FieldInfo, name: str) -> Field:
    low, high, is_open = _bounds(info)
    suffix = next((text for unit, text in UNITS.items() if name == unit or name.endswith(f"_{unit}")), "")
    if kind is int:
        whole = QSpinBox()
        whole.setRange(int(max(low, -_FAR)), int(min(high, _FAR)))
        whole.setSuffix(suffix)
        whole.setGroupSeparatorShown(True)
        whole.lineEdit().setTextMargins(_INSET_PX, 0, 0, 0)
        return Field(whole, whole.value, lambda value: whole.setValue(int(value or 0)))
    real = QDoubleSpinBox()
    real.setDecimals(4 if max(abs(low), abs(high)) <= 10 else 3)
    step = 10.0 ** -real.decimals() if is_open else 0.0
    real.setRange(max(low + step, -_FAR), min(high, _FAR))
    real.setSingleStep(0.01 if high - low <= 2 else 1)
    real.setSuffix(suffix)
    real.lineEdit().setTextMargins(_INSET_PX, 0, 0, 0)
    return Field(real, real.value, lambda value: real.setValue(float(value or 0)))


def _list(kind: Any) -> Field:
    line = QLineEdit()
    line.setPlaceholderText("separated by commas")
    item = next((each for each in get_args(kind) if each is not Ellipsis), str)
    convert: Callable[[str], Any] = _number_or_text if item in (int, float) else str

    def read() -> list[Any]:
        return [convert(part.strip()) for part in line.text().split(",") if part.strip()]

    return Field(line, read, lambda value: line.setText(", ".join(str(each) for each in value or ())))


def _mapping() -> Field:
    line = QLineEdit()
    line.setPlaceholderText("name: value, separated by commas")

    def read() -> Any:
        try:
            return yaml.safe_load(f"{{{line.text()}}}")
        except yaml.YAMLError:
            return line.text()  # the model says what is wrong with it

    def write(value: Mapping[str, Any] | None) -> None:
        text = yaml.safe_dump(dict(value or {}), default_flow_style=True, allow_unicode=True, width=10_000)
        line.setText(text.strip()[1:-1])

    return Field(line, read, write)


def _text(kind: Any, *, is_optional: bool) -> Field:
    line = QLineEdit()
    if is_optional:
        line.setPlaceholderText("default")

    def read() -> Any:
        text = line.text().strip()
        if is_optional and not text:
            return None
        return _number_or_text(text) if kind in (int, float) else text

    return Field(line, read, lambda value: line.setText("" if value is None else str(value)))


def _on_change(widget: QWidget, slot: Callable[[], None]) -> None:
    if isinstance(widget, QCheckBox):
        widget.toggled.connect(lambda _: slot())
    elif isinstance(widget, QComboBox):
        widget.currentIndexChanged.connect(lambda _: slot())
    elif isinstance(widget, QSpinBox | QDoubleSpinBox):
        widget.valueChanged.connect(lambda _: slot())
    elif isinstance(widget, QLineEdit):
        widget.textChanged.connect(lambda _: slot())


def _inner(annotation: Any) -> tuple[Any, bool]:
    """The type without `None`, and whether `None` was allowed."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [each for each in get_args(annotation) if each is not type(None)]
        return (rest[0] if len(rest) == 1 else str), len(rest) < len(get_args(annotation))
    return annotation, False


def _bounds(info: FieldInfo) -> tuple[float, float, bool]:
    low, high, is_open = -float(_FAR), float(_FAR), False
    for rule in info.metadata:
        if getattr(rule, "ge", None) is not None:
            low = float(rule.ge)
        if getattr(rule, "gt", None) is not None:
            low, is_open = float(rule.gt), True
        for limit in ("le", "lt"):
            if getattr(rule, limit, None) is not None:
                high = float(getattr(rule, limit))
    return low, high, is_open


def _number_or_text(text: str) -> Any:
    try:
        return float(text) if "." in text or "e" in text.casefold() else int(text)
    except ValueError:
        return text


def _prose(description: str) -> str:
    """A description without the marks of its source: `auto` becomes “auto”."""
    return re.sub(r"`([^`]*)`", r"“\1”", description)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
