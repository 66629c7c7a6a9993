"""Events flow from ledgers over the bus into stores, once each and with the whole row."""

from __future__ import annotations

import logging

from edgestudio.studio.bus import EventBus, Ledger, RowEvent
from edgestudio.studio.notices import NoticeService
from edgestudio.studio.rows import JobRow, ModelRow, NoticeRow
from edgestudio.studio.stores import Store, Stores
from edgestudio.wire.errors import DeviceError


def model(sha256: str, name: str = "m") -> ModelRow:
    return ModelRow(sha256, name, "/m", "onnx", 1, 0.0)


def test_ledger_says_each_change_once():
    bus, seen = EventBus(), []
    bus.subscribe(lambda event: seen.append((event.action, event.row)))
    ledger: Ledger[ModelRow] = Ledger(bus, "models")
    ledger.put(model("a"))
    ledger.put(model("a"))
    ledger.change("a", name="n")
    ledger.change("absent", name="n")
    ledger.remove("a")
    ledger.remove("a")
    assert seen == [("added", model("a")), ("changed", model("a", "n")), ("removed", model("a", "n"))]
    assert len(ledger) == 0


def test_a_listener_that_fails_does_not_stop_the_others(caplog):
    bus, seen = EventBus(), []

    def broken(event):
        raise ValueError("broken panel")

    bus.subscribe(broken)
    unsubscribe = bus.subscribe(seen.append)
    event = RowEvent("models", "added", model("a"))
    with caplog.at_level(logging.CRITICAL):
        bus.publish(event)
    assert seen == [event]
    unsubscribe()
    unsubscribe()
    bus.publish(event)
    assert seen == [event]


def test_store_settles_on_the_right_state_and_signals():
    store: Store[ModelRow] = Store()
    said = []
    store.added.connect(lambda row: said.append(("added", row.name)))
    store.changed.connect(lambda row: said.append(("changed", row.name)))
    store.removed.connect(lambda row: said.append(("removed", row.name)))
    store.apply(RowEvent("models", "changed", model("a", "late")))
    store.apply(RowEvent("models", "added", model("a", "again")))
    store.apply(RowEvent("models", "removed", model("b")))
    assert store.get("a") == model("a", "again")
    assert store.get(None) is None
    store.apply(RowEvent("models", "removed", model("a", "again")))
    assert said == [("added", "late"), ("changed", "again"), ("removed", "again")]
    assert len(store) == 0


def test_stores_route_by_name():
    stores = Stores()
    job = JobRow("j", "inspect", "Inspect", "queued")
    stores.apply(RowEvent("jobs", "added", job))
    assert stores.jobs.rows() == [job]
    assert stores.models.rows() == []


def test_notices_turn_errors_into_sentences_and_bugs_into_reports(caplog):
    bus, stores = EventBus(), Stores()
    bus.subscribe(stores.apply)
    notices = NoticeService(bus)
    notices.report(DeviceError("The board is gone.", hint="Look for it."))
    with caplog.at_level(logging.CRITICAL):
        notices.report(KeyError("x"))
    known, bug = stores.notices.rows()
    assert (known.level, known.message, known.hint) == ("error", "The board is gone.", "Look for it.")
    assert bug.message == "This is a bug: KeyError: 'x'"
    assert isinstance(bug, NoticeRow)
    for i in range(250):
        notices.add("info", str(i))
    assert len(stores.notices) == 200
    notices.dismiss(stores.notices.rows()[0].id)
    assert len(stores.notices) == 199
    notices.clear()
    assert len(stores.notices) == 0
