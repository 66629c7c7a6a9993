"""Sources beside a folder, payloads that come by themselves, input rules, and batches."""

from __future__ import annotations

import asyncio
import io
import re
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgestudio.runtime.backend import open_session
from edgestudio.runtime.board_policy import BoardPolicy, load_board_policy
from edgestudio.runtime.documents import parse_yaml, validated
from edgestudio.runtime.exchange.intake import HttpIntake, MqttIntake
from edgestudio.runtime.pipeline.batching import can_batch, process_batch
from edgestudio.runtime.pipeline.live import (
    AudioSource,
    Broker,
    CameraSource,
    HttpSource,
    MqttSource,
    TensorSource,
)
from edgestudio.runtime.pipeline.payload import decode_payload, kind_of_type
from edgestudio.runtime.pipeline.pipeline import Runner, load_pipeline, parse_pipeline
from edgestudio.runtime.pipeline.sources import FolderSource, RawLayout
from edgestudio.runtime.pipeline.streams import open_feed
from edgestudio.wire.errors import EdgeStudioError, InputError, RecipeError
from tests.digits import digits
from tests.patience import PATIENCE, until
from tests.runtime.brokers import BROKERS, PASSWORD, USERNAME, WHO, broker


def _wav(path: Path | io.BytesIO, samples: np.ndarray[Any, Any], rate_hz: int = 8000) -> None:
    with wave.open(str(path) if isinstance(path, Path) else path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())


def test_audio_windows_overlap_and_start_again(tmp_path: Path) -> None:
    _wav(tmp_path / "a.wav", np.arange(10))
    source = AudioSource(kind="audio", path="a.wav", window=4, hop=2)
    feed = open_feed(source, tmp_path)
    seen = [feed.next().item.samples.tolist() for _ in range(5)]
    assert seen == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9], [0, 1, 2, 3]]
    assert feed.rounds == 1


def test_a_source_that_does_not_loop_ends(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.arange(6).reshape(3, 2))
    feed = open_feed(TensorSource(kind="tensors", path="t.npz", loops=False), tmp_path)
    assert [feed.next().item.tolist() for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(InputError) as caught:
        feed.next()
    assert caught.value.code == "source-ended"


def test_tensors_are_fed_by_the_names_of_inputs(tmp_path: Path, sample: Path) -> None:
    session = open_session(sample / "digits.onnx")
    np.savez(tmp_path / "t.npz", image=np.ones((2, 1, 8, 8), np.float32), other=np.zeros(5))
    feed = open_feed(TensorSource(kind="tensors", path="t.npz"), tmp_path, inputs=session.inputs)
    assert feed.next().item.shape == (1, 8, 8)
    np.savez(tmp_path / "u.npz", a=np.zeros((2, 3)), b=np.zeros((3, 3)))
    with pytest.raises(RecipeError, match="differ"):
        open_feed(TensorSource(kind="tensors", path="u.npz", arrays=["a", "b"]), tmp_path)
    session.close()


def test_a_folder_feeds_as_before(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.save(tmp_path / "b.npy", np.ones(3))
    feed = open_feed(FolderSource(kind="folder", path="."), tmp_path)
    assert [feed.next().item[0] for _ in range(4)] == [0, 1, 0, 1]


def test_a_camera_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(RecipeError, match="not available: install opencv-python-headless"):
        open_feed(CameraSource(kind="camera"), tmp_path)


def test_a_camera_gives_frames_in_rgb(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 16))
    for _ in range(3):
        frame = np.zeros((16, 32, 3), np.uint8)
        frame[:, :, 0] = 200  # blue, as OpenCV orders colours
        writer.write(frame)
    writer.release()
    feed = open_feed(CameraSource(kind="camera", device="film.avi", loops=True), tmp_path)
    for _ in range(5):
        item = feed.next().item
        assert item.shape == (16, 32, 3)
        assert item[..., 2].mean() > 150
        assert item[..., 0].mean() < 50
    assert feed.rounds == 1
    with pytest.raises(RecipeError, match="cannot be opened"):
        open_feed(CameraSource(kind="camera", device="nothing.avi"), tmp_path)
    feed.close()


def test_payloads_of_every_kind() -> None:
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (4, 3), (10, 20, 30)).save(picture, "PNG")
    assert decode_payload(picture.getvalue(), "auto", None).shape == (3, 4, 3)
    sound = io.BytesIO()
    _wav(sound, np.arange(5), 16000)
    assert decode_payload(sound.getvalue(), "auto", None).rate_hz == 16000
    array = io.BytesIO()
    np.save(array, np.arange(6).reshape(2, 3))
    assert decode_payload(array.getvalue(), "auto", None).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert decode_payload(b"[[1, 2.5]]", "auto", None).tolist() == [[1, 2.5]]
    assert decode_payload(b'{"a": [1], "b": [2]}', "auto", None)["b"].tolist() == [2]
    raw = np.arange(4, dtype="<i2").tobytes()
    assert decode_payload(raw, "raw", RawLayout("int16", (2, 2))).tolist() == [[0, 1], [2, 3]]
    assert kind_of_type("image/jpeg; q=1") == "image"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "auto"), (b"\x89PNG", "auto"), (b"RIFF0000WAVE", "auto"), (b"\x93NUMPY\x01\x00", "auto"),
        (b"[[1],[2,3]]", "json"), (b'["x"]', "json"), (b"{}", "json"), (b"[" * 100_000, "json"), (b"abc", "raw"),
        (b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }" + b" " * 20, "npy"),
    ],
)  # fmt: skip
def test_bad_payloads_are_refused(data: bytes, kind: str) -> None:
    with pytest.raises(InputError):
        decode_payload(data, kind, RawLayout("float32", (2,)))


