"""Before anything is sent: what a board lacks is said in a sentence, what nobody knows stops nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgestudio.studio.boards.preflight import examine, operators, refuse, sentence, targets_for
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import DeviceError

MODEL = ModelRow("a" * 64, "m", "/m.onnx", "onnx", 1 << 20, 0.0, summary={"peak_activation_bytes": 1 << 20})
INFO = {"runtimes": {"onnx": {"version": "1.25"}, "litert": {}}, "memory_available_bytes": 1 << 30}


def row(op: str, status: str, remedy: str = "") -> dict:
    return {"op": op, "count": 1, "status": status, "reason": "", "remedy": remedy}


def test_only_runtimes_that_open_the_model_are_asked():
    assert targets_for(MODEL, INFO) == ["onnxruntime"]
    assert targets_for(MODEL, {}) == []
    assert targets_for(replace(MODEL, format="tensorrt"), {"runtimes": ["tensorrt"]}) == []


def test_missing_operators_refuse_with_their_names_and_a_remedy():
    lacking = {
        "verdict": "does not run",
        "operators": [row("NewOp", "unsupported", "Export with opset 17"), row("Conv", "supported")],
    }
    finding = operators({"onnxruntime": lacking})
    assert finding.ok is False
    with pytest.raises(DeviceError, match=r"no NewOp \(Export with opset 17\)") as caught:
        refuse([*examine(MODEL, INFO, {}), finding], "pi")
    assert caught.value.code == "preflight-operators"
    assert "operators ✗" in sentence([finding])
    assert operators({"onnxruntime": lacking, "openvino": {"verdict": "runs"}}).ok is True
    typed = {
        "verdict": "does not run",
        "findings": [{"status": "unsupported", "reason": "Tensors are int4."}],
    }
    assert "Tensors are int4" in operators({"onnxruntime": typed}).detail
    many = {"verdict": "does not run", "operators": [row(f"Op{n}", "unsupported") for n in range(9)]}
    assert "and 4 more" in operators({"litert": many}).detail


def test_what_nobody_knows_stops_nothing():
    assert operators({}).ok is None
    assert operators({"onnxruntime": {"verdict": "unknown"}}).ok is None


def test_a_model_too_large_for_memory_or_disk_is_refused_with_both_sizes():
    roomy = {"disk_free_bytes": 1 << 34}
    huge = replace(MODEL, summary={"peak_activation_bytes": 5 << 30})
    with pytest.raises(
        DeviceError, match=r"needs about 5,185 MiB of memory, and the board has 1,024"
    ) as caught:
        refuse(examine(huge, INFO, roomy), "pi")
    assert (caught.value.code, caught.value.exit_code) == ("preflight-memory", 3)
    large = replace(MODEL, size_bytes=200 << 20)
    with pytest.raises(DeviceError, match=r"needs 284 MiB of disk, and the board has 180 MiB free") as caught:
        refuse(examine(large, INFO, {"disk_free_bytes": 180 << 20}), "pi")
    assert (caught.value.code, caught.value.exit_code) == ("preflight-disk", 3)
    refuse(examine(large, INFO, roomy), "pi")
