"""An error reads as a sentence where a person sees it, however it was put together inside."""

from __future__ import annotations

import pytest

from edgestudio.wire.errors import InputError


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("the image is damaged", "The image is damaged."),
        ("The disk is full.", "The disk is full."),
        ("cat.png: the image is damaged", "cat.png: the image is damaged."),
        ("model.onnx declares too much", "model.onnx declares too much."),
        ("'x' takes text", "'x' takes text."),
        ("what now?", "What now?"),
        ("porch cannot take this model", "porch cannot take this model."),
        ("", ""),
    ],
)
def test_a_message_becomes_a_sentence_and_names_stay_as_they_are(message: str, sentence: str) -> None:
    error = InputError(message, hint="Try again.")
    assert error.as_dict()["message"] == sentence
    assert error.in_full == f"{sentence} Try again.".strip()
    assert error.message == message
