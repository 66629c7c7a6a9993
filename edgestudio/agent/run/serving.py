"""What a person or a program asks of the models that serve: an answer, a measurement, a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgestudio.agent.run.bench import bench
from edgestudio.agent.run.dispatch import no_model
from edgestudio.agent.run.models import BoardModels
from edgestudio.agent.run.queue import NORMAL
from edgestudio.agent.run.work import Work
from edgestudio.agent.store.board import BoardStore
from edgestudio.wire.errors import DeviceError

INFER_S = 30.0


class Serving:
    """Requests to the board's models; `event` records what a person changed."""

    def __init__(self, store: BoardStore, models: BoardModels, event: Callable[..., None]) -> None:
        self._store = store
        self._models = models
        self._event = event
        self._waking: asyncio.Task[None] | None = None

    async def infer(
        self,
        model: str,
        feeds: Mapping[str, np.ndarray[Any, Any]],
        *,
        deadline_ms: float | None = None,
        priority: int = NORMAL,
    ) -> dict[str, Any]:
        """One answer; `feeds` are as in `Supervisor.infer`."""
        bay = self._models.required(model)
        seat = bay.serving
        names = {item["name"] for item in seat.loaded.inputs} if seat else set()
        kind = "item" if set(feeds) == {"input"} and "input" not in names else "feeds"
        deadline_s = deadline_ms / 1e3 if deadline_ms else INFER_S
        answer = await bay.ask_work(Work(kind, feeds), deadline_s=deadline_s, priority=priority)
        return {key: value for key, value in answer.items() if key not in ("id", "mark")}

    async def bench(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Latency of the model that `options` name, in its own host."""
        bay = self._models.required(str(options.get("model", "")))
        seat = bay.serving
        if seat is None:
            raise no_model(bay.model)
        return await bench(seat, soak_minutes=float(options.get("soak_minutes") or 0.0))

    def pause(self, model: str, *, is_paused: bool) -> dict[str, Any]:
        """Stop or go on inferring on the release's own source; kept over restarts."""
        bay = self._models.required(model)
        bay.is_paused = is_paused
        self._store.state.models[bay.model].paused = is_paused
        self._store.save()
        self._event("model.paused" if is_paused else "model.resumed", model=bay.model)
        return {"model": bay.model, "paused": is_paused}

    def resume(self, model: str) -> dict[str, Any]:
        """Infer again on the release's own source; a person's word that also ends safe mode."""
        if not self._store.state.safe_mode:
            return self.pause(model, is_paused=False)
        state, before = self._store.state, (self._store.state.safe_mode, self._store.state.quick_starts)
        state.safe_mode, state.quick_starts = "", []
        try:
            self._store.save()
        except DeviceError:
            state.safe_mode, state.quick_starts = before
            raise
        self._waking = asyncio.get_running_loop().create_task(self._models.start())
        self._event("agent.resumed", text="A person ended safe mode.")
        return {"model": model, "paused": False}
