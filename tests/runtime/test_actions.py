"""Actions with a real web server, a real broker and real programs; remote models with a real one behind them."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from pydantic import ValidationError

from edgestudio.runtime.backend import open_session
from edgestudio.runtime.board_policy import AllowedCommand, BoardPolicy, RemotePolicy
from edgestudio.runtime.exchange.delivery import Deliveries
from edgestudio.runtime.exchange.remote import Breaker, HourlyBudget, RemoteAsker, outputs_of, request_of
from edgestudio.runtime.pipeline.actions import (
    CommandAction,
    Condition,
    LogAction,
    MqttAction,
    Trigger,
    WebhookAction,
    public_url,
)
from edgestudio.runtime.pipeline.fallback import RemoteModel, SecondOpinion
from edgestudio.runtime.pipeline.live import Broker
from edgestudio.runtime.pipeline.pipeline import parse_pipeline
from edgestudio.wire.errors import DeviceError, InputError, RecipeError
from tests.patience import PATIENCE, until
from tests.runtime.brokers import BROKERS, PASSWORD, USERNAME, WHO, broker
from tests.runtime.servers import model_server, web_server

CAT = {"label": "cat", "index": 1, "confidence": 0.9, "is_accepted": True}


class Told:
    """The board's record."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __call__(self, name: str, text: str, **_: Any) -> None:
        self.events.append((name, text))


async def _delivered(
    actions: Sequence[Any], policy: BoardPolicy, told: Told, outcomes: Sequence[Any], count: int
) -> dict[str, int]:
    deliveries = Deliveries(actions, policy, told)
    deliveries.start()
    total: dict[str, int] = {}

    def settled() -> bool:
        for key, value in deliveries.take_counts().items():
            total[key] = total.get(key, 0) + value
        return sum(total.values()) >= count

    try:
        for outcome in outcomes:
            deliveries.offer(outcome)
        await until(settled)
    finally:
        await deliveries.stop()
    return total


def test_conditions() -> None:
    now = [0.0]
    cases = [
        (Condition(labels=["cat"]), CAT, True),
        (Condition(labels=["1"]), CAT, True),
        (Condition(labels=["dog"]), CAT, False),
        (Condition(confidence_above=0.95), CAT, False),
        (Condition(confidence_above=0.9), CAT, True),
        (Condition(confidence_below=0.9), CAT, False),
        (Condition(confidence_below=0.9), {**CAT, "confidence": None}, True),
        (Condition(confidence_above=0.1), {**CAT, "confidence": None}, False),
        (Condition(is_accepted=False), CAT, False),
    ]
    for condition, outcome, expected in cases:
        assert Trigger(condition, lambda: now[0]).holds(outcome) is expected, condition
    limited = Trigger(Condition(at_most_every_s=10), lambda: now[0])
    assert limited.holds(CAT)
    now[0] = 9.9
    assert not limited.holds(CAT)
    assert limited.suppressed == 1
    now[0] = 10.0
    assert limited.holds(CAT)
    changes = Trigger(Condition(on_change=True))
    dog = {**CAT, "label": "dog"}
    assert [changes.holds(outcome) for outcome in (CAT, CAT, dog, dog, CAT)] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_a_log_action_is_an_event() -> None:
    told = Told()
    action = LogAction(kind="log", text="saw {label} at {confidence} {0} {label.__class__}")
    counts = asyncio.run(_delivered([action], BoardPolicy(), told, [CAT], 1))
    assert told.events == [("action.log", "saw cat at 0.90 {0} {label.__class__}")]
    assert counts == {"action_sent": 1}


def test_a_webhook_posts_json_with_the_boards_secret() -> None:
    got: list[tuple[str, Any]] = []

    async def hook(request: web.Request) -> web.Response:
        got.append((request.headers["Authorization"], await request.json()))
        return web.Response(status=204)

    async def scenario() -> dict[str, int]:
        async with web_server({"/hook": hook}) as url:
            action = WebhookAction(
                kind="webhook", url=f"{url}/hook", secret="hook", when=Condition(labels=["cat"])
            )
            policy = BoardPolicy(secrets={"hook": "s3cret"})
            return await _delivered([action], policy, Told(), [CAT, {**CAT, "label": "dog"}], 1)

    assert asyncio.run(scenario()) == {"action_sent": 1}
    assert got == [("Bearer s3cret", CAT)]


