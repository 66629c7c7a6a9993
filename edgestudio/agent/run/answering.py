"""The model host's work itself: items, tensors, payloads and batches through the release's pipeline."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MAX_SAMPLES = 256
Arrays = Mapping[str, Any]


class Answering:
    """One loaded model with its pipeline and its own source. Lives in the child process only."""

    def __init__(self, session: Any, pipeline_path: Path | None) -> None:
        from edgestudio.runtime.pipeline.batching import can_batch
        from edgestudio.runtime.pipeline.pipeline import Runner, load_pipeline

        self.runner = Runner(session, load_pipeline(pipeline_path) if pipeline_path else None)
        self.pipeline = self.runner.pipeline
        self.raw_layout = self.pipeline.raw_layout(session.inputs)
        self.can_batch = can_batch(self.runner)
        self.samples: list[Any] = []
        self.feed: Any = None
        self.source_problem = ""

    def open_source(self, folder: Path, given: Path | None) -> None:
        """Open the release's own source. One that cannot be had is told, and the model still serves requests."""
        from edgestudio.runtime.pipeline.live import is_pushed
        from edgestudio.runtime.pipeline.sources import FolderSource, open_source
        from edgestudio.runtime.pipeline.streams import open_feed, problem_of
        from edgestudio.wire.errors import EdgeStudioError

        source: Any = self.pipeline.source
        where = folder / source.path if isinstance(source, FolderSource) else given
        if source is not None and not isinstance(source, FolderSource) and not is_pushed(source):
            try:
                self.feed = open_feed(
                    source, folder, inputs=self.runner.session.inputs, labels=self.pipeline.labels,
                    raw=self.raw_layout,
                )  # fmt: skip
                return
            except EdgeStudioError as error:
                self.source_problem = problem_of(error)
        if where is None:
            return
        items = open_source(
            where, labels=self.pipeline.labels, raw=self.raw_layout, limit=MAX_SAMPLES,
            inputs=self.pipeline.fed(self.runner.session.inputs),
        )  # fmt: skip
        self.samples.extend(item.item for item in items)

    def facts(self) -> dict[str, Any]:
        """What the agent is told about the pipeline when it is loaded."""
        from edgestudio.runtime.environment import versions
        from edgestudio.runtime.pipeline.live import is_pushed
        from edgestudio.runtime.pipeline.preprocess import PREPROCESS_VERSION

        return {
            "samples": len(self.samples),
            "is_stream": self.feed is not None,
            "is_pushed": is_pushed(self.pipeline.source),
            "is_live": self.pipeline.is_live,
            "source_problem": self.source_problem,
            "rate_hz": getattr(self.pipeline.source, "rate_hz", None),
            "queue": self.pipeline.queue.model_dump(),
            "batch": self.pipeline.batch.model_dump() if self.can_batch else {"max_items": 1},
            "preprocessing": PREPROCESS_VERSION,
            "environment": versions(self.runner.session.backend),
        }

    def item_of(self, kind: str, entry: Mapping[str, Any], arrays: Arrays) -> Any:
        """The raw item of a request: kind "sample", "payload" or "item"."""
        from edgestudio.runtime.pipeline.payload import decode_payload
        from edgestudio.runtime.pipeline.sound import Sound
        from edgestudio.wire.errors import InputError

        meta = entry.get("meta") or {}
        if kind == "sample":
            if self.feed is not None:
                return self.feed.next().item
            if not self.samples:
                raise InputError("The release came without samples to infer on.", code="no-source")
            return self.samples[int(entry["index"]) % len(self.samples)]
        if kind == "payload":
            return decode_payload(
                arrays["input"].tobytes(), str(meta.get("payload", "auto")), self.raw_layout
            )
        if meta.get("is_mapping"):
            return dict(arrays)
        item = arrays["input"]
        return Sound(item, int(meta["rate_hz"])) if meta.get("rate_hz") else item

    def answer(self, kind: str, entry: Mapping[str, Any], arrays: Arrays) -> Answer:
        """One request alone; EdgeStudioError says why there is no answer."""
        if kind == "outputs":
            return Answer(self.runner.interpret(arrays), {}, None)
        if kind == "feeds":
            return Answer(self.runner.process_feeds(arrays), arrays, None)
        item = self.item_of(kind, entry, arrays)
        started = time.perf_counter()
        feeds = self.runner.prepare(item)
        pre_ms = (time.perf_counter() - started) * 1e3
        return Answer(self.runner.process_feeds(feeds, pre_ms=pre_ms), feeds, item)

    def prepared(self, entry: Mapping[str, Any], arrays: Arrays) -> Answer:
        """What the model would be fed, with no result."""
        feeds, _, item = self._prepared(entry, arrays)
        return Answer(None, feeds, item)

    def batch(self, entries: list[Mapping[str, Any]], arrays: list[Arrays]) -> list[Any]:
        """An Answer, or the EdgeStudioError, for each entry; one inference where that is possible."""
        from edgestudio.runtime.pipeline.batching import process_batch
        from edgestudio.wire.errors import EdgeStudioError, ModelError

        answers: list[Any] = [None] * len(entries)
        prepared: dict[int, tuple[Arrays, float, Any]] = {}
        for number, (entry, given) in enumerate(zip(entries, arrays, strict=True)):
            ready = self._guarded(self._prepared, entry, given)
            if isinstance(ready, EdgeStudioError):
                answers[number] = ready
            else:
                prepared[number] = ready
        try:
            results = process_batch(self.runner, [(feeds, pre_ms) for feeds, pre_ms, _ in prepared.values()])
        except (EdgeStudioError, ValueError):
            # One that does not fit the others must not take them with it.
            results = [self._guarded(self._alone, feeds, pre_ms) for feeds, pre_ms, _ in prepared.values()]
        for number, result in zip(prepared, results, strict=True):
            is_error = isinstance(result, EdgeStudioError)
            answers[number] = result if is_error else Answer(result, prepared[number][0], prepared[number][2])
        return [ModelError("no answer") if answer is None else answer for answer in answers]

    def _prepared(self, entry: Mapping[str, Any], arrays: Arrays) -> tuple[Arrays, float, Any]:
        kind = str(entry["kind"])
        if kind == "feeds":
            return arrays, 0.0, None
        item = self.item_of(kind, entry, arrays)
        started = time.perf_counter()
        feeds = self.runner.prepare(item)
        return feeds, (time.perf_counter() - started) * 1e3, item

    def _alone(self, feeds: Arrays, pre_ms: float) -> Any:
        return self.runner.process_feeds(feeds, pre_ms=pre_ms)

    @staticmethod
    def _guarded(work: Callable[..., Any], *arguments: Any) -> Any:
        from edgestudio.wire.errors import EdgeStudioError

        try:
            return work(*arguments)
        except EdgeStudioError as error:
            return error


