from __future__ import annotations

import pytest

from edgestudio.ui.panels import board_words
from tests.ui.parts import board


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
