"""The link to a model host: answers are looked for without sleeping; no host can stall or cheat its agent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgestudio.agent.run import channel, link
from edgestudio.agent.run.channel import Streak, frame, look, may_look
from edgestudio.agent.run.host import HostDiedError, HostSpec, ModelHost
from edgestudio.agent.run.link import HostLink
from edgestudio.assets import resource
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not may_look(), reason="one processor: nobody looks there")


class Peer:
    """The other end, driven by the test in a thread of its own."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.heard: list[list[dict[str, Any]] | None] = []
        self.answer: asyncio.Future[dict[str, Any]]
        self.looks = 0

    async def open(self) -> HostLink:
        self.answer = asyncio.get_running_loop().create_future()

        def deliver(messages: list[dict[str, Any]] | None) -> None:
            self.heard.append(messages)
            if messages and not self.answer.done():
                self.answer.set_result(messages[0])

        made = HostLink(self.ours, deliver)
        await made.open()
        return made

    async def ask(self, made: HostLink, reply: bytes, after_s: float = 0.0) -> dict[str, Any]:
        self.answer = asyncio.get_running_loop().create_future()
        later = threading.Timer(after_s, self.theirs.sendall, [reply])
        if after_s:
            later.start()
        else:
            self.theirs.sendall(reply)
        try:
            return await asyncio.wait_for(made.result(self.answer), 10 * PATIENCE)
        finally:
            if after_s:
                later.join()


def test_a_link_looks_once_answers_are_quick_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        peer, looks = Peer(), 0

        def counted(*arguments: Any) -> bytes | None:
            nonlocal looks
            looks += 1
            return look(*arguments)

        monkeypatch.setattr(link, "look", counted)
        monkeypatch.setattr(link, "LOOK_S", 5.0)
        made = await peer.open()
        for number in range(4):
            assert await peer.ask(made, frame({"id": number})) == {"id": number}
        assert looks == 0
        for number in range(3):
            assert await peer.ask(made, frame({"id": number}), 0.01) == {"id": number}
        assert looks == 3
        # In two parts, and with the answer to nothing behind it.
        assert await peer.ask(made, frame({"id": 9, "long": "x" * 70_000}) + frame({"id": 10})) == {
            "id": 9, "long": "x" * 70_000,
        }  # fmt: skip
        made.close()
        peer.theirs.close()
        await asyncio.sleep(0)

    asyncio.run(scenario())


def test_what_is_late_comes_by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        peer = Peer()
        made = await peer.open()
        monkeypatch.setattr(made, "_streak", Streak(60.0, is_owed=True))
        for number in range(5):
            await peer.ask(made, frame({"id": number}))
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.ensure_future(tick())
        assert await peer.ask(made, frame({"id": 7}), 0.3) == {"id": 7}
        assert ticks > 5, "others run while an answer takes its time"
        ticking.cancel()
        made.close()
        peer.theirs.close()
        await asyncio.gather(ticking, return_exceptions=True)

    asyncio.run(scenario())


