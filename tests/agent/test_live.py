"""A board's live pipeline, with real parts: pushed items, actions, batches, fallbacks, second opinions, captures."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import os
import signal
import time
import wave
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import yaml
from PIL import Image

from edgestudio.agent.observe.throttle import Change
from edgestudio.agent.run.bay import ModelBay
from edgestudio.agent.run.queue import JobQueue
from edgestudio.agent.supervisor import Supervisor
from edgestudio.runtime.backend import open_session
from edgestudio.runtime.pipeline.pipeline import Runner, load_pipeline
from edgestudio.runtime.replay import replay_job
from edgestudio.wire.capture import Capture
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.progress import Silent
from edgestudio.wire.records import Window
from tests.agent import releases
from tests.patience import PATIENCE, until
from tests.runtime.brokers import BROKERS, PASSWORD, USERNAME, WHO, broker
from tests.runtime.servers import model_server, web_server

DIGITS = releases.digits()


def board_of(tmp_path: Path, policy: str = "") -> Supervisor:
    folder = tmp_path / "board"
    folder.mkdir(parents=True, exist_ok=True)
    if policy:
        (folder / "board.yaml").write_text(policy)
        (folder / "board.yaml").chmod(0o600)
    return releases.supervisor(folder)


async def pushed(
    board: Supervisor, folder: Path, changes: Mapping[str, Any], *, name: str = "digits", **more: Any
) -> ModelBay:
    """A release of the sample model whose pipeline has `changes`, running."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {**yaml.safe_load(releases.PIPELINE.read_text()), **changes}
    document.setdefault("source", {"kind": "folder", "path": "samples.npz", "rate_hz": 50})
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(document))
    np.savez(folder / "samples.npz", x=DIGITS[:24])
    files = {"pipeline": folder / "pipeline.yaml", "samples": folder / "samples.npz", **more.pop("files", {})}
    release = releases.make_release(folder, name=name, pipeline=False, extra=files, **more)
    install = await releases.push(board, release)
    assert install["state"] == "COMMITTED", install["reason"]
    return board.models.bays[name]


def run(tmp_path: Path, scenario: Callable[[Supervisor], Awaitable[None]], policy: str = "") -> None:
    async def whole() -> None:
        board = board_of(tmp_path, policy)
        await board.start()
        try:
            await scenario(board)
        finally:
            await board.stop()

    asyncio.run(whole())


async def paused(bay: ModelBay) -> None:
    """Let nothing but what the test asks for come: what the board asked itself is still answered first."""
    bay.is_paused = True
    await until(lambda: not len(bay.queue) and not bay._elsewhere)


def windows(board: Supervisor) -> list[Window]:
    records = board.history(0, 10_000)
    return [Window.from_dict(record) for record in records if record["k"] == "win"]


def counted(board: Supervisor, name: str) -> int:
    return sum(window.counts.get(name, 0) for window in windows(board))


def events(board: Supervisor, name: str) -> list[str]:
    return [r["text"] for r in board.history(0, 10_000) if r["k"] == "evt" and r["name"] == name]