class Answer:
    """A result with what led to it."""

    def __init__(self, result: Any, feeds: Arrays, item: Any) -> None:
        self.result, self.feeds, self.item = result, feeds, item

    def facts(self, *, with_outputs: bool) -> dict[str, Any]:
        """What goes into the frame: everything but arrays."""
        result, outputs = self.result, plain_arrays(self.result.outputs)
        facts: dict[str, Any] = {
            "index": result.index,
            "label": result.label,
            "confidence": _number(result.confidence),
            "margin": _number(result.margin),
            "stages_ms": dict(result.stages_ms),
            "finite": bool(result.is_finite),
            "accepted": bool(result.is_accepted),
            "cached": bool(result.is_cached),
            "mark": mark(outputs),
        }
        if with_outputs:
            facts.update({key: result.to_dict()[key] for key in ("top", "detections")})
        return facts

    def groups(self, *, with_outputs: bool, with_raw: bool) -> dict[str, dict[str, Any]]:
        """The arrays that go through shared memory, by the name of their field in the answer."""
        groups: dict[str, dict[str, Any]] = {}
        if self.result is not None and (with_outputs or with_raw):
            groups["tensors"] = plain_arrays(self.result.outputs)
        if with_raw:
            groups["feeds"] = plain_arrays(self.feeds)
            groups["raw"] = plain_arrays(_raw(self.item))
        return groups

    def raw_facts(self) -> dict[str, Any]:
        """What kind of item it was."""
        if self.item is None:
            return {"raw_kind": ""}
        if isinstance(self.item, Mapping):
            return {"raw_kind": "mapping"}
        rate_hz = getattr(self.item, "rate_hz", None)
        return {"raw_kind": "sound", "rate_hz": int(rate_hz)} if rate_hz else {"raw_kind": "array"}


def _raw(item: Any) -> dict[str, Any]:
    if item is None:
        return {}
    if isinstance(item, Mapping):
        return {str(name): getattr(part, "samples", part) for name, part in item.items()}
    return {"input": getattr(item, "samples", item)}


def plain_arrays(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `arrays` that can go through shared memory, contiguous."""
    import numpy as np

    plain = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    return {name: array for name, array in plain.items() if array.dtype.kind in "biufc"}


def mark(outputs: Mapping[str, Any]) -> int:
    """A checksum of all outputs: equal for different inputs means that the model answers the same to everything."""
    value = 0
    for array in outputs.values():
        value = zlib.crc32(array.data.cast("B") if array.nbytes else b"", value)
    return value


def _number(value: float | None) -> float | None:
    """JSON has no NaN: an answer that is none is no confidence either."""
    return None if value is None or value != value else float(value)
