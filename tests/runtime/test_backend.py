"""Sessions of every installed backend load, run, place, profile and refuse with a sentence."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from edgestudio.runtime import backend
from edgestudio.runtime.backend import (
    Affine,
    SessionOptions,
    TensorSpec,
    available,
    open_session,
    random_feeds,
)
from edgestudio.runtime.backends.onnx import OnnxSession
from edgestudio.wire.errors import InputError, ModelError


def can_say_where() -> bool:
    """Whether this ONNX Runtime records where it puts nodes; 1.23, the last one for Python 3.10, does not."""
    import onnxruntime

    return hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")


def test_the_sample_runs_and_says_where(sample: Path) -> None:
    session = open_session(sample / "digits.onnx")
    assert session.backend == "onnx"
    assert session.inputs == (TensorSpec("image", "float32", ("batch", 1, 8, 8)),)
    outputs = session.run({"image": np.zeros((3, 1, 8, 8), np.float32)})
    assert outputs["logits"].shape == (3, 10)
    placement = session.placement()
    assert placement["counts"] == {"CPUExecutionProvider": sum(placement["counts"].values())}
    assert sum(placement["counts"].values()) == len(placement["nodes"]) > 3
    assert placement["source"] == ("recorded" if can_say_where() else "listed")
    assert placement["alarm"] is None
    session.close()
    session.close()
    with pytest.raises(ModelError, match="closed"):
        session.run({"image": np.zeros((1, 1, 8, 8), np.float32)})


def test_a_model_without_end_says_where_it_would_run_without_being_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ONNX Runtime that does not record it is not asked by a run: on a board, the load would never end."""
    helper = pytest.importorskip("onnx.helper")
    monkeypatch.setattr(OnnxSession, "_assigned", lambda self: None)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sin", ["x"], ["y"])],
        "body",
        [helper.make_tensor_value_info(*each) for each in (("i", 7, []), ("go", 9, []), ("x", 1, [8]))],
        [helper.make_tensor_value_info(*each) for each in (("on", 9, []), ("y", 1, [8]))],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", "", "x"], ["y"], name="round and round", body=body)],
        "endless",
        [helper.make_tensor_value_info("x", 1, [8])],
        [helper.make_tensor_value_info("y", 1, [8])],
        [helper.make_tensor("trips", 7, [], [900_000_000])],
    )
    path = tmp_path / "endless.onnx"
    path.write_bytes(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
    )
    placement = open_session(path).placement()
    assert placement["nodes"] == {"round and round": "CPUExecutionProvider"}
    assert placement["source"] == "listed"


@pytest.mark.parametrize(
    ("feeds", "match"),
    [
        ({}, "'image' is missing"),
        ({"image": np.zeros((1, 1, 8, 8))}, "must be float32, not float64"),
        ({"image": np.zeros((1, 8, 8), np.float32)}, "must have shape"),
        ({"image": np.zeros((1, 1, 9, 8), np.float32)}, "must have shape"),
        ({"image": np.zeros((1, 1, 8, 8), np.float32), "other": np.zeros(1)}, "no input 'other'"),
    ],
)
def test_feeds_that_do_not_fit_are_named(sample: Path, feeds: dict[str, np.ndarray], match: str) -> None:
    with pytest.raises(InputError, match=match):
        open_session(sample / "digits.onnx").run(feeds)


def test_profile_names_the_slowest_operators(sample: Path, tmp_path: Path) -> None:
    session = open_session(sample / "digits.onnx", options=SessionOptions(profile_dir=tmp_path))
    rows = session.profile(random_feeds(session.inputs), 3)
    assert {"Conv", "Gemm"} <= {row["op"] for row in rows}
    assert rows[0]["mean_ms"] >= rows[-1]["mean_ms"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert list(tmp_path.iterdir()) == []


def test_optimisation_changes_speed_and_not_results(sample: Path) -> None:
    feeds = {"image": np.random.default_rng(1).random((2, 1, 8, 8), np.float32)}
    results = [
        open_session(sample / "digits.onnx", options=SessionOptions(optimization=level)).run(feeds)["logits"]
        for level in ("off", "basic", "extended", "all")
    ]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], atol=1e-4)


def test_an_accelerator_that_is_not_there_is_said(sample: Path) -> None:
    with pytest.raises(InputError, match="no CUDAExecutionProvider"):
        open_session(sample / "digits.onnx", options=SessionOptions(providers=("cuda",)))


def test_a_fallback_raises_the_alarm() -> None:
    from edgestudio.runtime.backends.onnx import _judged

    nodes = [
        ("a", "Conv", "CUDAExecutionProvider"),
        ("b", "TopK", "CPUExecutionProvider"),
        ("", "TopK", "CPUExecutionProvider"),
    ]
    judged = _judged(nodes, ["CUDAExecutionProvider", "CPUExecutionProvider"], "recorded")
    assert judged["counts"] == {"CUDAExecutionProvider": 1, "CPUExecutionProvider": 2}
    assert judged["alarm"] == "2 of 3 nodes fell back from CUDAExecutionProvider to the CPU: TopK (2)"


