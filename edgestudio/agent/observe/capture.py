"""Keeps inferences with all that led to them, where a person asked for it: a bounded ring on the board's disk."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestudio.agent.run.seat import Seat
from edgestudio.agent.store.fsops import FileOps, make_folder
from edgestudio.wire.capture import SUFFIX, Capture
from edgestudio.wire.errors import DeviceError, EdgeStudioError, InputError
from edgestudio.wire.release import ROLE_MODEL, ROLE_PIPELINE

MAX_RING_BYTES = 256 << 20
DEFAULT_RING_BYTES = 64 << 20
KEEP_FREE_BYTES = 64 << 20
"""A ring never takes the last of the disk: installs come first."""
MAX_FILES = 10_000
_RESULT = (
    "index", "label", "confidence", "margin", "top", "detections", "stages_ms", "finite", "accepted", "cached",
    "queue_ms",
)  # fmt: skip


@dataclass
class CaptureRule:
    """What is captured of one model; in memory only, so that a restart ends it."""

    every: int = 1
    confidence_below: float | None = None
    seen: int = 0
    kept: int = 0
    dropped: int = 0
    is_writing: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As a studio sees it."""
        return {
            "every": self.every, "confidence_below": self.confidence_below, "kept": self.kept,
            "dropped": self.dropped,
        }  # fmt: skip


