"""Libraries that may never end run in a process of their own, within limits that hold on every system."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgestudio.model.formats import limited, onnx_inference
from edgestudio.model.formats.limited import LimitError, run_limited
from edgestudio.model.formats.onnx_skeleton import skeleton
from tests.model.made import convolution


def test_a_child_that_takes_too_long_or_too_much_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_child.py").write_text(
        "import sys, time\n"
        "held = bytearray(b'x') * (int(sys.argv[1]) << 20)\n"
        "sys.stdout.write('o' * 200000)\nsys.stdout.flush()\ntime.sleep(float(sys.argv[2]))\nsys.exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ended = run_limited("odd_child", "1", "0.2", wall_s=60, memory_bytes=1 << 30)
    assert (ended.status, len(ended.out)) == (3, 200_000)
    with pytest.raises(LimitError):
        run_limited("odd_child", "1", "60", wall_s=0.5, memory_bytes=1 << 30)
    with pytest.raises(LimitError):
        run_limited("odd_child", "300", "60", wall_s=60, memory_bytes=200 << 20)
    assert limited.resident_bytes(1 << 30) == 0


def test_shapes_are_inferred_alike_where_no_process_can_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = skeleton(memoryview(convolution(tmp_path / "made.onnx").read_bytes()))
    copied = onnx_inference.infer(small)
    monkeypatch.setattr(onnx_inference, "_SYSTEM", "darwin")
    assert onnx.load_model_from_string(onnx_inference.infer(small)) == onnx.load_model_from_string(copied)
    with pytest.raises(ValueError, match=r"[Pp]ars"):
        onnx_inference.infer(b"\x08\x08\x3a\xff\xff\xff\x7f")
    monkeypatch.setattr(onnx_inference, "_MEMORY_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="more time or memory"):
        onnx_inference.infer(small)
