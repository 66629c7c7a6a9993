"""Faults 29 to 32: models that hang, crash, eat memory or die again and again; and a switch that loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgestudio.agent.run import limits
from edgestudio.agent.run.channel import Arena, FrameReader, frame
from edgestudio.agent.run.host import HostDiedError, HostSpec, ModelFailedError, ModelHost
from edgestudio.agent.run.scanning import scan_in_child
from edgestudio.agent.run.spawn import walls
from edgestudio.runtime.backend import open_session
from edgestudio.wire.errors import EdgeStudioError
from tests.agent import releases
from tests.patience import PATIENCE, until

UNLIMITED = asyncio.run(walls())["memory_reason"]


def endless(path: Path) -> Path:
    """A Loop that the scan lets through, since a count so high can be meant, and that ends in days."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sin", ["acc"], ["acc_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("acc", TensorProto.FLOAT, [1024]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("acc_on", TensorProto.FLOAT, [1024]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body)],
        "endless",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1024])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1024])],
        [helper.make_tensor("trips", TensorProto.INT64, [], [900_000_000])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def expanding(path: Path) -> Path:
    """Makes a tensor as large as its input says."""
    graph = helper.make_graph(
        [helper.make_node("Expand", ["one", "shape"], ["y"])],
        "expanding",
        [helper.make_tensor_value_info("shape", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def with_host(
    spec: HostSpec,
    scenario: Callable[[ModelHost, list[HostDiedError]], Coroutine[Any, Any, None]],
) -> None:
    async def run() -> None:
        deaths: list[HostDiedError] = []
        host = ModelHost(spec, lambda _, death: deaths.append(death))
        try:
            await host.start()
            await host.load()
            await scenario(host, deaths)
        finally:
            await host.close()

    asyncio.run(run())


def test_a_host_answers_what_the_bare_session_answers() -> None:
    session = open_session(releases.MODEL)
    feeds = {s.name: np.random.default_rng(1).random(s.concrete(), np.float32) for s in session.inputs}
    expected = session.run(feeds)
    session.close()

    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        answer = await host.run(feeds)
        for name, array in expected.items():
            np.testing.assert_array_equal(answer["outputs"][name], array)
        with pytest.raises(ModelFailedError):
            await host.run({"nonsense": np.zeros(3, np.float32)})
        assert (await host.run(feeds))["infer_ms"] > 0
        assert deaths == []

    with_host(HostSpec(releases.MODEL), scenario)


def test_a_single_number_stays_a_single_number(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    model = tmp_path / "sum.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)

    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        answer = await host.run({"x": np.ones(4, np.float32)})
        assert answer["outputs"]["y"].shape == ()

    with_host(HostSpec(model), scenario)


def test_a_model_that_never_ends_is_killed_at_its_deadline(tmp_path: Path) -> None:
    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        with pytest.raises(HostDiedError) as died:
            await host.run({"x": np.ones(1024, np.float32)}, deadline_s=0.5)
        assert died.value.how == "timeout"
        assert "within 0.5 s" in died.value.message
        assert [death.how for death in deaths] == ["timeout"]
        with pytest.raises(HostDiedError):
            await host.run({"x": np.ones(1024, np.float32)})

    with_host(HostSpec(endless(tmp_path / "endless.onnx")), scenario)


def test_an_answer_that_is_there_in_time_is_taken_even_when_the_agent_comes_late_to_read_it() -> None:
    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        asking = asyncio.ensure_future(host.run(zeros(host), deadline_s=PATIENCE))
        await asyncio.sleep(0)  # it is sent
        time.sleep(2 * PATIENCE)  # noqa: ASYNC251 - as a disk or other work may hold an agent up
        assert (await asking)["outputs"]
        assert (await host.run(zeros(host)))["outputs"], "it was not killed for its agent's lateness"
        assert deaths == []

    with_host(HostSpec(releases.MODEL), scenario)


def walls_of(host: ModelHost) -> dict[str, str]:
    """The soft limits of the child, as the kernel says them."""
    lines = Path(f"/proc/{host.pid}/limits").read_text().splitlines()
    return {line[:26].strip(): line[26:].split()[0] for line in lines[1:]}


def zeros(host: ModelHost) -> dict[str, np.ndarray[Any, Any]]:
    return {
        each["name"]: np.zeros([size or 1 for size in each["shape"]], np.float32)
        for each in host.loaded.inputs
    }


def test_a_crash_of_the_native_library_is_an_error_and_nothing_more() -> None:
    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        assert host.pid is not None
        os.kill(host.pid, signal.SIGSEGV)
        await until(lambda: deaths)
        assert deaths[0].how == "crash"
        assert "SIGSEGV" in deaths[0].message
        assert not host.is_alive

    with_host(HostSpec(releases.MODEL), scenario)


def test_a_model_that_asks_for_too_much_memory_gets_none(tmp_path: Path) -> None:
    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        with pytest.raises(EdgeStudioError):
            await host.run({"shape": np.array([1 << 36], np.int64)}, deadline_s=20)
        if not deaths:  # most runtimes refuse politely; a kill would do as well
            assert (await host.run({"shape": np.array([8], np.int64)}))["outputs"]["y"].shape == (8,)

    with_host(HostSpec(expanding(tmp_path / "big.onnx"), memory_bytes=3 << 30), scenario)


@pytest.mark.skipif(bool(UNLIMITED), reason=UNLIMITED)
def test_a_model_is_held_to_its_memory_and_to_its_share_of_the_boards() -> None:
    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        kept = walls_of(host)
        assert kept["Max address space"] == str(1 << 50)
        assert kept["Max data size"] == str(limits.share_of(limits.physical_bytes()))

    with_host(HostSpec(releases.MODEL, memory_bytes=1 << 50), scenario)


def test_memory_runs_out_for_the_model_before_it_does_for_the_board() -> None:
    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        oom = Path(f"/proc/{host.pid}/oom_score_adj").read_text().strip()
        assert oom == "1000", "the kernel takes the model first"

    with_host(HostSpec(releases.MODEL), scenario)
    for mib in (64, 512, 1024, 8192):
        left = mib - limits.share_of(mib << 20) / 2**20
        assert min(mib / 2, 128) <= left <= max(mib / 2, 128, mib / 8), mib


def test_the_child_is_confined_and_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", "secret")

    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        proc = Path(f"/proc/{host.pid}")
        assert b"SOME_API_TOKEN" not in proc.joinpath("environ").read_bytes()
        kept = walls_of(host)
        assert kept["Max core file size"] == "0"
        assert kept["Max open files"] == "256"
        status = proc.joinpath("status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert os.getpgid(host.pid or 0) == host.pid

    with_host(HostSpec(releases.MODEL, memory_bytes=3 << 30), scenario)


def test_a_cancelled_request_never_gives_its_answer_to_the_next(tmp_path: Path) -> None:
    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        asking = asyncio.ensure_future(host.run({"x": np.ones(1024, np.float32)}))
        await asyncio.sleep(0.2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        with pytest.raises(HostDiedError):
            await host.run({"x": np.ones(1024, np.float32)})

    with_host(HostSpec(endless(tmp_path / "endless.onnx")), scenario)


def test_a_hostile_file_is_refused_in_a_child_of_its_own(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.onnx"
    model = onnx.load(releases.MODEL)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    hostile.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFailedError):
        asyncio.run(scan_in_child(hostile))
    asyncio.run(scan_in_child(releases.MODEL))


def test_layouts_that_lie_are_refused() -> None:
    ours = Arena.create()
    theirs = Arena(os.dup(ours.handle))
    try:
        layout = ours.write({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(True)})
        got = theirs.read(layout, copy=True)
        np.testing.assert_array_equal(got["a"], np.arange(6).reshape(2, 3))
        big = ours.write({"a": np.ones(1 << 20, np.float64)})  # grows
        assert theirs.read(big, copy=True)["a"].sum() == 1 << 20
        for wrong in (
            {"shape": [1 << 40]}, {"at": 1 << 40}, {"at": -8}, {"dtype": "O"}, {"shape": [-1, -6]},
        ):  # fmt: skip
            with pytest.raises(ValueError, match="tensor"):
                theirs.read([{**layout[0], **wrong}], copy=True)
        with pytest.raises(EdgeStudioError):
            ours.write({"text": np.array(["a"], dtype=object)})
    finally:
        ours.close()
        theirs.close()


def test_frames_come_in_any_pieces_and_lies_end_the_talk() -> None:
    data = frame({"a": 1}) + frame({"b": [2]})
    reader = FrameReader()
    messages = [message for byte in data for message in reader.feed(bytes([byte]))]
    assert messages == [{"a": 1}, {"b": [2]}]
    with pytest.raises(ValueError, match="frame"):
        FrameReader().feed(b"\xff\xff\xff\xff")


def test_a_switch_under_load_loses_no_request_and_three_crashes_go_back(tmp_path: Path) -> None:
    asyncio.run(_switch_and_crash(tmp_path))


async def _switch_and_crash(tmp_path: Path) -> None:
    board = releases.supervisor(tmp_path / "board")
    await board.start()
    try:
        await releases.push(board, releases.make_release(tmp_path / "a"))
        item = releases.digits()[0]
        answered: list[int] = []
        done = asyncio.Event()

        async def ask() -> None:
            while not done.is_set():
                answered.append((await board.infer("digits", {"input": item}))["release"])
                await asyncio.sleep(0.01)

        asking = asyncio.ensure_future(ask())
        golden, _ = releases.sample_golden(releases.digits(), count=7)
        second = releases.make_release(tmp_path / "b", version="2.0.0", counter=2, golden=golden)
        assert (await releases.push(board, second))["state"] == "COMMITTED"
        done.set()
        await asking  # raises when any request was lost
        assert {1, 2} == set(answered)
        assert answered == sorted(answered)

        for number in range(3):
            bay = board.models.bays["digits"]
            await until(lambda bay=bay: bay.serving is not None and bay.serving.host.is_alive)
            assert bay.serving is not None
            assert bay.serving.manifest.version == "2.0.0", number
            os.kill(bay.serving.host.pid or 0, signal.SIGSEGV)
            await asyncio.sleep(0.3)

        def went_back() -> bool:
            view = board.state()["models"]["digits"]
            return view["active"]["version"] == "1.0.0" and view["serving"] is True

        await until(went_back)
        view = board.state()["models"]["digits"]
        assert any("died 3 times" in why for why in view["quarantine"].values())
        names = [record.get("name") for record in board.history(0, 500)]
        assert names.count("model.died") == 3
        assert "install.rolled_back" in names
    finally:
        await board.stop()