def test_input_rules_refuse_before_the_model(sample: Path) -> None:
    document = load_pipeline(sample / "digits.pipeline.yaml").model_dump(mode="json", exclude_none=True)
    document["validation"] = {"low": 0, "high": 16, "refuse_flat": True, "max_values": 64}
    session = open_session(sample / "digits.onnx")
    runner = Runner(session, parse_pipeline(document))
    good = np.zeros((8, 8), np.uint8)
    good[3] = 9
    assert runner.process(good).label is not None
    for bad in (np.zeros((8, 8)), np.full((8, 8), 17.0) + np.eye(8), np.eye(9), np.eye(8) * -1):
        with pytest.raises(InputError) as caught:
            runner.process(bad)
        assert caught.value.code == "invalid-input"
    document["validation"]["is_on"] = False
    Runner(session, parse_pipeline(document)).process(np.zeros((8, 8), np.uint8))
    session.close()


def test_a_batch_answers_each_item(sample: Path) -> None:
    session = open_session(sample / "digits.onnx")
    runner = Runner(session, load_pipeline(sample / "digits.pipeline.yaml"))
    assert can_batch(runner)
    rows = digits()[:7]
    alone = [runner.process(row) for row in rows]
    together = process_batch(runner, [(runner.prepare(row), 0.1) for row in rows])
    for one, other in zip(alone, together, strict=True):
        assert not isinstance(other, EdgeStudioError)
        assert one.label == other.label
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
        assert other.outputs["logits"].shape == one.outputs["logits"].shape
    session.close()


def test_a_batch_runs_only_what_the_cache_does_not_know(sample: Path) -> None:
    document = load_pipeline(sample / "digits.pipeline.yaml").model_dump(mode="json", exclude_none=True)
    session = open_session(sample / "digits.onnx")
    runner = Runner(session, parse_pipeline({**document, "cache": {"entries": 8}}))
    rows = digits()[:3]
    runner.process(rows[1])
    answers = process_batch(runner, [(runner.prepare(row), 0.0) for row in rows])
    assert [answer.is_cached for answer in answers] == [False, True, False]
    session.close()


def test_http_items_need_the_token_and_get_their_answer() -> None:
    import aiohttp

    taken: list[tuple[bytes, str, str]] = []

    async def take(data: bytes, kind: str, priority: str, deadline_s: float) -> dict[str, Any]:
        taken.append((data, kind, priority))
        if data == b"bad":
            raise InputError("no picture", code="bad-image")
        return {"label": "seven", "deadline_s": deadline_s}

    async def scenario() -> None:
        source = HttpSource(kind="http", port=0, priority="urgent", max_bytes=100, deadline_ms=500)
        intake = HttpIntake(source, "t0ken", BoardPolicy(), take)
        await intake.start()
        url = f"http://127.0.0.1:{intake.port}/infer"
        good = {"Authorization": "Bearer t0ken", "Content-Type": "image/png"}
        try:
            async with aiohttp.ClientSession() as session:
                for headers in ({}, {"Authorization": "Bearer wrong"}):
                    async with session.post(url, data=b"x", headers=headers) as answer:
                        assert answer.status == 401
                async with session.post(url, data=b"x" * 101, headers=good) as answer:
                    assert answer.status == 413
                async with session.post(url, data=b"bad", headers=good) as answer:
                    assert answer.status == 422
                    assert (await answer.json())["code"] == "bad-image"
                async with session.post(url, data=b"fine", headers=good) as answer:
                    assert await answer.json() == {"label": "seven", "deadline_s": 0.5}
        finally:
            await intake.stop()

    asyncio.run(scenario())
    assert taken == [(b"bad", "image", "urgent"), (b"fine", "image", "urgent")]


