from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field, field_validator
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLabel, QLineEdit, QSpinBox

from edgestudio.optimize import catalog
from edgestudio.studio.settings import Settings
from edgestudio.ui.widgets.schema_form import SchemaForm


class Options(BaseModel):
    mode: Literal["auto", "signed"] = Field("auto", description="Pick `auto` or not.")
    samples: int = Field(300, ge=1, le=1000, description="At most so many.")
    share: float = Field(0.5, gt=0, le=1, description="Of the whole.")
    is_fast: bool = Field(True, description="Faster.")
    names: tuple[str, ...] = Field((), description="Some names.")
    seed: int | None = Field(None, description="Repeatable when given.")
    timeout_s: float = Field(2.0, ge=0, description="How long.")

    @field_validator("names")
    @classmethod
    def _no_x(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "x" in value:
            raise ValueError("x is not a name")
        return value


@pytest.fixture
def form(qtbot) -> SchemaForm:
    made = SchemaForm(Options, "t")
    qtbot.addWidget(made)
    made.show()
    return made


def test_each_field_is_the_widget_that_its_type_asks_for(form: SchemaForm) -> None:
    kinds = {
        "mode": QComboBox,
        "samples": QSpinBox,
        "share": QDoubleSpinBox,
        "is_fast": QCheckBox,
        "names": QLineEdit,
    }
    for name, kind in kinds.items():
        assert form.findChild(kind, f"t-{name}") is not None, name
    assert form.findChild(QSpinBox, "t-samples").maximum() == 1000
    assert form.findChild(QDoubleSpinBox, "t-share").minimum() > 0
    assert form.findChild(QDoubleSpinBox, "t-timeout_s").suffix() == " s"
    assert "Pick “auto” or not." in {label.text() for label in form.findChildren(QLabel)}
    assert form.findChild(QComboBox, "t-mode").accessibleName() == "Mode"


def test_defaults_round_trip_and_only_changes_are_told(form: SchemaForm) -> None:
    assert Options.model_validate(form.values()) == Options()
    assert form.changes() == {}
    form.set_values({"mode": "signed", "samples": 10, "names": ("a", "b"), "seed": 7, "unknown": 1})
    assert form.changes() == {"mode": "signed", "samples": 10, "names": ["a", "b"], "seed": 7}


def test_what_does_not_hold_is_said_under_its_field(form: SchemaForm, qtbot) -> None:
    line, problem = form.findChild(QLineEdit, "t-names"), form.findChild(QLabel, "t-names-problem")
    with qtbot.waitSignal(form.changed):
        line.setText("a, x")
    assert problem.isVisible()
    assert problem.text() == "x is not a name"
    assert line.property("invalid") == "true"
    assert not form.validate()
    line.setText("a")
    assert not problem.isVisible()
    seed = form.findChild(QLineEdit, "t-seed")
    seed.setText("many")
    assert form.findChild(QLabel, "t-seed-problem").isVisible()


@pytest.mark.parametrize("spec", [spec for spec in catalog.specs() if spec.options], ids=lambda spec: spec.id)
def test_every_pass_has_a_form_whose_defaults_hold(qtbot, spec: catalog.PassSpec) -> None:
    form = SchemaForm(catalog.options_model(spec), "p")
    qtbot.addWidget(form)
    assert form.validate()
    assert form.changes() == {}


def test_the_settings_have_a_form(qtbot) -> None:
    form = SchemaForm(Settings, "settings")
    qtbot.addWidget(form)
    assert form.validate()
    assert Settings.model_validate(form.values()) == Settings()