def test_who_asks_without_end_lets_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        peer = Peer()
        made = await peer.open()
        monkeypatch.setattr(made, "_streak", Streak(60.0, is_owed=True))
        told = False

        async def other() -> None:
            nonlocal told
            told = True

        for number in range(6):
            await peer.ask(made, frame({"id": number}))
        waiting, begun = asyncio.ensure_future(other()), time.monotonic()
        while not told:
            peer.answer = asyncio.get_running_loop().create_future()
            peer.theirs.sendall(frame({"id": 1}))
            await made.result(peer.answer)
            assert time.monotonic() - begun < 10 * PATIENCE
        await waiting
        made.close()
        peer.theirs.close()
        await asyncio.sleep(0)

    asyncio.run(scenario())


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", b"\0\0\0\x02no", b"\0\0\0\x02[]"])
def test_nonsense_is_told_while_looking(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        peer = Peer()
        made = await peer.open()
        monkeypatch.setattr(made, "_streak", Streak(60.0, is_owed=True))
        for number in range(5):
            await peer.ask(made, frame({"id": number}))
        peer.answer = asyncio.get_running_loop().create_future()
        peer.theirs.sendall(said)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(made.result(peer.answer), 0.2)
        assert peer.heard[-1] is None
        made.close()
        peer.theirs.close()
        await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_look_ends_with_the_other_side_and_in_its_time() -> None:
    ours, theirs = socket.socketpair()
    assert look(ours, 10, time.perf_counter() + 0.01) is None
    theirs.sendall(b"abc")
    assert look(ours, 10, time.perf_counter() + 5) == b"abc"
    theirs.close()
    assert look(ours, 10, time.perf_counter() + 5) == b""
    ours.close()


def test_looking_in_vain_makes_it_rarer() -> None:
    owed, free = Streak(1.0, is_owed=True), Streak(1.0, is_owed=False)
    for streak in (owed, free):
        for _ in range(4):
            assert not streak.is_on
            streak.note(0.5)
        assert streak.is_on
        streak.note(2.0)
        assert not streak.is_on
        for _ in range(4):
            streak.note(0.5)
    assert free.is_on
    assert not owed.is_on
    for _ in range(4):
        owed.note(0.5)
    assert owed.is_on


def test_one_processor_has_nobody_to_look_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel.os, "sched_getaffinity", lambda _: {0})
    assert not may_look()
    monkeypatch.setattr(channel.os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert may_look(2)
    assert not may_look(3)


def with_digits(scenario: Callable[[ModelHost, list[HostDiedError]], Any]) -> list[HostDiedError]:
    async def run() -> list[HostDiedError]:
        deaths: list[HostDiedError] = []
        host = ModelHost(
            HostSpec(model=resource("sample", "digits.onnx")), lambda _, death: deaths.append(death)
        )
        try:
            await host.start()
            await host.load()
            await scenario(host, deaths)
        finally:
            await host.close()
        return deaths

    return asyncio.run(run())


def feeds_of(host: ModelHost) -> dict[str, Any]:
    return {host.loaded.inputs[0]["name"]: np.zeros((1, 1, 8, 8), np.float32)}


def test_a_host_that_is_killed_while_it_is_looked_at_dies_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        feeds = feeds_of(host)
        for _ in range(6):
            await host.run(feeds)
        assert host._link is not None
        host._link._streak = Streak(60.0, is_owed=True)
        for _ in range(4):
            host._link._streak.note(0.0)
        assert host.pid is not None
        os.kill(host.pid, signal.SIGSTOP)
        killing = threading.Timer(0.1, os.kill, [host.pid, signal.SIGKILL])
        killing.start()
        with pytest.raises(HostDiedError):
            await host.run(feeds)
        killing.join()
        assert len(deaths) == 1

    monkeypatch.setattr(link, "LOOK_S", 5.0)
    with_digits(scenario)


@pytest.mark.parametrize(
    "lie",
    [
        {"tensors": [{"name": "y", "dtype": "<f4", "shape": [1 << 40], "at": 0}]},
        {"tensors": [{"name": "y", "dtype": "<f4", "shape": [-1], "at": 0}]},
        {"tensors": [{"name": "y", "dtype": "O", "shape": [1], "at": 0}]},
        {"tensors": [{"name": "y", "dtype": "<f4", "shape": [2], "at": -8}]},
        {"tensors": [{"name": "y"}]},
        {"tensors": 5},
        {"error": "no object"},
        {"id": 0},
    ],
)
def test_a_host_that_lies_is_killed(lie: dict[str, Any]) -> None:
    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        assert host._link is not None
        host._link.send = lambda _: host._received([{"id": host._request_id, **lie}])  # type: ignore[method-assign]
        with pytest.raises(HostDiedError):
            await host.run(feeds_of(host))
        assert len(deaths) == 1

    with_digits(scenario)


def test_shared_memory_goes_with_the_host() -> None:
    handles: list[int] = []

    async def scenario(host: ModelHost, deaths: list[HostDiedError]) -> None:
        assert host._arenas is not None
        handles.extend(arena.handle for arena in host._arenas)
        answer = await host.run(feeds_of(host))
        for handle in handles:  # a host that has been taken over cannot cut it short under its agent
            with pytest.raises(PermissionError):
                os.ftruncate(handle, 0)
        assert np.isfinite(next(iter(answer["outputs"].values()))).all()

    with_digits(scenario)
    mapped = Path("/proc/self/maps").read_text()
    assert "edgestudio-tensors" not in mapped
    for handle in handles:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)
