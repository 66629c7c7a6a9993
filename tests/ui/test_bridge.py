from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from edgestudio.studio.bus import EventBus, RowEvent
from edgestudio.studio.loop import LoopThread
from edgestudio.studio.stores import Stores
from edgestudio.ui.bridge import Bridge
from tests.ui.parts import model


@pytest.fixture
def parts(qapp) -> Iterator[tuple[LoopThread, EventBus, Stores, Bridge]]:
    loop, bus, stores = LoopThread(), EventBus(), Stores()
    bridge = Bridge(loop, bus, stores)
    yield loop, bus, stores, bridge
    bridge.close()
    assert loop.stop()


def test_no_wake_up_is_lost_between_threads(parts, qtbot) -> None:
    bridge, seen = parts[3], []

    def pour(start: int) -> None:
        for number in range(start, start + 2000):
            bridge.post(lambda number=number: seen.append(number))

    threads = [threading.Thread(target=pour, args=(at * 2000,)) for at in range(4)]
    for thread in threads:
        thread.start()
    qtbot.waitUntil(lambda: len(seen) == 8000, timeout=20_000)
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(8000))
    for at in range(4):
        mine = [number for number in seen if number // 2000 == at]
        assert mine == sorted(mine)


def test_events_reach_the_stores_on_the_ui_thread(parts, qtbot) -> None:
    _, bus, stores, bridge = parts
    where: list[threading.Thread] = []
    stores.models.added.connect(lambda row: where.append(threading.current_thread()))

    async def publish() -> None:
        bus.publish(RowEvent("models", "added", model()))

    bridge.call(publish())
    qtbot.waitUntil(lambda: bool(where))
    assert where == [threading.main_thread()]


def test_results_and_errors_come_back(parts, qtbot) -> None:
    bridge, heard = parts[3], []

    async def good() -> int:
        await asyncio.sleep(0.01)
        return 42

    async def bad() -> None:
        raise ValueError("no")

    bridge.call(good(), heard.append)
    bridge.call(bad(), None, lambda error: heard.append(str(error)))
    qtbot.waitUntil(lambda: len(heard) == 2)
    assert set(heard) == {42, "no"}


def test_one_failing_listener_does_not_stop_the_rest(parts, qtbot) -> None:
    bridge, seen = parts[3], []
    with qtbot.captureExceptions() as caught:
        bridge.post(lambda: 1 / 0)
        bridge.post(lambda: seen.append("after"))
        qtbot.waitUntil(lambda: bool(seen))
    assert [kind for kind, _, _ in caught] == [ZeroDivisionError]


def test_nothing_arrives_after_closing(parts, qtbot) -> None:
    bridge, seen = parts[3], []
    bridge.post(lambda: seen.append(1))
    bridge.close()
    bridge.post(lambda: seen.append(2))
    qtbot.wait(50)
    assert seen == []
