"""Measuring: errors, latency, accuracy, the doctor, advice, sensitivity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgestudio.assets import resource
from edgestudio.optimize import latency
from edgestudio.optimize.advice import advise, advise_recipe
from edgestudio.optimize.calibration import doctor_job
from edgestudio.optimize.error import ErrorMeter
from edgestudio.optimize.evaluate import Evaluation, evaluate_job, wilson
from edgestudio.optimize.package import representative
from edgestudio.optimize.sensitivity import sensitivity_job
from edgestudio.runtime.backend import open_session, random_feeds
from edgestudio.wire.errors import EdgeStudioError, RecipeError
from edgestudio.wire.progress import Silent


def _sample(**more: Any) -> dict[str, Any]:
    return {
        "path": str(resource("sample", "digits.onnx")),
        "data": str(resource("sample", "digits_test.npz")),
        "pipeline": str(resource("sample", "digits.pipeline.yaml")),
        **more,
    }


def test_errors_add_up_over_samples() -> None:
    meter = ErrorMeter()
    assert meter.add({"y": np.array([3.0, 4.0])}, {"y": np.array([3.0, 4.5])})
    assert meter.add({"y": np.array([0.0, 1.0])}, {"z": np.array([0.0, 1.0])})
    facts = meter.as_dict()
    assert facts["max_abs"] == 0.5
    assert facts["n"] == 2
    assert facts["agreement"] == 1.0
    assert facts["sqnr_db"] == pytest.approx(10 * math.log10(26 / 0.25))
    assert not meter.add({"y": np.zeros(2)}, {"y": np.zeros(3)})
    assert meter.is_finite
    meter.add({"y": np.ones(2)}, {"y": np.array([1.0, np.nan])})
    assert not meter.is_finite


def test_no_error_has_no_ratio() -> None:
    meter = ErrorMeter()
    meter.add({"y": np.ones(3)}, {"y": np.ones(3)})
    assert meter.as_dict() == {
        "max_abs": 0.0,
        "cosine": pytest.approx(1.0),
        "sqnr_db": None,
        "agreement": 1.0,
        "n": 1,
    }


def test_a_model_beside_itself_is_inside_the_noise() -> None:
    path = resource("sample", "digits.onnx")
    session = open_session(path)
    feeds = random_feeds(session.inputs)
    session.close()
    ticks: list[float] = []
    compared = latency.compare(path, path, (feeds, feeds), budget_s=0.5, tick=ticks.append)
    assert ticks[-1] == 1.0
    assert 0.3 < compared.speedup < 3
    assert compared.first_ms["n"] == compared.second_ms["n"] >= 48
    assert compared.first_ms["p50"] <= compared.first_ms["p90"]


@pytest.mark.parametrize(
    ("speedup", "low", "high", "words"),
    [
        (1.0, 0.9, 1.1, "beyond the noise"),
        (1.02, 1.01, 1.03, "that matters"),
        (2.0, 1.8, 2.2, "2.00 times as fast"),
        (0.5, 0.4, 0.6, "slower on this computer: 2.00 times"),
    ],
)
def test_a_difference_is_called_what_it_is(speedup: float, low: float, high: float, words: str) -> None:
    assert words in latency.Comparison({}, {}, speedup, low, high).sentence


def test_evaluate_names_classes_and_uncertainty(tmp_path: Path) -> None:
    result = evaluate_job(_sample(), tmp_path, Silent())
    assert result["n"] == 450
    assert result["top1"] >= 0.99
    assert result["ci95"][0] < result["top1"] <= 1
    assert sorted(result["per_class"]) == list("0123456789")
    assert sum(map(sum, result["confusion"])) == 450


def test_evaluate_without_labels_or_classes_says_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(RecipeError, match="no labels"):
        evaluate_job(_sample(data=str(tmp_path / "x.npz")), tmp_path, Silent())
    with pytest.raises(RecipeError, match="labelled data"):
        evaluate_job(_sample(data=None), tmp_path, Silent())
    with pytest.raises(EdgeStudioError):
        evaluate_job(_sample(data=str(tmp_path / "missing.npz")), tmp_path, Silent())


def test_data_of_another_shape_is_said_to_be_converted(tmp_path: Path) -> None:
    assert evaluate_job(_sample(), tmp_path, Silent())["warnings"] == []
    sizes = np.random.default_rng(1).integers(0, 256, size=(20, 20, 12, 3), dtype=np.uint8)
    data = tmp_path / "large.npz"
    np.savez(data, x=sizes, y=np.arange(20) % 10)
    pipeline = tmp_path / "image.yaml"
    pipeline.write_text("preprocess: [{kind: image, colour: grey, layout: nchw, width: 8, height: 8}]\n")
    given = _sample(data=str(data), pipeline=str(pipeline))
    (warning,) = evaluate_job(given, tmp_path, Silent())["warnings"]
    assert warning.startswith("20 of 20 items do not have the form that the model takes")
    assert "20 resized (stretch) from 12 x 20 to 8 x 8 pixels" in warning
    assert "20 turned from colour to grey" in warning
    findings = {each["name"]: each for each in doctor_job(given, tmp_path, Silent())["findings"]}
    assert findings["converted"]["severity"] == "warning"
    assert "12 x 20" in findings["converted"]["text"]
    flat = tmp_path / "flat.npz"
    np.savez(flat, x=np.zeros((10, 64), np.float32), y=np.arange(10))
    plain = tmp_path / "tensor.yaml"
    plain.write_text("preprocess: [{kind: tensor}]\n")
    (warning,) = evaluate_job(_sample(data=str(flat), pipeline=str(plain)), tmp_path, Silent())["warnings"]
    assert "10 reshaped from 64 to 8 x 8" in warning.replace("1 x 1 x ", "").replace("1 x ", "")


def test_wilson_interval() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(1.0, 450)[0] == pytest.approx(0.9915, abs=1e-3)
    assert wilson(0.0, 0) == (0.0, 1.0)
    assert Evaluation([1, 2], [-1, -1], [0.5, 0.5]).accuracy() is None


def _findings(tmp_path: Path, x: Any, y: Any = None) -> dict[str, str]:
    arrays = {"x": x} if y is None else {"x": x, "y": y}
    np.savez(tmp_path / "data.npz", **arrays)
    result = doctor_job(_sample(data=str(tmp_path / "data.npz")), tmp_path, Silent())
    return {finding["name"]: finding["severity"] for finding in result["findings"]}


def test_the_doctor_finds_what_is_wrong_with_the_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = rng.integers(0, 256, (200, 8, 8), dtype=np.uint8)
    labels = np.arange(200) % 10
    assert set(_findings(tmp_path, good, labels).values()) == {"ok"}
    assert _findings(tmp_path, good[:10], labels[:10])["amount"] == "warning"
    assert _findings(tmp_path, good[:50], labels[:50])["amount"] == "note"
    assert _findings(tmp_path, np.concatenate([good[:100], good[:100]]), labels)["duplicates"] == "warning"
    assert _findings(tmp_path, good, labels % 7)["balance"] == "warning"
    assert _findings(tmp_path, good, np.minimum(np.arange(200), 9))["balance"] == "note"
    assert _findings(tmp_path, good)["balance"] == "note"
    assert _findings(tmp_path, np.zeros((150, 8, 8), np.uint8))["range"] == "warning"
    blank = good.copy()
    blank[3] = 7
    assert _findings(tmp_path, blank, labels)["constant"] == "warning"


def test_the_doctor_sees_unscaled_pixels(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "preprocess: [{kind: image, input: image, width: 8, height: 8, colour: grey, scale: 1.0, layout: nchw}]\n"
        "postprocess: {kind: classify, output: logits}\n"
    )
    result = doctor_job(_sample(pipeline=str(tmp_path / "p.yaml")), tmp_path, Silent())
    found = {finding["name"]: finding for finding in result["findings"]}
    assert found["range"]["severity"] == "note"
    assert "0.00392157" in found["range"]["remedy"]


def test_representative_samples_follow_the_distribution() -> None:
    rng = np.random.default_rng(2)
    values = rng.beta(8, 2, 3000)
    chosen = representative(values.tolist(), 64)
    assert len(set(chosen)) == 64
    assert chosen == sorted(chosen)
    picked = np.sort(values[chosen])
    assert np.abs(picked - np.quantile(values, (np.arange(64) + 0.5) / 64)).max() < 0.02
    assert representative([0.1, 0.2], 64) == [0, 1]


@pytest.mark.parametrize(
    ("pass_id", "options", "operators", "machine", "word"),
    [
        ("fp16", {}, {"Conv": 3}, "x86_64", "float32"),
        ("int8-dynamic", {}, {"Conv": 9, "Gemm": 1}, "aarch64", "INT8 static"),
        ("int8-dynamic", {"convolutions": True}, {"Conv": 9}, "aarch64", "five times slower"),
        ("int8-static", {"activations": "signed"}, {"Conv": 9}, "x86_64", "unsigned"),
        ("int8-static", {}, {"Conv": 20, "Transpose": 8, "Reshape": 16}, "aarch64", "shuffle"),
        ("int8-static", {}, {"LSTM": 1}, "aarch64", "Recurrent"),
        ("prune-magnitude", {}, {"Conv": 3}, "aarch64", "compressed size"),
    ],
)
def test_advice_before_time_is_spent(
    pass_id: str, options: dict[str, Any], operators: dict[str, int], machine: str, word: str
) -> None:
    remarks = advise(pass_id, options, {"operators": operators, "size_bytes": 10**7}, machine)
    assert any(word in remark for remark in remarks)


def test_good_choices_get_no_remark() -> None:
    assert advise("int8-static", {}, {"operators": {"Conv": 20}, "size_bytes": 10**7}, "x86_64") == []
    assert advise("fp16", {}, {"operators": {"Conv": 20}}, "aarch64") == []


def test_advice_on_a_recipe_says_each_thing_once() -> None:
    steps = [{"pass": "fp16", "options": {}}, {"pass": "fp16"}, {"pass": "prune-magnitude"}]
    remarks = advise_recipe(steps, {"operators": {"Conv": 3}}, "x86_64")
    assert len(remarks) == len(set(remarks)) == 2


def test_sensitivity_ranks_every_layer(tmp_path: Path) -> None:
    result = sensitivity_job(_sample(), tmp_path, Silent())
    ratios = [layer["sqnr_db"] for layer in result["layers"]]
    assert len(ratios) == 14
    assert ratios == sorted(ratios)
    assert all(ratio > 15 for ratio in ratios)
    assert list(tmp_path.iterdir()) == []