def test_backends_are_listed_without_importing_any() -> None:
    rows = {row["name"]: row for row in available()}
    assert rows["onnx"]["available"]
    assert rows["onnx"]["version"]
    assert rows["litert"]["available"] == (importlib.util.find_spec("ai_edge_litert") is not None)
    for row in rows.values():
        assert row["available"] == (row["reason"] == "")


def test_unknown_and_unfit_backends(sample: Path) -> None:
    with pytest.raises(InputError, match="no backend 'abacus'"):
        open_session(sample / "digits.onnx", backend="abacus")
    with pytest.raises(ModelError, match="does not read ONNX"):
        open_session(sample / "digits.onnx", backend="litert")
    missing = [spec for spec in backend.BACKENDS if backend.unavailable(spec) and "onnx" in spec.formats]
    for spec in missing:
        with pytest.raises(ModelError, match="not available"):
            open_session(sample / "digits.onnx", backend=spec.name)


def test_options_are_checked() -> None:
    with pytest.raises(InputError):
        SessionOptions(threads=0)
    with pytest.raises(InputError):
        SessionOptions(optimization="most")


def _used(path: Path) -> None:
    session = open_session(path)
    session.run(random_feeds(session.inputs))


@pytest.mark.models
def test_a_library_that_refuses_gives_its_reason(collected: Path) -> None:
    for name in ("onnx/bad_graph_with_duplicate_node_names.onnx", "tflite/dynamic_shapes.tflite"):
        with pytest.raises(ModelError) as caught:
            _used(collected / "bad" / name)
        assert caught.value.code in ("runtime-refused", "run-failed")
        assert "\n" not in caught.value.message


@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "dtype", "quantization"),
    [
        ("mnist/mnist_valid_q.tflite", "int8", Affine(pytest.approx(1 / 255), -128)),
        ("mobilenet_coral/mobilenet_v1_0.25_128_quant.tflite", "uint8", Affine(pytest.approx(1 / 128), 128)),
        ("basic_pitch/nmp.tflite", "float32", None),
        ("bad/tflite/string_input_model.tflite", "string", None),
    ],
)
def test_litert_tells_what_inputs_are(
    collected: Path, name: str, dtype: str, quantization: Affine | None
) -> None:
    session = open_session(collected / name)
    assert session.inputs[0].dtype == dtype
    assert session.inputs[0].quantization == quantization


@pytest.mark.models
def test_litert_uses_the_signature_names_and_resizes(collected: Path) -> None:
    session = open_session(collected / "basic_pitch/nmp.tflite")
    assert [spec.name for spec in session.inputs] == ["input_2"]
    assert {spec.name for spec in session.outputs} == {"contour", "note", "onset"}
    two = session.run({"input_2": np.zeros((2, 43844, 1), np.float32)})
    assert two["note"].shape == (2, 172, 88)
    one = session.run({"input_2": np.zeros((1, 43844, 1), np.float32)})
    np.testing.assert_allclose(one["note"][0], two["note"][0], atol=1e-6)


@pytest.mark.models
def test_two_formats_of_one_model_agree(collected: Path) -> None:
    onnx, tflite = (open_session(collected / f"basic_pitch/nmp.{suffix}") for suffix in ("onnx", "tflite"))
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 43844, 1)).astype(np.float32)
    left = onnx.run({onnx.inputs[0].name: sound})
    right = tflite.run({"input_2": sound})
    for a in left.values():
        b = min(
            right.values(),
            key=lambda value: (value.shape != a.shape, abs(value - a).max() if value.shape == a.shape else 9),
        )
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is an extra, and not installed here"
)
def test_openvino_agrees_and_says_what_it_runs_where(sample: Path, tmp_path: Path) -> None:
    feeds = {"image": np.random.default_rng(2).random((2, 1, 8, 8), np.float32)}
    other = open_session(sample / "digits.onnx", backend="openvino")
    expected = open_session(sample / "digits.onnx").run(feeds)["logits"]
    np.testing.assert_allclose(other.run(feeds)["logits"], expected, atol=1e-3)
    placement = other.placement()
    assert placement["alarm"] is None
    assert placement["counts"] == {"CPU": len(placement["nodes"])}
    assert any("Conv" in name for name in placement["nodes"])
    assert {row["unit"] for row in other.profile(feeds, 2)} == {"CPU"}
    with pytest.raises(InputError, match="OpenVINO sees no GPU"):
        open_session(sample / "digits.onnx", backend="openvino", options=SessionOptions(providers=("gpu",)))
    with pytest.raises(InputError, match="must be float32"):
        other.run({"image": np.zeros((1, 1, 8, 8))})
    other.close()
    with pytest.raises(ModelError, match="closed"):
        other.run(feeds)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes((sample / "digits.onnx").read_bytes()[:-4000])
    with pytest.raises(ModelError):
        open_session(broken, backend="openvino", is_scanned=True)
    # Importing it would report its use over the network: what reports is not there.
    assert sys.modules["openvino_telemetry"] is None


@pytest.mark.models
def test_a_recurrent_model_answers_the_same_input_the_same_way(models_root: Path) -> None:
    session = open_session(models_root / "mnist" / "mnist_trained_lstm_int8.tflite")
    feeds = random_feeds(session.inputs)
    first, second = (session.run(feeds) for _ in range(2))
    for name, values in first.items():
        assert np.array_equal(values, second[name])
    session.close()