def test_http_listens_beyond_loopback_only_where_the_board_allows() -> None:
    source = HttpSource(kind="http", host="0.0.0.0", port=0)

    async def take(*_: Any) -> dict[str, Any]:
        return {}

    async def scenario() -> None:
        with pytest.raises(RecipeError, match="does not allow"):
            await HttpIntake(source, "t", BoardPolicy(), take).start()
        allowed = HttpIntake(source, "t", BoardPolicy(may_listen_on=["0.0.0.0"]), take)
        await allowed.start()
        await allowed.stop()

    asyncio.run(scenario())
    with pytest.raises(ValueError, match="1024"):
        HttpSource(kind="http", port=80)


@pytest.mark.parametrize("name", BROKERS)
def test_mqtt_items_arrive_and_the_source_survives_its_broker(tmp_path: Path, name: str) -> None:
    aiomqtt = pytest.importorskip("aiomqtt")
    got: list[bytes] = []
    events: list[str] = []

    async def offer(data: bytes, kind: str, priority: str) -> None:
        assert (kind, priority) == ("image", "background")
        got.append(data)

    async def scenario(port: int) -> None:
        policy = BoardPolicy(secrets={"broker": PASSWORD})
        where = Broker(port=port, username=USERNAME, password="broker")
        source = MqttSource(kind="mqtt", broker=where, topic="cam/+", payload="image", max_bytes=10)
        intake = MqttIntake(source, policy, offer, lambda name, text, **_: events.append(name))
        await intake.start()
        try:
            await asyncio.wait_for(intake.is_connected.wait(), 20 * PATIENCE)
            async with aiomqtt.Client("127.0.0.1", port, **WHO) as client:
                await client.publish("cam/1", b"one", qos=1)
                await client.publish("cam/2", b"x" * 11, qos=1)
                await client.publish("other", b"no", qos=1)
                await client.publish("cam/2", b"two", qos=1)
                await until(lambda: len(got) == 2)
            assert got == [b"one", b"two"]
            assert intake.refused == 1
        finally:
            await intake.stop()
        wrong = MqttIntake(
            source, BoardPolicy(secrets={"broker": "no"}), offer, lambda name, text, **_: events.append(text)
        )
        await wrong.start()
        await until(lambda: events)
        assert PASSWORD not in events[0]
        assert "check both" in events[0]
        await wrong.stop()

    with broker(name, tmp_path) as port:
        asyncio.run(scenario(port))


def test_the_board_policy_must_be_nobody_elses(tmp_path: Path) -> None:
    assert not load_board_policy(tmp_path).remote.is_allowed
    file = tmp_path / "board.yaml"
    file.write_text("secrets: {hook: abc}\ncommands: {beep: {argv: [/bin/true]}}\n")
    file.chmod(0o600)
    policy = load_board_policy(tmp_path)
    assert policy.secret("hook") == "abc"
    with pytest.raises(RecipeError, match="no secret"):
        policy.secret("other")
    for mode in (0o644, 0o666, 0o620):
        file.chmod(mode)
        with pytest.raises(RecipeError) as caught:
            load_board_policy(tmp_path)
        assert caught.value.code == "unsafe-file"
    file.write_text("commands: {beep: {argv: [true]}}\n")
    file.chmod(0o600)
    with pytest.raises(RecipeError):
        load_board_policy(tmp_path)


def test_the_documented_board_policy_is_valid() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```text\n(schema_version.*?)```", page, re.DOTALL)
    policy = validated(BoardPolicy, parse_yaml(example, "example"), "example")
    assert policy.commands["open-door"].timeout_s == 5
    assert not policy.remote.is_allowed
