"""A model that keeps its weights in files of their own travels with them, whatever those files are called."""

from __future__ import annotations

import onnx
import pytest

from tests.e2e.parts import CALIBRATION, MODEL, PIPELINE


@pytest.mark.parametrize("weights", ["digits.data", "Weights of Digits.BIN"])
def test_weights_beside_the_model_travel(desk, board, tmp_path, weights):
    folder = tmp_path / "made"
    folder.mkdir()
    source = folder / "Digits Big.onnx"
    onnx.save(
        onnx.load(str(MODEL)), str(source), save_as_external_data=True, location=weights, size_threshold=256
    )
    assert (folder / weights).stat().st_size > 10 * source.stat().st_size
    pi = board()
    assert desk.run("pair", pi.address, "--code", pi.code).status == 0
    pushed = desk.run("push", source, "--to", pi.name, "--pipeline", PIPELINE, "--golden", CALIBRATION)
    assert pushed.status == 0, pushed.said()
    assert pushed.last["state"] == "committed"
    measured = desk.run("bench", "--device", pi.name)
    assert measured.status == 0, measured.said()

    (folder / weights).unlink()
    refused = desk.run("push", source, "--to", pi.name)
    assert refused.status == 3
    assert refused.last["state"] == "failed"
    assert weights in refused.last["reason"], refused.said()
    assert not any(line["state"].startswith("transfer") for line in refused.lines)
