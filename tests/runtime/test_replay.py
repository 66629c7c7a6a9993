"""Captured inferences, done again: bit-equal, or the first stage that differs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgestudio.runtime.backend import open_session
from edgestudio.runtime.pipeline.pipeline import Runner, load_pipeline
from edgestudio.runtime.pipeline.preprocess import PREPROCESS_VERSION
from edgestudio.runtime.replay import replay_job
from edgestudio.wire.capture import Capture
from edgestudio.wire.errors import InputError
from edgestudio.wire.progress import Silent
from tests.digits import digits


@pytest.fixture(scope="module")
def capture(sample: Path) -> Capture:
    """The first digit, captured as a board does."""
    model = sample / "digits.onnx"
    session = open_session(model)
    pipeline = load_pipeline(sample / "digits.pipeline.yaml")
    runner = Runner(session, pipeline)
    item = digits()[0]
    feeds = runner.prepare(item)
    result = runner.process_feeds(feeds)
    session.close()
    return Capture(
        id="1-1", time_s=1.0, boot="b", device="d", model="digits", release=1, version="1.0.0",
        model_sha256=hashlib.sha256(model.read_bytes()).hexdigest(), pipeline=pipeline.to_yaml(),
        preprocessing=PREPROCESS_VERSION, raw_kind="array", raw={"input": item}, feeds=feeds,
        outputs=dict(result.outputs), result=result.to_dict(), sensors={"cpu_temperature": [50.0, "°C"]},
    )  # fmt: skip


def _replayed(capture: Capture, folder: Path, model: Path, **more: Any) -> dict[str, Any]:
    file = folder / "one.capture"
    file.write_bytes(capture.to_bytes())
    return replay_job({"captures": [str(file)], "model": str(model), **more}, folder, Silent())


def test_the_same_runtime_is_bit_equal(capture: Capture, tmp_path: Path, sample: Path) -> None:
    report = _replayed(capture, tmp_path, sample / "digits.onnx")
    assert report["equal"] is True
    assert report["first_difference"] is None
    assert [stage["equal"] for stage in report["captures"][0]["stages"]] == [True] * 4


def test_each_stage_is_found(capture: Capture, tmp_path: Path, sample: Path) -> None:
    model = sample / "digits.onnx"
    feeds = {"image": capture.feeds["image"] + np.float32(1e-6)}
    logits = capture.outputs["logits"].copy()
    logits[0, 3] = np.nextafter(logits[0, 3], np.float32(100))
    other = {**capture.result, "confidence": 0.123}
    for changed, stage in (
        (replace(capture, model_sha256="0" * 64), "model"),
        (replace(capture, feeds=feeds), "preprocess"),
        (replace(capture, outputs={"logits": logits}), "inference"),
        (replace(capture, result=other), "postprocess"),
    ):
        report = _replayed(changed, tmp_path, model)
        assert report["equal"] is False
        assert report["first_difference"] == stage
    difference = _replayed(replace(capture, outputs={"logits": logits}), tmp_path, model)
    tensor = difference["captures"][0]["stages"][2]["tensors"]["logits"]
    assert 0 < tensor["max_abs"] < 1e-4


def test_another_pipeline_differs_where_it_differs(capture: Capture, tmp_path: Path, sample: Path) -> None:
    text = (sample / "digits.pipeline.yaml").read_text()
    (tmp_path / "p.yaml").write_text(text.replace("scale: 0.0039", "scale: 0.0038"))
    assert "scale: 0.0039" in text
    report = _replayed(capture, tmp_path, sample / "digits.onnx", pipeline=str(tmp_path / "p.yaml"))
    assert report["first_difference"] == "preprocess"


def test_prepared_tensors_have_no_preprocessing(capture: Capture, tmp_path: Path, sample: Path) -> None:
    bare = replace(capture, raw_kind="", raw={})
    report = _replayed(bare, tmp_path, sample / "digits.onnx")
    assert report["equal"] is True
    assert report["captures"][0]["stages"][1]["equal"] is None


def test_captures_survive_the_disk_and_damage_is_seen(capture: Capture) -> None:
    data = capture.to_bytes()
    again = Capture.from_bytes(data)
    assert again.result == capture.result
    assert (again.raw["input"] == capture.raw["input"]).all()
    assert again.feeds["image"].dtype == np.float32
    assert Capture.summary(data)["size_bytes"] == len(data)
    rng = np.random.default_rng(5)
    for cut in (0, 5, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(InputError):
            Capture.from_bytes(data[:cut])
    for place in rng.integers(0, len(data), 50):
        broken = bytearray(data)
        broken[place] ^= 1
        with pytest.raises(InputError):
            Capture.from_bytes(bytes(broken))


def test_a_capture_that_lies_with_a_right_digest_is_refused(capture: Capture) -> None:
    data = capture.to_bytes()[:-32]
    for old, new in ((b'"at": 0', b'"at": 9'), (b'"float32"', b'"object_"'), (b'"raw"', b'"abc"')):
        forged = data.replace(old, new)
        if old == b'"at": 0':
            forged = data.replace(b'"shape": [', b'"shape": [9999999, ')
            forged = (
                forged[:6]
                + (len(forged) - len(data) + int.from_bytes(data[6:10], "big")).to_bytes(4, "big")
                + forged[10:]
            )
        with pytest.raises(InputError):
            Capture.from_bytes(forged + hashlib.sha256(forged).digest())


def test_random_answers_are_said_to_be_random(capture: Capture, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("RandomUniformLike", ["image"], ["logits"])],
        "random",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1, 8, 8])],
    )
    model = tmp_path / "random.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    pipeline = tmp_path / "raw.yaml"
    pipeline.write_text("postprocess: {kind: raw}\n", encoding="utf-8")
    report = _replayed(capture, tmp_path, model, pipeline=str(pipeline))
    inference = next(s for s in report["captures"][0]["stages"] if s["stage"] == "inference")
    assert inference["equal"] is False
    assert "random" in inference["reason"]
