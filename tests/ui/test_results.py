"""The results: both sides with their spread, verdicts that say when a difference is noise, steps, variants."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from edgestudio.studio.bus import RowEvent
from edgestudio.studio.commands.commands import CommandSet
from edgestudio.studio.rows import ModelRow
from edgestudio.studio.stores import Stores
from edgestudio.ui.desk import Desk
from edgestudio.ui.panels.results import ResultsPanel, changes
from edgestudio.ui.selection import Selected


def latency(middle: float, half: float) -> dict[str, Any]:
    interval = [middle - half, middle + half]
    return {"p50": middle, "p90": middle * 1.1, "p99": middle * 1.3, "ci95": interval, "n": 480}


SOURCE = ModelRow("a", "digits", "/a", "onnx", 38_000, 0.0)
VARIANT = ModelRow(
    "b",
    "digits int8",
    "/b",
    "onnx",
    12_000,
    1.0,
    parent="a",
    recipe="int8-static",
    before={
        "size_bytes": 38_000,
        "latency_ms": latency(2.0, 0.1),
        "accuracy": {"top1": 0.98, "n": 360, "ci95": [0.96, 0.99]},
    },
    after={
        "size_bytes": 12_000,
        "latency_ms": latency(1.95, 0.1),
        "accuracy": {"top1": 0.97, "n": 360, "ci95": [0.95, 0.985]},
        "error": {"max_abs": 0.25, "cosine": 0.999, "sqnr_db": 30.0, "agreement": 0.99, "n": 360},
    },
    steps=(
        {
            "title": "INT8 static",
            "seconds": 1.5,
            "size_bytes": 12_000,
            "report": {"sentence": "4 layers.", "warnings": []},
        },
    ),
    warnings=("Few samples.",),
)


def by_title(row: ModelRow) -> dict[str, Any]:
    return {change.title.split(",")[0]: change for change in changes(row)}


def test_a_difference_inside_the_noise_is_called_that() -> None:
    found = by_title(VARIANT)
    assert found["Latency"].verdict == "inside the noise"
    assert found["Latency"].judged == "muted"
    assert found["Accuracy"].verdict == "inside the noise"
    assert found["Size"].judged == "good"
    assert found["Size"].verdict == "−68 %"


def test_a_clear_difference_is_good_or_bad() -> None:
    faster = dataclasses.replace(VARIANT, after={**(VARIANT.after or {}), "latency_ms": latency(1.0, 0.05)})
    slower = dataclasses.replace(VARIANT, after={**(VARIANT.after or {}), "latency_ms": latency(4.0, 0.05)})
    assert by_title(faster)["Latency"].judged == "good"
    assert by_title(slower)["Latency"].judged == "bad"


def test_the_measurers_own_words_win() -> None:
    words = {
        "latency": "no difference in latency beyond the noise on this computer",
        "accuracy": "accuracy fell by 9 %",
    }
    found = by_title(dataclasses.replace(VARIANT, verdicts=words))
    assert found["Latency"].verdict == words["latency"]
    assert found["Latency"].judged == "muted"
    assert found["Accuracy"].judged == "bad"


def test_what_was_not_measured_is_a_dash_with_its_reason() -> None:
    after = {"size_bytes": 12_000, "latency_ms": None, "accuracy": None}
    found = by_title(dataclasses.replace(VARIANT, before={}, after=after))
    assert (found["Latency"].after, found["Latency"].verdict) == ("–", "not measured")
    assert (found["Accuracy"].after, found["Accuracy"].verdict) == (
        "–",
        "not measured: it needs labelled data",
    )
    assert "Largest numerical error" not in found


@pytest.fixture
def desk() -> Desk:
    stores, selected = Stores(), Selected()
    return Desk(stores, CommandSet([], lambda: selected.rows(stores)), selected)


@pytest.fixture
def panel(qtbot: QtBot, desk: Desk) -> ResultsPanel:
    made = ResultsPanel(desk)
    qtbot.addWidget(made)
    made.resize(1000, 700)
    made.show()
    qtbot.waitExposed(made)
    return made


def texts(panel: ResultsPanel) -> str:
    return "\n".join(each.text() for each in panel.findChildren(QLabel) if each.isVisible())


def test_the_panel_follows_the_selection(qtbot: QtBot, desk: Desk, panel: ResultsPanel) -> None:
    assert "No model selected" in texts(panel)
    desk.stores.apply(RowEvent("models", "added", SOURCE))
    desk.selected.select_model("a")
    assert "No recipe made digits" in texts(panel)
    desk.stores.apply(RowEvent("models", "added", VARIANT))
    assert "Variants of digits" in texts(panel)
    qtbot.mouseClick(panel.findChild(QPushButton, "results-show"), Qt.MouseButton.LeftButton)
    shown = texts(panel)
    for part in (
        "Made from digits by the recipe int8-static",
        "12.0 kB",
        "95 %: 96.0 to 99.0 %",
        "p90",
        "n 480",
        "4 layers.",
        "Few samples.",
    ):
        assert part in shown
