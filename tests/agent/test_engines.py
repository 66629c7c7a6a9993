"""Engines of TensorRT: really built, by TensorRT for RTX, which builds without a GPU; running one needs the GPU.

The library is 230 MB and under its vendor's licence, so that the suite does not install it: these tests are skipped
without it. To run them: `.venv/bin/pip install tensorrt-rtx`, then `.venv/bin/pytest tests/agent/test_engines.py`.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestudio.agent.supervisor import Supervisor
from edgestudio.runtime.choice import plan
from edgestudio.runtime.derive import Derived, DeriveRequest, derive
from edgestudio.runtime.engine_header import engine_header
from edgestudio.runtime.gpu import Gpu
from edgestudio.wire.errors import ModelError
from edgestudio.wire.release import Requirements
from tests.agent import releases
from tests.patience import until

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt-rtx is not installed here (230 MB, its vendor's licence): see this file's first lines",
)
GPU = Gpu("a GPU of the Ampere generation", "8.6", "13.0")
ALONE = Requirements(accelerators=("tensorrt",))
EITHER = Requirements(accelerators=("tensorrt", "cpu"))


def built(model: Path, out: Path, **more: Any) -> tuple[Derived, list[tuple[str, float | None]]]:
    said: list[tuple[str, float | None]] = []
    out.write_bytes(b"")
    choice = plan("onnx", gpu=GPU).choices[0]
    request = DeriveRequest(model, choice, out, gpu=more.pop("gpu", GPU), **more)
    return derive(request, lambda doing, fraction: said.append((doing, fraction))), said


def test_an_engine_is_built_and_says_who_built_it(tmp_path: Path) -> None:
    import tensorrt_rtx

    out = tmp_path / "engine"
    made, said = built(releases.MODEL, out, shapes={"image": (1, 1, 8, 8)}, max_batch=8)
    assert made.is_worth_keeping
    assert made.facts["layers"] > 10
    fractions = [fraction or 0.0 for _, fraction in said]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert len(set(fractions)) > 10
    header = engine_header(out)
    assert header is not None
    assert (header.backend, header.version) == ("tensorrt_rtx", tensorrt_rtx.__version__)


def test_what_tensorrt_does_not_build_is_refused_with_its_reason(tmp_path: Path) -> None:
    out = tmp_path / "engine"
    strings = helper.make_graph(
        [helper.make_node("StringNormalizer", ["x"], ["y"])],
        "words",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [2])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [2])],
    )
    onnx.save(
        helper.make_model(strings, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "words.onnx",
    )
    with pytest.raises(ModelError, match=r"TensorRT .* cannot read words.onnx"):
        built(tmp_path / "words.onnx", out)
    with pytest.raises(ModelError, match="does not build for Nano"):
        built(releases.MODEL, out, gpu=Gpu("Nano", "5.3"))
    open_sizes = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "open",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "length"])],
    )
    path = tmp_path / "open.onnx"
    onnx.save(helper.make_model(open_sizes, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(ModelError, match="leaves its size open") as caught:
        built(path, out)
    assert "golden" in caught.value.hint
    assert built(path, out, shapes={"x": (1, 40)})[0].is_worth_keeping


# ------------------------------------------------------------------ on a board


def run(tmp_path: Path, scenario: Callable[[Supervisor], Awaitable[None]]) -> None:
    async def whole() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            board.intake._facts = board.facts.__class__(
                **{
                    **board.facts.__dict__,
                    "gpu": GPU,
                    "runtimes": {**board.facts.runtimes, "tensorrt_rtx": "1"},
                }
            )
            board.models.opener.gpu = GPU.to_dict()
            await scenario(board)
        finally:
            await board.stop()

    asyncio.run(whole())


def named(board: Supervisor, name: str, backend: str = "") -> list[dict[str, Any]]:
    found = [record for record in board.history(0, 10_000) if record.get("name") == name]
    return [record for record in found if not backend or record["data"]["backend"] == backend]


def engines(board: Supervisor) -> list[Path]:
    folder = board.settings.data_dir / "derived"
    return [entry for entry in sorted(folder.glob("tensorrt_rtx-*")) if entry.suffix != ".json"]


def wide(path: Path, layers: int = 120) -> Path:
    """A model that takes TensorRT some seconds: convolutions of many shapes, one after another."""
    rng = np.random.default_rng(1)
    nodes, weights, name, channels = [], [], "x", 8
    for number in range(layers):
        size, wider = (1, 3, 5, 7)[number % 4], 8 + number % 9
        kernel = rng.normal(0, 0.1, (wider, channels, size, size)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{number}"))
        nodes.append(
            helper.make_node(
                "Conv", [name, f"w{number}"], [f"c{number}"], pads=[size // 2] * 4, name=f"n{number}"
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        name, channels = f"r{number}", wider
    graph = helper.make_graph(
        nodes, "wide", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 32, 32])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_board_builds_keeps_and_finds_its_engine_again(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        first = releases.make_release(tmp_path / "a", requires=ALONE)
        install = await releases.push(board, first)
        # It is built; that it cannot be loaded where there is no GPU is told, and nothing serves.
        assert install["state"] == "FAILED"
        assert "TensorRT" in install["reason"]
        assert [step["state"] for step in install["history"]][-3:] == ["STAGED", "DRYRUN", "FAILED"]
        assert len(named(board, "model.built", "tensorrt_rtx")) == 1
        told = [r for r in board.history(0, 10_000) if r["k"] == "install" and r.get("detail")]
        assert "building the engine" in {record["detail"] for record in told}

        # Where the processor will do as well it serves, the alarm says so, and the engine was not built twice.
        second = releases.make_release(tmp_path / "b", version="2", counter=2, requires=EITHER)
        assert (await releases.push(board, second))["state"] == "COMMITTED"
        placement = board.info()["placement"]["digits"]
        assert placement["accelerator"] == "cpu"
        assert placement["alarm"].startswith("tensorrt could not be used: ")
        assert named(board, "placement.fallback")
        assert len(named(board, "model.built", "tensorrt_rtx")) == 1
        assert len(engines(board)) == 1

        # An engine that is not as it was built is built again.
        engines(board)[0].chmod(0o600)
        engines(board)[0].write_bytes(b"something else")
        third = releases.make_release(tmp_path / "c", version="3", counter=3, requires=EITHER)
        assert (await releases.push(board, third))["state"] == "COMMITTED"
        assert len(named(board, "model.built", "tensorrt_rtx")) == 2

        # So is one for another GPU.
        board.models.opener.gpu = Gpu("a newer one", "8.9", "13.0").to_dict()
        fourth = releases.make_release(tmp_path / "d", version="4", counter=4, requires=EITHER)
        assert (await releases.push(board, fourth))["state"] == "COMMITTED"
        assert len(named(board, "model.built", "tensorrt_rtx")) == 3

    run(tmp_path, scenario)


def test_a_build_that_is_given_up_or_killed_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        before = set(psutil.Process().children())
        model = wide(tmp_path / "wide.onnx")
        for number, end in ((1, "abort"), (2, "kill")):
            release = releases.make_release(
                tmp_path / f"r{number}", model=model, name="wide", version=f"{number}.0", counter=number,
                pipeline=False, with_golden=False, requires=ALONE,
            )  # fmt: skip
            answer = await releases.offer(board, release)
            await releases.send(board, release, answer["need"])
            await board.finish(answer["id"])
            await until(lambda i=answer["id"]: (board.install(i)["fraction"] or 0.0) > 0.05)
            if end == "kill":
                for child in set(psutil.Process().children()) - before:
                    child.kill()
            row = await (board.abort(answer["id"]) if end == "abort" else releases.ended(board, answer["id"]))
            assert row["state"] == "FAILED", row
            assert ("aborted" if end == "abort" else "ended the process") in row["reason"]
            assert engines(board) == []
            await until(lambda: not set(psutil.Process().children()) - before)

    run(tmp_path, scenario)


def test_an_engine_that_was_made_elsewhere_must_fit(tmp_path: Path) -> None:
    engine = tmp_path / "digits.engine"
    built(releases.MODEL, engine)
    older = tmp_path / "older.engine"
    data = bytearray(engine.read_bytes())
    data[25] = data[25] - 1
    older.write_bytes(data)

    async def scenario(board: Supervisor) -> None:
        cases = (
            (engine, Requirements(accelerators=("tensorrt",)), "does not say for which GPU"),
            (older, Requirements(gpu=("8.6",)), "was built with TensorRT for RTX"),
            (
                engine,
                Requirements(gpu=("8.6",)),
                "no NVIDIA driver",
            ),  # it fits; the GPU itself is missing here
        )
        for counter, (model, requires, reason) in enumerate(cases, start=1):
            release = releases.make_release(
                tmp_path / str(counter), model=model, name="made", version=str(counter), counter=counter,
                requires=requires, pipeline=False, with_golden=False,
            )  # fmt: skip
            install = await releases.push(board, release)
            assert install["state"] == "FAILED"
            assert reason in install["reason"], install["reason"]

    run(tmp_path, scenario)