class CaptureRing:
    """The board's captures. Writes happen in a thread, one at a time and in turn; each model has one under way.

    What goes first is the oldest of the model that holds the most, so that a busy model displaces none of a quiet one.
    """

    def __init__(self, ops: FileOps, folder: Path, report: Callable[..., object]) -> None:
        self.rules: dict[str, CaptureRule] = {}
        self.max_bytes = DEFAULT_RING_BYTES
        self.sensors: Callable[[], Mapping[str, Any]] = dict
        self.check_model: Callable[[str], object] = lambda _: None
        """Raises for a model that the board does not have."""
        self.origin: Callable[[], tuple[float, str, str, bool]] = lambda: (time.time(), "", "", False)
        """(time, boot, device, whether it is simulated)."""
        self._ops = ops
        self._folder = folder
        self._report = report
        self._sizes: dict[int, int] | None = None
        self._summaries: dict[int, dict[str, Any]] = {}
        self._pipelines: dict[str, str] = {}
        self._lock = asyncio.Lock()

    # ------------------------------------------------------------------ by people

    def switch(
        self, model: str, *, is_on: bool, every: int, confidence_below: float | None, max_bytes: int | None
    ) -> None:
        """Begin or end to capture `model`: every so many answers, and only those below a confidence."""
        if is_on:
            self.check_model(model)
        if max_bytes is not None:
            self.max_bytes = min(max_bytes, MAX_RING_BYTES)
        if is_on:
            self.rules[model] = CaptureRule(every, confidence_below)
        else:
            self.rules.pop(model, None)
        text = f"Inputs of {model} are {'kept on the board from now on' if is_on else 'kept no longer'}."
        self._report(
            "capture.on" if is_on else "capture.off", text, level="warning" if is_on else "info", model=model
        )

    async def view(self) -> dict[str, Any]:
        """Rules, limits and a line for each capture, oldest first."""
        async with self._lock:
            captures = await asyncio.to_thread(self._list)
        return {
            "models": {model: rule.to_dict() for model, rule in self.rules.items()},
            "max_bytes": self.max_bytes,
            "size_bytes": sum(item["size_bytes"] for item in captures),
            "captures": captures,
        }

    async def read(self, capture_id: str) -> bytes:
        """One capture's file; DeviceError `no-capture` when it is not there (any more)."""
        if not capture_id.isdecimal() or len(capture_id) > 12:
            raise InputError("A capture is named by its number.", code="bad-field")
        try:
            return await asyncio.to_thread(self._ops.read, self._path(int(capture_id)))
        except FileNotFoundError:
            raise DeviceError(
                f"The board has no capture {capture_id} any more.", hint="List them again.", code="no-capture"
            ) from None

    async def clear(self) -> int:
        """Remove all captures; how many there were."""
        async with self._lock:
            return await asyncio.to_thread(self._clear)

    # ------------------------------------------------------------------ by the board

    def wants(self, model: str) -> bool:
        """Whether answers of `model` must bring along what led to them."""
        return model in self.rules

    async def offer(self, model: str, seat: Seat, answer: Mapping[str, Any]) -> str:
        """Keep `answer` if the rule says so: "captured", "capture_dropped" or "" for not wanted."""
        rule = self.rules.get(model)
        if rule is None or "feeds" not in answer:
            return ""
        confidence = answer.get("confidence")
        if rule.confidence_below is not None and not (
            confidence is None or float(confidence) < rule.confidence_below
        ):
            return ""
        rule.seen += 1
        if (rule.seen - 1) % rule.every:
            return ""
        if rule.is_writing:  # the disk is slower than the model
            rule.dropped += 1
            return "capture_dropped"
        rule.is_writing = True
        try:
            async with self._lock:
                await asyncio.to_thread(self._keep, model, seat, answer)
        except (EdgeStudioError, OSError) as error:
            self.rules.pop(model, None)
            reason = error.message if isinstance(error, EdgeStudioError) else str(error.strerror or error)
            self._report("capture.stopped", f"Capturing stopped: {reason}", level="warning", model=model)
            return "capture_dropped"
        finally:
            rule.is_writing = False
        rule.kept += 1
        return "captured"

    def _keep(self, model: str, seat: Seat, answer: Mapping[str, Any]) -> None:
        sizes = self._index()
        number = max(sizes, default=0) + 1
        when, boot, device, simulated = self.origin()
        capture = Capture(
            id=str(number), time_s=when, boot=boot, device=device, model=model, release=seat.manifest.counter,
            version=seat.manifest.version, model_sha256=seat.manifest.files[ROLE_MODEL].sha256,
            pipeline=self._pipeline(seat), preprocessing=seat.loaded.preprocessing,
            raw_kind=str(answer.get("raw_kind", "")), rate_hz=int(answer.get("rate_hz") or 0),
            raw=answer.get("raw") or {}, feeds=answer["feeds"], outputs=answer.get("outputs") or {},
            result={key: answer[key] for key in _RESULT if key in answer}, sensors=self.sensors(),
            environment={**seat.loaded.environment, "threads": str(seat.host.spec.threads)}, simulated=simulated,
        )  # fmt: skip
        data = capture.to_bytes()
        self._make_room(model, len(data))
        if len(data) > self.max_bytes:
            raise DeviceError("an inference is larger than the ring that was allowed", code="too-large")
        if self._ops.free_bytes(self._folder) < KEEP_FREE_BYTES + len(data):
            raise DeviceError("the board's disk is nearly full", code="no-space")
        # Not synced: a capture that a power cut tears is recognised by its digest and dropped.
        part = self._folder / "part"
        self._ops.remove(part)
        self._ops.write_new(part, data)
        self._ops.replace(part, self._path(number))
        sizes[number] = len(data)
        self._summaries[number] = Capture.summary(data)

    def _make_room(self, model: str, coming: int) -> None:
        """Forget what is too much once `coming` bytes of `model` are there too."""
        sizes = self._index()
        queues: dict[str, deque[int]] = {}
        held = Counter({model: coming})
        for number in sorted(sizes):
            # Files from before a restart belong to nobody until somebody looks at them.
            owner = str(self._summaries.get(number, {}).get("model", ""))
            queues.setdefault(owner, deque()).append(number)
            held[owner] += sizes[number]
        while sizes and (held.total() > self.max_bytes or len(sizes) >= MAX_FILES):
            most = max((owner for owner in queues if queues[owner]), key=lambda owner: held[owner])
            number = queues[most].popleft()
            held[most] -= sizes[number]
            self._forget(number)

    def _pipeline(self, seat: Seat) -> str:
        if seat.release not in self._pipelines:
            file = seat.manifest.files.get(ROLE_PIPELINE)
            text = (seat.folder / file.name).read_text(encoding="utf-8") if file else ""
            self._pipelines = {seat.release: text}
        return self._pipelines[seat.release]

    # ------------------------------------------------------------------ files

    def _index(self) -> dict[int, int]:
        if self._sizes is None:
            make_folder(self._ops, self._folder)
            names = [
                name.removesuffix(SUFFIX)
                for name in self._ops.list_dir(self._folder)
                if name.endswith(SUFFIX)
            ]
            numbers = [int(name) for name in names if name.isdecimal()]
            self._sizes = {number: self._ops.size(self._path(number)) or 0 for number in sorted(numbers)}
        return self._sizes

    def _list(self) -> list[dict[str, Any]]:
        for number in list(self._index()):
            if number not in self._summaries:
                try:
                    self._summaries[number] = Capture.summary(self._ops.read(self._path(number)))
                except (EdgeStudioError, OSError):
                    self._forget(number)
        return [self._summaries[number] for number in sorted(self._index())]

    def _clear(self) -> int:
        numbers = list(self._index())
        for number in numbers:
            self._forget(number)
        return len(numbers)

    def _forget(self, number: int) -> None:
        self._ops.remove(self._path(number))
        self._index().pop(number, None)
        self._summaries.pop(number, None)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}{SUFFIX}"
