"""The boards' views: a card alone, pairing, a push in all its ends, telemetry, boards in every state."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.ui.views.tour import Tour


def alone(tour: Tour) -> None:
    """A board that was just started, not paired."""
    tour.run("board.add_simulated")
    tour.hand.wait("the board", lambda: _row(tour), timeout=60)
    tour.hand.wait("its code", lambda: _code(tour), timeout=30)
    tour.tab("welcome")
    tour.take("62-board-unpaired")


def pairing(tour: Tour) -> None:
    """The dialog, a wrong code, the right one."""
    hand = tour.hand
    hand.look(lambda: tour.app.desk.selected.select_boards(_row(tour).id))
    tour.run("board.pair")
    time.sleep(0.3)
    tour.take("63-pairing")
    hand.click("pairing-code")
    hand.type("11-WRONG-WRONG-WRONG")
    hand.key("Return")
    time.sleep(2)
    tour.take("64-pairing-refused")
    hand.click("pairing-code")
    hand.key("ctrl+a")
    hand.type(_code(tour))
    hand.key("Return")
    hand.wait("it to be paired", lambda: _row(tour).is_paired and _row(tour).presence == "online", timeout=40)
    time.sleep(0.8)
    tour.tab("dashboard")
    tour.take("65-board-paired")


def pushing(tour: Tour) -> None:
    """The timeline of a push that runs and one that is done."""
    variant = next(row for row in tour.app.stores.models.rows() if row.recipe == "int8-static")
    tour.select(variant)
    tour.tab("graph")
    tour.run("board.push", model=variant.sha256, boards=[_row(tour).id])
    tour.hand.wait("the push", lambda: tour.app.stores.deployments.rows(), timeout=20)
    time.sleep(2.5)
    tour.take("66-push-running", settle_s=0.2)
    tour.hand.wait(
        "its end",
        lambda: all(row.state != "running" for row in tour.app.stores.deployments.rows()),
        timeout=120,
    )
    time.sleep(1.2)
    tour.take("67-push-done")


def reporting(tour: Tour) -> None:
    """Live telemetry, and all boards."""
    tour.tab("dashboard")
    time.sleep(8)
    tour.take("68-dashboard")
    tour.hand.look(lambda: tour.hand.find("dashboard-all").setChecked(True))
    tour.take("69-dashboard-all")
    tour.hand.look(lambda: tour.hand.find("dashboard-all").setChecked(False))


def dialogs(tour: Tour) -> None:
    """What can be asked about a board that runs something."""
    tour.hand.look(lambda: tour.app.desk.selected.select_boards(_row(tour).id))
    for name in ("push_options", "bench", "evaluate", "capture", "capture_clear", "provision"):
        tour.dialog(f"69-{name}", f"board.{name}")


def others(tour: Tour) -> None:
    """Rows in states that are hard to bring about: rolled back, failed, offline, busy, with long names."""
    from edgestudio.studio.bus import RowEvent

    hand, stores = tour.hand, tour.app.stores
    done = stores.deployments.rows()[0]
    own = _row(tour)
    steps = tuple(
        replace(step, state="failed" if step.name.lower() == "trial" else step.state) for step in done.steps
    )
    reason = "Latency p95 was 41.2 ms, above the limit of 25 ms for 5 windows in a row."
    rows: list[tuple[str, Any]] = [
        ("deployments", replace(
            done, id="rolled", state="rolled-back", steps=steps, reason=reason, title="digits fp16 to simulated-pi5",
            hint="Try the INT8 variant, or raise the limit in the pipeline file.", started=time.time())),
        ("deployments", replace(
            done, id="failed", state="failed", steps=steps[:2], started=time.time() - 90,
            title="ein-ausserordentlich-langer-modellname-für-ein-kleines-modell-v2 to werkhalle-7-gateway-nord-ost-03",
            reason="The board needs 812 MB of memory for this model and has 240 MB.",
            hint="Use a smaller variant, or remove another model from the board.")),
        ("boards", replace(
            own, id="off", name="dachboden-pi", presence="offline", is_simulated=False, is_local=False,
            last_seen=time.time() - 7200, screen=(), problem="", address="192.168.7.31")),
        ("boards", replace(
            own, id="lost", name="werkhalle-7-gateway-nord-ost-03-mit-einem-sehr-langen-namen", is_paired=False,
            presence="unknown", is_simulated=False, is_local=False, screen=(), active=(), address="10.0.0.8",
            hardware="Industrial x86 gateway with a remarkably long product designation, revision 12")),
        ("boards", replace(
            own, id="sick", name="لوحة-المصنع", is_simulated=False, is_local=False, screen=(),
            problem="The board is in safe mode: it serves nothing until someone resumes it.",
            hint="Push a model that works, or resume it at the board.", address="10.0.0.9")),
    ]  # fmt: skip
    for store, row in rows:
        hand.look(lambda store=store, row=row: stores.apply(RowEvent(store, "added", row)))
    hand.look(lambda: tour.app.window.docks.bring_forward("timeline"))
    tour.tab("dashboard")
    tour.take("69-push-rolled-back")
    hand.look(lambda: tour.app.desk.selected.select_boards("off"))
    tour.take("69-dashboard-offline")
    hand.look(lambda: hand.find("devices-switch").click())
    tour.take("69-boards-table")
    hand.look(lambda: hand.find("devices-switch").click())
    for store, row in rows:
        hand.look(lambda store=store, row=row: stores.apply(RowEvent(store, "removed", row)))


def _row(tour: Tour) -> Any:
    return next((row for row in tour.app.stores.boards.rows() if row.screen and row.is_simulated), None)


def _code(tour: Tour) -> str:
    row = _row(tour)
    found = re.findall(r"pairing code: (\S+)", "\n".join(row.screen)) if row is not None else []
    return found[-1] if found else ""
