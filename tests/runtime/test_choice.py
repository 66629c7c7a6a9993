"""Where a model runs is chosen by what is there, and what was asked for in vain is said."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from edgestudio.runtime.backend import SessionOptions, open_session
from edgestudio.runtime.choice import Choice, plan
from edgestudio.runtime.derive import DeriveRequest, derive, key_of, name_of
from edgestudio.runtime.gpu import Gpu, ask_driver
from edgestudio.wire.errors import InputError, ModelError
from edgestudio.wire.release import ACCELERATORS

ORIN = Gpu("Orin (nvgpu)", "8.7", "12.2")
OPENVINO = importlib.util.find_spec("openvino") is not None


def test_a_board_without_accelerators_uses_its_processor_and_raises_no_alarm() -> None:
    ways = plan("onnx")
    assert [choice.accelerator for choice in ways.choices] == ["cpu"]
    assert ways.choices[0].backend == "onnx"
    assert ways.lacks == ()


def test_what_a_release_names_and_the_board_lacks_is_said() -> None:
    ways = plan("onnx", accelerators=("cuda", "cpu"))
    assert [choice.accelerator for choice in ways.choices] == ["cpu"]
    assert ways.lacks == ("cuda was asked for: this ONNX Runtime has no CUDAExecutionProvider",)
    with pytest.raises(ModelError) as caught:
        plan("onnx", accelerators=("cuda",))
    assert "no CUDAExecutionProvider" in caught.value.hint
    with pytest.raises(InputError, match="no accelerator 'abacus'"):
        plan("onnx", accelerators=("abacus",))
    with pytest.raises(ModelError, match="TFLite"):
        plan("tflite", runtimes=("onnx",))


def test_the_libraries_that_a_release_allows_are_kept_to() -> None:
    if not OPENVINO:
        pytest.skip("openvino is not installed here")
    only = plan("onnx", runtimes=("openvino",))
    assert [choice.backend for choice in only.choices] == ["openvino"]


def test_a_system_is_asked_for_its_devices_before_its_libraries(tmp_path: Path) -> None:
    if not OPENVINO:
        pytest.skip("openvino is not installed here")
    ways = plan("onnx", accelerators=("openvino-npu", "openvino-gpu", "cpu"), root=tmp_path)
    assert [lack.split(":")[0] for lack in ways.lacks] == [
        "openvino-npu was asked for",
        "openvino-gpu was asked for",
    ]
    assert all("no device for it" in lack for lack in ways.lacks)


def test_a_gpu_comes_first_where_tensorrt_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    known = {"tensorrt": real("json"), "tensorrt_rtx": None}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: known[name] if name in known else real(name, *more)
    )
    assert "tensorrt" not in sys.modules
    ways = plan("onnx", gpu=ORIN)
    first, second = ways.choices
    assert (first.accelerator, first.backend, first.device) == ("tensorrt", "tensorrt", "Orin (nvgpu) (8.7)")
    assert first.must_build
    assert second.accelerator == "cpu"
    assert "finds no NVIDIA GPU" in plan("onnx", accelerators=("tensorrt", "cpu")).lacks[0]
    engine = plan("tensorrt", gpu=ORIN).choices[0]
    assert not engine.must_build


def test_a_gpu_is_known_by_name_and_by_generation() -> None:
    assert ORIN.matches("orin")
    assert ORIN.matches("8.7")
    assert not ORIN.matches("8.6")
    assert not ORIN.matches("RTX 4090")
    assert Gpu.from_dict(ORIN.to_dict()) == ORIN
    for value in (None, {}, {"name": "x"}, {"name": "x", "compute_capability": "new"}, []):
        assert Gpu.from_dict(value) is None
    assert ask_driver("libno-such-driver.so") is None


def test_every_change_of_a_key_makes_another_file() -> None:
    choice = Choice("tensorrt", "tensorrt", "gpu", "10.3", "Orin (8.7)", must_build=True)
    base = key_of("a" * 64, {}, choice, {"max_batch": 1})
    others = [
        key_of("b" * 64, {}, choice, {"max_batch": 1}),
        key_of("a" * 64, {"weights.bin": "c" * 64}, choice, {"max_batch": 1}),
        key_of("a" * 64, {}, choice, {"max_batch": 8}),
        key_of("a" * 64, {}, Choice("tensorrt", "tensorrt", "gpu", "10.4", "Orin (8.7)", True), {"max_batch": 1}),
        key_of("a" * 64, {}, Choice("tensorrt", "tensorrt", "gpu", "10.3", "Xavier (7.2)", True), {"max_batch": 1}),
        key_of("a" * 64, {}, Choice("tensorrt", "tensorrt_rtx", "gpu", "10.3", "Orin (8.7)", True), {"max_batch": 1}),
    ]  # fmt: skip
    assert len({name_of(key) for key in (base, *others)}) == 1 + len(others)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_what_is_kept_of_a_model_answers_as_the_model(sample: Path, tmp_path: Path, backend: str) -> None:
    if importlib.util.find_spec("onnxruntime" if backend == "onnx" else backend) is None:
        pytest.skip(f"{backend} is not installed here")
    out = tmp_path / "kept"
    out.write_bytes(b"")
    said: list[str] = []
    choice = plan("onnx", runtimes=(backend,)).choices[0]
    made = derive(
        DeriveRequest(sample / "digits.onnx", choice, out, shapes={"image": (2, 1, 8, 8)}),
        lambda doing, _: said.append(doing),
    )
    assert made.facts["derived_load_ms"] > 0
    assert said[-1] == "comparing it with the model"
    feeds = {"image": np.random.default_rng(5).random((3, 1, 8, 8), np.float32)}
    plain = open_session(sample / "digits.onnx", backend=backend)
    kept = open_session(sample / "digits.onnx", backend=backend, options=SessionOptions(derived=out))
    np.testing.assert_allclose(kept.run(feeds)["logits"], plain.run(feeds)["logits"], atol=1e-4)
    out.write_bytes(out.read_bytes()[:100])
    with pytest.raises(ModelError):
        open_session(sample / "digits.onnx", backend=backend, options=SessionOptions(derived=out))


def test_every_accelerator_is_known_to_a_plan() -> None:
    for name in ACCELERATORS:
        assert plan("onnx", accelerators=(name, "cpu")).choices[-1].accelerator == "cpu"
