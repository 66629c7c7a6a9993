from __future__ import annotations

from dataclasses import replace

import pytest

from edgestudio.studio.rows import ActiveModel
from edgestudio.ui.panels import board_words
from tests.ui.parts import SOURCE, VARIANT, active, board, model, variant


@pytest.mark.parametrize(
    ("sensors", "text", "reason"),
    [
        ({"cpu_temperature": [57.2, "°C"], "gpu_temperature": [61.0, "°C"]}, "61 °C", "The hottest"),
        (
            {"cpu_temperature": [None, "°C", "not_available", "this system shows no temperature sensor"]},
            "–",
            "This system shows",
        ),
        ({"cpu_temperature": [None, "°C", "stale", "no reading for a minute"]}, "–", "No reading for"),
        ({"cpu_temperature": [48.7, "°C", "simulated"]}, "49 °C", "The hottest"),
        ({"power": [3.1, "W"]}, "–", "No temperature was reported yet"),
        ({"cpu_temperature": "hot"}, "–", "No temperature was reported yet"),
    ],
)
def test_a_missing_temperature_is_a_dash_with_a_reason(sensors, text, reason) -> None:
    row = board(sensors=sensors)
    assert board_words.temperature(row) == text
    assert board_words.temperature_reason(row).startswith(reason)


def test_a_board_is_behind_when_a_later_release_is_known() -> None:
    fp16 = model("c" * 64, "digits fp16", parent=SOURCE, recipe="fp16")
    rows = [model(), variant(), fp16]
    released = [(VARIANT, "1.9"), (fp16.sha256, "1.10")]
    running = ActiveModel("digits", 9, "1.9", VARIANT)
    assert board_words.freshness(running, rows, released) == "update available: 1.10"
    newest = ActiveModel("digits", 10, "1.10", fp16.sha256)
    assert board_words.freshness(newest, rows, released) == "newest"
    assert board_words.freshness(running, [], released) == ""
    assert board_words.freshness(running, rows, [("f" * 64, "9.0")]) == "newest"


def test_a_card_says_how_many_models_run() -> None:
    one, two = active(1), active(2)
    assert board_words.all_running(()) == ""
    assert board_words.all_running((one,)) == "digits 1.1 · release 1"
    assert board_words.all_running((one, two, two)) == "digits 1.1 · release 1 and 2 more"


def test_the_architecture_is_said_once() -> None:
    assert (
        board_words.abilities(board(hardware="x86_64", arch="x86_64", runtimes=("onnx",))) == "ONNX Runtime"
    )


def test_a_board_of_somebody_else_on_this_computer_says_so() -> None:
    guest = board(is_here=True, is_local=False, presence="unknown", is_paired=False)
    assert board_words.whose(guest) == "Runs on this computer, outside of this window"
    assert board_words.whose(replace(guest, is_local=True)) == "", "started from this window"
    assert board_words.whose(replace(guest, is_here=False)) == "", "elsewhere on the network"
    assert board_words.whose(replace(guest, can_start=True)) == "", "made here, not running"
