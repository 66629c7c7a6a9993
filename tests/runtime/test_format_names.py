"""Formats read the same wherever people meet them."""

from __future__ import annotations

from edgestudio.model.reading import READERS
from edgestudio.optimize import catalog
from edgestudio.runtime.format_names import TITLES, format_title, format_titles


def test_every_format_that_is_read_has_a_name_for_people() -> None:
    assert set(READERS) <= set(TITLES)
    assert format_title("coreml") == "Core ML"
    assert format_title("a-format-of-tomorrow") == "a-format-of-tomorrow"


def test_several_formats_make_one_phrase() -> None:
    assert format_titles(["onnx"]) == "ONNX"
    assert format_titles(["onnx", "tflite", "openvino"]) == "ONNX, TFLite or OpenVINO IR"
    assert format_titles(["onnx", "tensorrt"], "and") == "ONNX and TensorRT engine"


def test_the_reason_of_a_pass_spells_formats_as_their_makers_do() -> None:
    for each in catalog.specs():
        if "keras" not in each.runs and not each.problem:
            reason = catalog.reason_unavailable(each, "keras")
            assert reason.endswith("models, not Keras")
            assert "onnx" not in reason
            assert "tflite" not in reason