def test_a_webhook_follows_no_redirect_and_times_out_and_tells_once_without_secrets() -> None:
    reached: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/inside")

    async def inside(request: web.Request) -> web.Response:
        reached.append("inside")
        return web.Response()

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    told = Told()

    async def scenario() -> None:
        async with web_server({"/hook": redirect, "/inside": inside, "/slow": slow}) as url:
            policy = BoardPolicy(secrets={"hook": "s3cret"})
            action = WebhookAction(kind="webhook", url=f"{url}/hook?key=t0ken", secret="hook")
            counts = await _delivered([action], policy, told, [CAT] * 5, 5)
            assert counts == {"action_failed": 5}
            late = WebhookAction(kind="webhook", url=f"{url}/slow", timeout_ms=60, queue=2)
            counts = await _delivered([late], policy, told, [CAT] * 6, 6)
            assert counts == {"action_failed": 2, "action_dropped": 4}

    asyncio.run(scenario())
    assert reached == []
    assert [name for name, _ in told.events] == ["action.failed", "action.failed"]
    assert "redirect" in told.events[0][1]
    assert not any("s3cret" in text or "t0ken" in text for _, text in told.events)


def test_addresses_with_credentials_are_refused() -> None:
    for url in ("ftp://a/b", "http://user:pw@host/x", "http:///x", "file:///etc/passwd"):
        with pytest.raises(ValidationError):
            WebhookAction(kind="webhook", url=url)
    assert public_url("https://h:8443/a?key=1#x") == "https://h:8443/a"


@pytest.mark.parametrize("name", BROKERS)
def test_mqtt_publishes_and_connects_again(tmp_path: Path, name: str) -> None:
    aiomqtt = pytest.importorskip("aiomqtt")
    policy = BoardPolicy(secrets={"broker": PASSWORD})

    def there(port: int) -> Broker:
        return Broker(port=port, username=USERNAME, password="broker")

    async def scenario(port: int) -> tuple[list[Any], dict[str, int]]:
        got: list[Any] = []
        ready = asyncio.Event()

        async def listen() -> None:
            async with aiomqtt.Client("127.0.0.1", port, **WHO) as client:
                await client.subscribe("answers/#")
                ready.set()
                async for message in client.messages:
                    got.extend([(str(message.topic), json.loads(message.payload))])

        listener = asyncio.get_running_loop().create_task(listen())
        await asyncio.wait_for(ready.wait(), 10 * PATIENCE)
        action = MqttAction(kind="mqtt", broker=there(port), topic="answers/a", qos=1)
        counts = await _delivered([action], policy, Told(), [CAT, CAT], 2)
        await until(lambda: len(got) == 2)
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        return got, counts

    with broker(name, tmp_path) as port:
        got, counts = asyncio.run(scenario(port))
    assert counts == {"action_sent": 2}
    assert got == [("answers/a", CAT)] * 2
    told = Told()
    action = MqttAction(kind="mqtt", broker=there(port), topic="answers/a", timeout_ms=500)
    assert asyncio.run(_delivered([action], policy, told, [CAT], 1)) == {"action_failed": 1}
    assert "broker" in told.events[0][1]


def test_commands_come_from_the_boards_list_alone(tmp_path: Path) -> None:
    script = tmp_path / "note"
    script.write_text(f'#!/bin/sh\ncat > "{tmp_path}/out"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    policy = BoardPolicy(
        commands={
            "note": AllowedCommand(argv=[str(script)]),
            "hang": AllowedCommand(argv=["/bin/sleep", "60"], timeout_s=0.2),
            "fail": AllowedCommand(argv=["/bin/false"]),
            "gone": AllowedCommand(argv=["/no/such/program"]),
        }
    )
    told = Told()
    names = ("note", "hang", "fail", "gone", "rm")
    actions = [CommandAction(kind="command", name=name) for name in names]
    outcome = {**CAT, "label": "$(touch /tmp/never); `id`"}
    counts = asyncio.run(_delivered(actions, policy, told, [outcome], len(names)))
    assert counts == {"action_sent": 1, "action_failed": 4}
    assert json.loads((tmp_path / "out").read_text()) == outcome
    texts = " ".join(text for _, text in told.events)
    for part in ("more than 0.2 s", "ended with 1", "cannot be started", "allows no command 'rm'"):
        assert part in texts
    with pytest.raises(RecipeError):
        parse_pipeline({"actions": [{"kind": "command", "name": "x", "argv": ["/bin/sh"]}]})


