"""The board's heartbeat: once a second it reads the sensors, closes the telemetry windows and minds the heat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from edgestudio.agent.notify import tell_systemd
from edgestudio.agent.observe.creep import CreepWatch
from edgestudio.agent.observe.recorder import Recorder
from edgestudio.agent.observe.sensors.bank import SensorBank
from edgestudio.agent.observe.sensors.reading import Reading
from edgestudio.agent.observe.throttle import Change, Rung, ThrottleLadder
from edgestudio.agent.run.bay import ModelBay
from edgestudio.agent.run.models import BoardModels
from edgestudio.agent.run.seat import Seat
from edgestudio.agent.simulate import SimulatedBank
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.histogram import LatencyHistogram

PERIOD_S = 1.0


class Reporter:
    """Drives everything that happens by the clock. `ladder` is None while a person has switched it off."""

    def __init__(
        self,
        recorder: Recorder,
        bank: SensorBank,
        models: BoardModels,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.readings: dict[str, Reading] = {}
        self.ladder = ThrottleLadder()
        self._recorder = recorder
        self._bank = bank
        self._models = models
        self._clock = clock
        self._doubted: dict[str, str] = {}
        self._watched: dict[str, tuple[str, CreepWatch]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first readings are there when this returns."""
        self.readings = self._bank.read()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="reporter")

    async def stop(self) -> None:
        """End, after closing the last windows."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._close_windows()

    def temperature_c(self) -> float | None:
        """The processor's temperature, None when nobody knows it."""
        reading = self.readings.get("cpu_temperature")
        return reading.value if reading else None

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + PERIOD_S, time.monotonic())
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self.beat()

    async def beat(self) -> None:
        """One second's work."""
        self.readings = self._bank.read()
        self._report_doubts()
        if isinstance(self._bank, SimulatedBank):
            for bay in self._models.bays.values():
                bay.slowdown = self._bank.thermal.slowdown
        change = self.ladder.decide(self._clock(), self.temperature_c(), self._usable())
        if change is not None:
            await self._apply(change)
        self._close_windows()
        tell_systemd("WATCHDOG=1")

    def _close_windows(self) -> None:
        sensors = {name: reading.to_record() for name, reading in self.readings.items()}
        for model, bay in self._models.bays.items():
            seat = bay.serving
            fields = bay.window.take()
            dropped, expired, peak = bay.queue.take_counts()
            if seat is None and not fields["inferences"] and not fields["errors"]:
                continue
            fields.update(dropped=dropped + expired, queue_max=peak)
            counts = fields["counts"] = {**fields["counts"], **(bay.live.take_counts() if bay.live else {})}
            if expired:
                counts["expired"] = expired
            if seat is not None:
                self._watch_creep(model, seat, fields["latency"])
                counts.update(_fallen(seat))
            self._recorder.window(
                fields,
                sensors,
                model=model,
                release=seat.manifest.counter if seat else 0,
                version=seat.manifest.version if seat else "",
                slot=seat.release if seat else "",
            )

    def _watch_creep(self, model: str, seat: Seat, latency: Mapping[str, Mapping[str, Any]]) -> None:
        if model not in self._watched or self._watched[model][0] != seat.release:
            self._watched[model] = (seat.release, CreepWatch())
        total = latency.get("tot")
        p95_ms = LatencyHistogram.from_dict(total).percentile(95) if total else None
        why = self._watched[model][1].note(seat.host.rss_bytes(), p95_ms)
        if why:
            release = seat.manifest.counter
            text = f"{model} is not what it was when it was installed: {why}."
            self._recorder.event("model.creep", text, level="warning", model=model, release=release)
            if seat.manifest.limits.on_creep == "rollback" and self._models.has_previous(model):
                self._models.unfit(model, seat.release, why)

    def _report_doubts(self) -> None:
        """A sensor that stops being believed is told once, not every second."""
        for name, reading in self.readings.items():
            doubt = reading.reason if reading.quality == "stale" else ""
            if doubt and not self._doubted.get(name):
                self._recorder.event(
                    "sensor.stale", f"{name} is not believed: {doubt}.", level="warning", sensor=name
                )
            self._doubted[name] = doubt

    # ------------------------------------------------------------------ heat

    def _usable(self) -> list[Rung]:
        rungs: list[Rung] = ["fewer-frames", "paused"]
        seats = [bay.serving for bay in self._models.bays.values() if bay.serving is not None]
        if seats and self._models.threads > 1:  # also while it is hotter: the way down has the same steps
            rungs.append("fewer-threads")
        if any(bay.live is not None and bay.live.has_lighter for bay in self._models.bays.values()):
            rungs.append("smaller-model")
        if any(bay.live is not None and bay.live.may_ask_remote for bay in self._models.bays.values()):
            rungs.append("remote")
        return rungs

    async def _apply(self, change: Change) -> None:
        self._recorder.event(
            "throttle", change.text, level="warning" if change.rung != "normal" else "info",
            rung=change.rung, before=change.before, temperature_c=round(change.temperature_c, 1),
        )  # fmt: skip
        for model, bay in self._models.bays.items():
            bay.rate_factor = 1.0 if change.rung == "normal" else 0.5
            bay.is_halted = change.rung == "paused"
            bay.prefers_lighter = change.rung in ("smaller-model", "remote", "paused")
            bay.prefers_remote = change.rung == "remote"
            threads = self._models.threads if change.rung in ("normal", "fewer-frames") else 1
            await self._reload(model, bay, threads)

    async def _reload(self, model: str, bay: ModelBay, threads: int) -> None:
        """Serve with another number of threads: load beside, switch, drain."""
        seat = bay.serving
        if seat is None or bay.observers or seat.host.spec.threads == threads:
            return
        try:
            fresh = await self._models.open(model, seat.release, threads)
        except EdgeStudioError as error:
            self._recorder.event("throttle.failed", error.sentence, level="warning", model=model)
            return
        if bay.serving is seat:
            bay.serve(fresh)
            await seat.close()
        else:
            await fresh.close()


def _fallen(seat: Seat) -> dict[str, int]:
    """How many nodes the processor does in place of the accelerator that was asked for; empty when none."""
    placement = seat.loaded.placement
    if not placement.get("alarm"):
        return {}
    units = placement.get("counts") or {}
    fallen = sum(int(count) for unit, count in units.items() if str(unit).startswith(("CPU", "XNNPACK")))
    return {"cpu_fallback_nodes": fallen} if fallen else {}
