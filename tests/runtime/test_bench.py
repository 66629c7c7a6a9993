"""A benchmark reports every promised figure, for each format, and its interval covers the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgestudio.runtime import environment
from edgestudio.runtime.bench import bench_job
from edgestudio.runtime.compare import Comparison, compare
from edgestudio.runtime.statistics import mean_interval, summary
from edgestudio.wire.errors import ModelError, UsageError
from edgestudio.wire.progress import Silent

KEYS = {
    "load_ms",
    "first_ms",
    "latency_ms",
    "throughput_hz",
    "peak_rss_bytes",
    "placement",
    "environment",
    "stages",
}


class Recorded(Silent):
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.partials: list[str] = []

    def phase(self, name: str, fraction: float | None = None) -> None:
        assert fraction is None or 0 <= fraction <= 1
        self.phases.append(name)

    def partial(self, key: str, value: object) -> None:
        json.dumps(value)
        self.partials.append(key)


def test_all_figures_of_the_sample(sample: Path, tmp_path: Path) -> None:
    progress = Recorded()
    params = {"path": str(sample / "digits.onnx"), "profile": True, "seconds": 0.3, "soak_minutes": 0.02}
    params |= {"pipeline": str(sample / "digits.pipeline.yaml"), "data": str(sample / "digits_test.npz")}
    result = bench_job(params, tmp_path, progress)
    json.dumps(result)
    assert result.keys() >= KEYS
    assert result["latency_ms"]["n"] >= 100
    assert result["latency_ms"]["ci95"][0] <= result["latency_ms"]["mean"] <= result["latency_ms"]["ci95"][1]
    assert result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]
    assert set(result["stages"]) == {"pre", "infer", "post", "total"}
    assert {"Conv", "FusedConv"} & {row["op"] for row in result["operators"]}
    assert result["input"] == "data"
    assert result["environment"]["versions"]["onnxruntime"]
    assert result["soak"]["series"][-1]["t_s"] >= 1
    assert result["soak"]["drift"] > 0
    assert {"load", "warm-up", "measure", "stages", "profile", "soak"} <= set(progress.phases)
    assert "soak" in progress.partials
    assert list(tmp_path.iterdir()) == []


@pytest.mark.models
@pytest.mark.parametrize(
    "name",
    [
        "kws01_mlperf_tiny/kws_ref_model.tflite",
        "mnist/mnist_valid_f.tflite",
        "object_detection/FastestDet.onnx",
    ],
)
def test_other_formats_without_data(collected: Path, tmp_path: Path, name: str) -> None:
    result = bench_job({"path": str(collected / name), "seconds": 0.2}, tmp_path, Silent())
    assert result.keys() >= KEYS
    assert result["input"] == "random"
    assert result["placement"]["counts"]


@pytest.mark.models
def test_sizes_that_only_trying_finds_are_found(collected: Path, tmp_path: Path) -> None:
    result = bench_job(
        {"path": str(collected / "silero_vad/silero_vad.onnx"), "seconds": 0.3}, tmp_path, Silent()
    )
    assert result["latency_ms"]["n"] > 0


def test_made_up_input_that_does_not_fit_is_explained(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [7, 1009])  # no size that anybody would try
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [7, 1009])],
        [shape],
    )
    path = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    with pytest.raises(ModelError, match="made-up input") as caught:
        bench_job({"path": str(path)}, tmp_path, Silent())
    assert "--data" in caught.value.hint


def test_bad_options_are_refused(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        bench_job({"path": str(sample / "digits.onnx"), "soak_minutes": -1}, tmp_path, Silent())
    with pytest.raises(ModelError, match="no file"):
        bench_job({"path": str(tmp_path / "none.onnx")}, tmp_path, Silent())


def test_the_interval_covers_the_mean_of_correlated_latencies() -> None:
    """An autoregressive series: intervals of independent draws would cover its mean in 60 % of the cases."""
    rng, covered = np.random.default_rng(5), 0
    for _ in range(100):
        noise, series = rng.normal(size=600), [0.0]
        for value in noise:
            series.append(0.6 * series[-1] + value)
        low, high = mean_interval(np.asarray(series) + 10) or (0, 0)
        covered += low <= 10 <= high
    assert covered >= 84


def test_few_values_claim_little() -> None:
    assert summary([]) == {
        "p50": None,
        "p90": None,
        "p95": None,
        "p99": None,
        "mean": None,
        "ci95": None,
        "n": 0,
    }
    few = summary([1.0, 2.0, 3.0])
    assert few["p50"] == 2
    assert few["p99"] is None
    assert few["ci95"] is None


def test_surroundings_are_read_from_sysfs(tmp_path: Path) -> None:
    for name, text in {
        "sys/class/thermal/thermal_zone0/temp": "61234\n",
        "sys/class/thermal/thermal_zone1/temp": "nonsense",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000",
        "proc/device-tree/model": "Raspberry Pi 5 Model B\0",
        "proc/cpuinfo": "flags: fpu",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    facts = environment.describe(2, tmp_path)
    assert facts["temperature_c"] == pytest.approx(61.234)
    assert facts["processor"] == "Raspberry Pi 5 Model B"
    assert facts["frequency_mhz"] == 1500
    assert facts["is_virtual"] is False
    assert any("powersave" in warning for warning in facts["warnings"])


def test_nothing_to_read_is_unknown_and_not_zero(tmp_path: Path) -> None:
    facts = environment.moment(tmp_path)
    assert facts["temperature_c"] is None
    assert facts["governor"] is None
    assert facts["memory_available_bytes"] is None


def test_differences_of_outputs() -> None:
    reference = {"y": np.array([3.0, 4.0, 0.0])}
    same = compare(reference, {"y": np.array([3.0, 4.0, 0.0])})
    assert same.is_equal
    assert same.to_dict()["sqnr_db"] is None
    assert same.cosine == 1
    other = compare(reference, {"y": np.array([3.0, 4.0, 0.5])})
    assert other.max_abs == 0.5
    assert other.sqnr_db == pytest.approx(20)
    assert other.cosine == pytest.approx(25 / (5 * np.sqrt(25.25)))
    assert compare(reference, {"renamed": reference["y"]}).is_equal
    broken = compare(reference, {"y": np.array([3.0, np.nan, 0.0])})
    assert broken.differing_nan == 1
    assert not broken.is_equal
    with pytest.raises(ModelError):
        compare(reference, {"y": np.zeros(2)})
    with pytest.raises(ModelError):
        compare(reference, {})
    assert Comparison().result().n == 0