def test_a_remote_model_answers_bit_for_bit(sample: Path) -> None:
    session = open_session(sample / "digits.onnx")
    asked: list[dict[str, Any]] = []
    feeds = {"image": np.random.default_rng(1).random((1, 1, 8, 8), dtype=np.float32)}

    async def scenario() -> dict[str, Any]:
        async with web_server({"/v2/models/big/infer": model_server(session, asked, [])}) as url:
            policy = BoardPolicy(remote=RemotePolicy(is_allowed=True, hosts=["127.0.0.1"]))
            asker = RemoteAsker(RemoteModel(url=url, model="big"), policy)
            try:
                return await asker.ask(feeds)
            finally:
                await asker.close()

    outputs = asyncio.run(scenario())
    assert (outputs["logits"] == session.run(feeds)["logits"]).all()
    assert asked[0]["inputs"][0]["datatype"] == "FP32"
    session.close()


def test_nothing_leaves_the_board_unless_its_owner_allows() -> None:
    asked: list[Any] = []

    async def spy(request: web.Request) -> web.Response:
        asked.append(1)
        return web.Response()

    async def scenario() -> None:
        async with web_server({"/v2/models/big/infer": spy}) as url:
            for policy in (BoardPolicy(), BoardPolicy(remote=RemotePolicy(is_allowed=True, hosts=["else"]))):
                asker = RemoteAsker(RemoteModel(url=url, model="big"), policy)
                with pytest.raises(RecipeError, match="does not allow"):
                    await asker.ask({"x": np.zeros(1, np.float32)})

    asyncio.run(scenario())
    assert asked == []
    assert SecondOpinion().is_on is False


def test_the_breaker_leaves_a_failing_server_alone(sample: Path) -> None:
    session = open_session(sample / "digits.onnx")
    asked: list[Any] = []
    status, now = [500], [0.0]
    feeds = {"image": np.zeros((1, 1, 8, 8), np.float32)}

    async def scenario() -> None:
        async with web_server({"/v2/models/big/infer": model_server(session, asked, status)}) as url:
            document = RemoteModel(url=url, model="big", failures_to_open=2, retry_after_s=30, max_per_hour=6)
            asker = RemoteAsker(document, BoardPolicy(remote=RemotePolicy(is_allowed=True)), lambda: now[0])

            async def code() -> str:
                try:
                    await asker.ask(feeds)
                except DeviceError as error:
                    return error.code
                return "ok"

            assert [await code() for _ in range(4)] == ["remote-failed"] * 2 + ["breaker-open"] * 2
            now[0] = 30
            assert [await code(), await code()] == ["remote-failed", "breaker-open"]
            assert len(asked) == 3
            now[0], status[0] = 60, 200
            assert [await code() for _ in range(4)] == ["ok"] * 3 + ["over-budget"]
            assert asker.breaker.state == "closed"
            now[0] = 3601
            assert await code() == "ok"
            await asker.close()

    asyncio.run(scenario())
    session.close()


def test_breaker_and_budget_by_themselves() -> None:
    now = [0.0]
    breaker = Breaker(1, 10, lambda: now[0])
    assert breaker.enter()
    breaker.failed()
    assert (breaker.state, breaker.enter()) == ("open", False)
    now[0] = 10
    assert breaker.enter()
    assert not breaker.enter(), "one try at a time"
    breaker.left()
    assert breaker.enter()
    breaker.succeeded()
    assert breaker.state == "closed"
    budget = HourlyBudget(1, lambda: now[0])
    assert budget.spend()
    assert not budget.spend()
    now[0] += 3600
    assert budget.spend()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b'{"outputs": []}',
        b'{"outputs": [{"name": "a", "datatype": "FP32", "shape": [2], "data": [1]}]}',
        b'{"outputs": [{"name": "a", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}',
        b'{"outputs": [{"name": "a", "datatype": "FP32", "shape": [-1], "data": [1]}]}',
        b'{"outputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [{"x": 1}]}]}',
        b'{"outputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [NaN]}]}',
    ],
)  # fmt: skip
def test_a_lying_server_is_refused(body: bytes) -> None:
    with pytest.raises(InputError):
        outputs_of(body)


def test_requests_and_answers_are_each_others_mirror() -> None:
    rng = np.random.default_rng(3)
    for dtype in ("bool", "uint8", "int64", "float16", "float32", "float64"):
        array = (rng.random((2, 3)) * 5).astype(dtype)
        back = outputs_of(json.dumps({"outputs": request_of({"a": array})["inputs"]}).encode())["a"]
        assert back.dtype == array.dtype
        assert (back == array).all()
    with pytest.raises(InputError):
        request_of({"a": np.array([np.nan], np.float32)})