def picture(item: np.ndarray[Any, Any]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(item.astype(np.uint8)).save(data, "PNG")
    return data.getvalue()


def test_items_posted_on_the_board_are_answered_and_acted_on(tmp_path: Path) -> None:
    got: list[dict[str, Any]] = []

    async def hook(request: Any) -> Any:
        from aiohttp import web

        got.append(await request.json())
        return web.Response()

    async def scenario(board: Supervisor) -> None:
        async with web_server({"/hook": hook}) as url:
            bay = await pushed(
                board,
                tmp_path / "r",
                {
                    "source": {"kind": "http", "port": 0},
                    "validation": {"refuse_flat": True},
                    "actions": [
                        {"kind": "log", "text": "a {label}"},
                        {"kind": "webhook", "url": f"{url}/hook", "when": {"confidence_above": 0.0}},
                        {"kind": "command", "name": "rm"},
                    ],
                },
            )
            await until(lambda: bay.live is not None and bay.live.port)
            assert bay.live is not None
            before = len(got)
            token = (board.settings.data_dir / "local" / "digits.token").read_text()
            assert (board.settings.data_dir / "local" / "digits.token").stat().st_mode & 0o777 == 0o600
            address = f"http://127.0.0.1:{bay.live.port}/infer"
            headers = {"Authorization": f"Bearer {token}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                async with session.post(address, data=picture(DIGITS[0])) as answer:
                    first = await answer.json()
                    assert answer.status == 200, first
                async with session.post(address, data=b"no picture at all") as answer:
                    assert answer.status == 422
                async with session.post(address, data=picture(np.zeros((8, 8)))) as answer:
                    assert (await answer.json())["code"] == "invalid-input"
            direct = await board.infer("digits", {"input": DIGITS[0]})
            assert first["label"] == direct["label"]
            await until(lambda: len(got) >= before + 2)
            assert got[before]["label"] == first["label"]
            assert "outputs" not in got[before]
            await until(lambda: counted(board, "action_sent") >= 4 and counted(board, "action_failed") >= 2)
            await until(lambda: counted(board, "invalid") >= 2)
            assert f"a {first['label']}" in events(board, "action.log")
            assert any("allows no command" in text for text in events(board, "action.failed"))

    run(tmp_path, scenario)


@pytest.mark.parametrize("name", BROKERS)
def test_mqtt_in_and_out(tmp_path: Path, name: str) -> None:
    aiomqtt = pytest.importorskip("aiomqtt")

    with broker(name, tmp_path) as port:

        async def scenario(board: Supervisor) -> None:
            where = {"port": port, "username": USERNAME, "password": "plant"}
            bay = await pushed(
                board,
                tmp_path / "r",
                {
                    "source": {"kind": "mqtt", "broker": where, "topic": "camera"},
                    "actions": [{"kind": "mqtt", "broker": dict(where), "topic": "digit"}],
                    "queue": {"size": 16, "when_full": "block"},
                },
            )
            await until(lambda: bay.live is not None and bay.live._intake is not None)
            assert bay.live is not None
            await asyncio.wait_for(bay.live._intake.is_connected.wait(), 20 * PATIENCE)  # type: ignore[union-attr]
            async with aiomqtt.Client("127.0.0.1", port, **WHO) as client:
                await client.subscribe("digit")
                for item in DIGITS[:3]:
                    await client.publish("camera", picture(item), qos=1)
                labels = []
                async for message in client.messages:
                    labels.append(yaml.safe_load(message.payload)["label"])
                    if len(labels) == 3:
                        break
            expected = [(await board.infer("digits", {"input": item}))["label"] for item in DIGITS[:3]]
            assert labels == expected

        run(tmp_path, scenario, f"secrets: {{plant: {PASSWORD}}}\n")


def test_windows_of_a_sound_run_on_a_board(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        folder = tmp_path / "r"
        folder.mkdir()
        with wave.open(str(folder / "yard.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes((np.random.default_rng(1).normal(0, 9000, 6400)).astype("<i2").tobytes())
        changes = {
            "source": {"kind": "audio", "path": "yard.wav", "window": 64, "hop": 32, "rate_hz": 50},
            "preprocess": [{"kind": "audio", "sample_rate_hz": 8000, "samples": 64}],
        }
        # The baseline is of digits, and this is noise: how sure the model is says nothing here.
        calm = dataclasses.replace(releases.SHORT, confidence_distance=None)
        bay = await pushed(board, folder, changes, files={"sound": folder / "yard.wav"}, limits=calm)
        assert bay.serving is not None
        assert bay.serving.loaded.is_stream
        before = bay.serving.ticks
        board.captures.switch("digits", is_on=True, every=1, confidence_below=None, max_bytes=None)
        await until(lambda: bay.serving is not None and bay.serving.ticks > before + 10)
        await until(lambda: counted(board, "captured") >= 2)
        kept = (await board.captures.view())["captures"][:2]
        files = []
        for row in kept:
            files.append(tmp_path / f"{row['id']}.capture")
            files[-1].write_bytes(await board.captures.read(row["id"]))
        assert Capture.from_bytes(files[0].read_bytes()).raw_kind == "sound"
        paths = [str(file) for file in files]
        report = replay_job({"captures": paths, "model": str(releases.MODEL)}, tmp_path, Silent())
        assert report["equal"] is True, report

    run(tmp_path, scenario)


def test_frames_of_a_film_run_on_a_board(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")

    async def scenario(board: Supervisor) -> None:
        folder = tmp_path / "r"
        folder.mkdir()
        writer = cv2.VideoWriter(str(folder / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 32))
        for item in DIGITS[:8]:
            frame = cv2.resize(item.astype(np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST)
            writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        writer.release()
        source = {"kind": "camera", "device": "film.avi", "loops": True, "rate_hz": 50}
        bay = await pushed(board, folder, {"source": source}, files={"film": folder / "film.avi"})
        assert bay.serving is not None
        assert bay.serving.loaded.source_problem == ""
        before = bay.serving.ticks
        await until(lambda: bay.serving is not None and bay.serving.ticks > before + 20)
        assert counted(board, "source_failed") == 0
        assert events(board, "source.failed") == []

    run(tmp_path, scenario)


def test_rows_of_tensors_run_on_a_board_to_their_end(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        folder = tmp_path / "r"
        folder.mkdir()
        tensors = folder / "tensors.npz"
        np.savez(tensors, image=DIGITS[:6])
        bay = await pushed(
            board, folder, {"source": {"kind": "tensors", "path": "tensors.npz", "rate_hz": 50, "loops": False}},
            files={"tensors": tensors},
        )  # fmt: skip
        seat = bay.serving
        assert seat is not None
        assert seat.loaded.is_stream
        await until(lambda: seat.is_at_end)
        assert events(board, "source.ended")

    run(tmp_path, scenario)


def test_a_camera_that_is_not_there_is_told_and_the_model_still_answers(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        await pushed(board, tmp_path / "r", {"source": {"kind": "camera", "device": "nothing.avi"}})
        assert (await board.infer("digits", {"input": DIGITS[0]}))["label"] is not None
        assert any("not available" in text for text in events(board, "source.failed"))

    run(tmp_path, scenario)


def test_waiting_items_share_an_inference_and_known_ones_need_none(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        changes = {
            "batch": {"max_items": 8, "max_wait_ms": 50}, "queue": {"size": 100}, "cache": {"entries": 64},
        }  # fmt: skip
        bay = await pushed(board, tmp_path / "r", changes)
        await paused(bay)
        asked = [board.infer("digits", {"input": item}) for item in DIGITS[30:62]]
        together = await asyncio.gather(*asked)
        await until(lambda: counted(board, "batches") >= 3 and counted(board, "batched") >= 24)
        alone = [await board.infer("digits", {"input": item}) for item in DIGITS[30:62]]
        assert [a["label"] for a in together] == [a["label"] for a in alone]
        assert all(answer["cached"] for answer in alone)
        await until(lambda: counted(board, "cached") >= 32)
        mixed = await asyncio.gather(
            board.infer("digits", {"input": DIGITS[0]}),
            board.infer("digits", {"input": np.zeros((2, 2, 2, 2))}),
            board.infer("digits", {"image": np.zeros((3, 1, 8, 8), np.float32)}),
            return_exceptions=True,
        )
        assert mixed[0]["label"] is not None  # type: ignore[index]
        assert isinstance(mixed[1], EdgeStudioError)
        assert mixed[2]["outputs"]["logits"].shape == (3, 10)  # type: ignore[index]

    run(tmp_path, scenario)


def test_fallbacks_answer_while_the_model_is_dead(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        folder = tmp_path / "r"
        folder.mkdir()
        lighter = folder / "lighter.onnx"
        lighter.write_bytes(releases.MODEL.read_bytes())
        chain = [{"kind": "model", "file": "lighter.onnx"}, {"kind": "default", "label": "unknown"}]
        bay = await pushed(board, folder, {"fallback": chain}, files={"lighter": lighter})
        good = await board.infer("digits", {"input": DIGITS[0]})
        assert "degraded" not in good
        assert bay.serving is not None
        assert bay.serving.host.pid is not None
        await until(lambda: bay.live is not None and bay.live._lighter)
        os.kill(bay.serving.host.pid, signal.SIGKILL)
        await until(lambda: bay.serving is not None and not bay.serving.host.is_alive, 5)
        rescued = await board.infer("digits", {"input": DIGITS[0]})
        assert (rescued["degraded"], rescued["served"]) == (True, "file:lighter.onnx")
        assert rescued["label"] == good["label"]
        await until(lambda: sum(window.fallbacks for window in windows(board)) >= 1)
        await until(lambda: counted(board, "fallback_model") >= 1)
        await until(lambda: bay.serving is not None and bay.serving.host.is_alive)
        assert "degraded" not in await board.infer("digits", {"input": DIGITS[0]})
        # A hot board serves the lighter one by itself.
        await board.reporter._apply(Change("smaller-model", "normal", 90.0))
        assert (await board.infer("digits", {"input": DIGITS[0]}))["served"] == "file:lighter.onnx"
        await board.reporter._apply(Change("normal", "smaller-model", 60.0))
        assert "served" not in await board.infer("digits", {"input": DIGITS[0]})

    run(tmp_path, scenario)


def test_the_last_answer_and_the_default_follow_the_chain(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        chain = [
            {"kind": "model", "model": "absent"}, {"kind": "last", "max_age_s": 0.5},
            {"kind": "default", "label": "unknown", "confidence": 0.1},
        ]  # fmt: skip
        bay = await pushed(board, tmp_path / "r", {"fallback": chain})
        await paused(bay)
        await until(lambda: bay.live is not None and bay.live.has_fallback)
        own = await board.infer("digits", {"input": DIGITS[3]})
        live, seat = bay.live, bay.serving
        assert live is not None
        assert seat is not None
        assert seat.host.pid is not None
        os.kill(seat.host.pid, signal.SIGKILL)
        await until(lambda: not seat.host.is_alive, 5)
        last = await board.infer("digits", {"input": DIGITS[4]})
        assert (last["served"], last["label"]) == ("last", own["label"])
        assert live._last is not None
        live._last = (live._last[0] - 1.0, live._last[1])
        from edgestudio.agent.run.work import Work

        default = await live.rescued(Work("item", {"input": DIGITS[4]}))
        assert default is not None
        assert (default["served"], default["label"], default["degraded"]) == ("default", "unknown", True)

    run(tmp_path, scenario)


def test_a_second_model_and_a_server_are_asked_when_unsure(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    status = [200]
    session = open_session(releases.MODEL)

    async def scenario(board: Supervisor) -> None:
        async with web_server({"/v2/models/big/infer": model_server(session, asked, status)}) as url:
            back = {"is_on": True, "confidence_below": 1.0, "model": "digits"}  # would ask for ever
            await pushed(board, tmp_path / "big", {"second_opinion": back}, name="big")
            remote = {"url": url, "model": "big", "failures_to_open": 2, "retry_after_s": 60}
            second = {"is_on": True, "confidence_below": 1.0, "model": "big"}
            bay = await pushed(board, tmp_path / "one", {"second_opinion": second})
            await paused(bay)
            await until(lambda: bay.live is not None and bay.live.wants_raw)
            answer = await board.infer("digits", {"input": DIGITS[0]})
            assert answer["served"] == "model:big"
            await until(lambda: counted(board, "second_asked") >= 1)
            assert answer["version"] == "1.0.0"
            assert "feeds" not in answer
            second = {"is_on": True, "confidence_below": 1.0, "remote": remote}
            bay = await pushed(
                board, tmp_path / "two", {"second_opinion": second}, version="2.0.0", counter=2
            )
            await until(lambda: bay.live is not None and bay.live._remote is not None)
            await paused(bay)
            answer = await board.infer("digits", {"input": DIGITS[0]})
            assert (answer["served"], answer["remote"]) == ("remote", True)
            assert asked[-1]["inputs"][0]["name"] == "image"
            assert "remote" in board.reporter._usable()
            await board.reporter._apply(Change("remote", "normal", 95.0))
            assert (await board.infer("digits", {"input": DIGITS[0]}))["served"] == "remote"
            await board.reporter._apply(Change("normal", "remote", 60.0))
            status[0] = 503
            before = len(asked)
            for _ in range(6):
                answer = await board.infer("digits", {"input": DIGITS[0]})
                assert answer["degraded"] is True
                assert answer["label"] is not None
            assert len(asked) - before <= 2
            await until(lambda: counted(board, "remote_used") >= 1 and counted(board, "degraded") >= 6)
            await until(lambda: counted(board, "remote_failed") >= 2)

    run(tmp_path, scenario, "remote: {is_allowed: true, hosts: [127.0.0.1]}\n")
    session.close()


def test_nothing_leaves_the_board_without_its_owners_word(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    session = open_session(releases.MODEL)

    async def scenario(board: Supervisor) -> None:
        async with web_server({"/v2/models/big/infer": model_server(session, asked, [])}) as url:
            second = {"is_on": True, "confidence_below": 1.0, "remote": {"url": url, "model": "big"}}
            bay = await pushed(board, tmp_path / "one", {"second_opinion": second})
            await until(lambda: bay.live is not None and bay.live._remote is not None)
            assert (await board.infer("digits", {"input": DIGITS[0]}))["degraded"] is True
        assert asked == []
        assert any("does not allow" in text for text in events(board, "remote.failed"))

    run(tmp_path, scenario)
    session.close()


def test_captures_are_bounded_and_replay_bit_for_bit(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        await paused(await pushed(board, tmp_path / "r", {}))
        ring = board.captures
        await board.infer("digits", {"input": DIGITS[0]})
        assert (await ring.view())["captures"] == [], "nobody asked for it"
        with pytest.raises(EdgeStudioError):
            ring.switch("absent", is_on=True, every=1, confidence_below=None, max_bytes=None)
        ring.switch("digits", is_on=True, every=1, confidence_below=None, max_bytes=None)

        async def kept(count: int) -> list[dict[str, Any]]:
            """The captures, once `count` have been written since they were switched on."""
            end = time.monotonic() + 5 * PATIENCE
            while (view := await ring.view())["models"]["digits"]["kept"] < count:
                assert time.monotonic() < end, view
                await asyncio.sleep(0.02)
            return list(view["captures"])

        for number, item in enumerate(DIGITS[:3]):
            await board.infer("digits", {"input": item})
            await kept(number + 1)
        await board.infer("digits", {"image": np.zeros((1, 1, 8, 8), np.float32)})
        rows = await kept(4)
        files = []
        for row in rows:
            file = tmp_path / f"{row['id']}.capture"
            file.write_bytes(await ring.read(row["id"]))
            files.append(str(file))
        report = replay_job({"captures": files, "model": str(releases.MODEL)}, tmp_path, Silent())
        assert report["equal"] is True, report
        assert report["captures"][0]["environment"]["differs"] == []
        assert report["captures"][0]["stages"][1]["equal"] is True
        assert report["captures"][3]["stages"][1]["equal"] is None
        room = int(rows[0]["size_bytes"] * 2.5)  # for two: no two are of quite the same size
        ring.switch("digits", is_on=True, every=2, confidence_below=None, max_bytes=room)
        for number, item in enumerate(DIGITS[:6]):
            await board.infer("digits", {"input": item})
            await kept(number // 2 + 1)
        view = await ring.view()
        assert view["models"]["digits"]["kept"] == 3
        assert view["size_bytes"] <= room
        assert [int(row["id"]) for row in view["captures"]] == [6, 7]
        with pytest.raises(EdgeStudioError, match="no capture"):
            await ring.read("1")
        ring.switch("digits", is_on=False, every=1, confidence_below=None, max_bytes=None)
        await board.infer("digits", {"input": DIGITS[0]})
        assert await ring.clear() == 2
        await until(lambda: counted(board, "captured") >= 4)

    run(tmp_path, scenario)


def test_a_blocked_line_lets_go_at_the_deadline() -> None:
    async def scenario() -> None:
        queue = JobQueue(1, "block")
        await queue.put("first")
        late: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await queue.put("second", deadline_s=0.05, answer=late)
        with pytest.raises(EdgeStudioError) as caught:
            await late
        assert caught.value.code == "deadline"
        assert (await queue.get()).work == "first"
        waiting = asyncio.get_running_loop().create_task(queue.put("third"))
        more = await queue.more(3, asyncio.get_running_loop().time() + 0.2)
        await waiting
        assert [job.work for job in more] == ["third"]

    asyncio.run(scenario())


def test_an_item_that_waited_too_long_goes_elsewhere(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    session = open_session(releases.MODEL)

    async def scenario(board: Supervisor) -> None:
        async with web_server({"/v2/models/big/infer": model_server(session, asked, [])}) as url:
            second = {
                "is_on": True,
                "waited_over_ms": 0.001,
                "remote": {"url": url, "model": "big", "timeout_ms": 20_000},
            }
            bay = await pushed(board, tmp_path / "r", {"second_opinion": second, "queue": {"size": 50}})
            await paused(bay)
            await until(lambda: bay.live is not None and bay.live._remote is not None)
            expected = [session.run(dict(asked_feeds(item)))["logits"].argmax() for item in DIGITS[:6]]
            answers = await asyncio.gather(*(board.infer("digits", {"input": item}) for item in DIGITS[:6]))
            assert [answer["index"] for answer in answers] == expected
            assert "remote" in {answer.get("served") for answer in answers}
            # More than may be asked at once are answered by the model itself, and marked.
            assert all(answer.get("served") == "remote" or answer.get("degraded") for answer in answers)

    run(tmp_path, scenario, "remote: {is_allowed: true}\n")
    assert asked
    session.close()


def asked_feeds(item: np.ndarray[Any, Any]) -> dict[str, Any]:
    runner = Runner(open_session(releases.MODEL), load_pipeline(releases.PIPELINE))
    try:
        return runner.prepare(item)
    finally:
        runner.session.close()


def test_a_trial_acts_on_nothing_and_asks_nobody(tmp_path: Path) -> None:
    async def scenario(board: Supervisor) -> None:
        bay = await pushed(
            board, tmp_path / "r", {"source": {"kind": "http", "port": 0}, "actions": [{"kind": "log"}]}
        )
        await until(lambda: bay.live is not None and bay.live.port)
        await until(lambda: sum(window.inferences for window in windows(board)) >= 10)
        assert events(board, "action.log") == []
        assert board.state()["models"]["digits"]["source_port"] == bay.live.port  # type: ignore[union-attr]

    run(tmp_path, scenario)
