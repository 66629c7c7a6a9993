"""The model host's child process: one model, one request at a time, no keys; it may be killed at any moment."""

from __future__ import annotations

import argparse
import socket
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgestudio.agent.run import limits

RECEIVE_BYTES = 1 << 16
SCAN_CPU_S = 60.0


class Worker:
    """Answers the requests of one agent until its socket closes.

    `scan` looks at a file without any runtime; `load` opens the model; `run` feeds tensors to the bare model;
    `item` and `sample` go through the release's pipeline. Tensors are in shared memory, the rest in the frame.
    """

    def __init__(self, link: socket.socket, inbox: Any, outbox: Any) -> None:
        self._link = link
        self._inbox = inbox
        self._outbox = outbox
        self._session: Any = None
        self._governed: Any = None
        self._runner: Any = None
        self._samples: list[Any] = []
        self._commands: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "scan": self._scan, "load": self._load, "run": self._run, "feeds": self._feeds, "item": self._item,
            "sample": self._sample, "ping": lambda _: {},
        }  # fmt: skip

    def serve(self) -> None:
        """Read, do, answer, until the other side is gone."""
        from edgestudio.agent.run.channel import FrameReader

        frames = FrameReader()
        self._send({"ready": True})
        while data := self._link.recv(RECEIVE_BYTES):
            for request in frames.feed(data):
                self._send(self._answer(request))

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from edgestudio.wire.errors import EdgeStudioError

        limits.allow_cpu_seconds(float(request.get("cpu_s", SCAN_CPU_S)))
        try:
            answer = self._commands[str(request["do"])](request)
        except EdgeStudioError as error:
            return {"id": request.get("id"), "error": error.as_dict()}
        except MemoryError:
            return _failed(request, "out-of-memory", "The model needs more memory than the board allows it.")
        except Exception as error:  # noqa: BLE001 - whatever a runtime throws is the model's failure, not ours
            return _failed(request, "model-error", f"{type(error).__name__}: {str(error)[:500]}")
        answer["id"] = request.get("id")
        return answer

    def _send(self, message: Mapping[str, Any]) -> None:
        from edgestudio.agent.run.channel import frame

        self._link.sendall(frame(message))

    def _scan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from edgestudio.runtime.scan import scan_model

        report = scan_model(Path(request["path"]))
        return {"report": str(report)[:2000]}

    def _load(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from edgestudio.runtime.backend import open_session
        from edgestudio.runtime.pipeline import Runner, load_pipeline

        started = time.perf_counter()
        model = Path(request["model"])
        self._session = open_session(
            model, backend=request.get("backend"), threads=int(request.get("threads", 1))
        )
        load_ms = (time.perf_counter() - started) * 1e3
        self._governed = GovernedSession(self._session)
        pipeline = load_pipeline(Path(request["pipeline"])) if request.get("pipeline") else None
        self._runner = Runner(self._governed, pipeline)
        pipeline = self._runner.pipeline
        self._read_samples(model.parent, request.get("source"))
        return {
            "load_ms": load_ms,
            "backend": str(self._session.backend),
            "inputs": [_spec(item) for item in self._session.inputs],
            "outputs": [_spec(item) for item in self._session.outputs],
            "placement": {str(k): v for k, v in self._session.placement().items() if k != "nodes"},
            "samples": len(self._samples),
            "rate_hz": getattr(pipeline.source, "rate_hz", None),
            "queue": pipeline.queue.model_dump(),
        }

    def _read_samples(self, folder: Path, given: str | None) -> None:
        """Keep the first items of the release's source in memory; a camera is no file and is left out."""
        from edgestudio.runtime.sources import FolderSource, open_source

        pipeline = self._runner.pipeline
        where = Path(given) if given else None
        if isinstance(pipeline.source, FolderSource):
            where = folder / pipeline.source.path
        if where is None:
            return
        raw = pipeline.raw_layout(self._session.inputs)
        for item in open_source(where, labels=pipeline.labels, raw=raw, limit=MAX_SAMPLES):
            self._samples.append(item.item)

    def _run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        feeds = self._inbox.read(request["tensors"], copy=False)
        self._governed.slowdown = float(request.get("slow", 1.0))
        started = time.perf_counter()
        outputs = self._governed.run(feeds)
        infer_ms = (time.perf_counter() - started) * 1e3
        return {"infer_ms": infer_ms, "tensors": self._outbox.write(_arrays(outputs))}

    def _feeds(self, request: Mapping[str, Any]) -> dict[str, Any]:
        feeds = self._inbox.read(request["tensors"], copy=False)
        self._governed.slowdown = float(request.get("slow", 1.0))
        return self._answered(self._runner.process_feeds(feeds), with_outputs=True)

    def _item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        item = self._inbox.read(request["tensors"], copy=True)["input"]
        return self._process(item, request, with_outputs=True)

    def _sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if not self._samples:
            return _failed(request, "no-source", "The release came without samples to infer on.")
        item = self._samples[int(request["index"]) % len(self._samples)]
        return self._process(item, request, with_outputs=False)

    def _process(self, item: Any, request: Mapping[str, Any], *, with_outputs: bool) -> dict[str, Any]:
        self._governed.slowdown = float(request.get("slow", 1.0))
        return self._answered(self._runner.process(item), with_outputs=with_outputs)

    def _answered(self, result: Any, *, with_outputs: bool) -> dict[str, Any]:
        outputs = _arrays(result.outputs)
        answer: dict[str, Any] = {
            "index": result.index,
            "label": result.label,
            "confidence": _number(result.confidence),
            "margin": _number(result.margin),
            "stages_ms": dict(result.stages_ms),
            "finite": bool(result.is_finite),
            "mark": _mark(outputs),
        }
        if with_outputs:
            answer["top"] = result.to_dict()["top"]
            answer["detections"] = result.to_dict()["detections"]
            answer["tensors"] = self._outbox.write(outputs)
        return answer


MAX_SAMPLES = 256


class GovernedSession:
    """A session that takes `slowdown` times as long as it would: how a simulated hot board throttles."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.backend = session.backend
        self.inputs = session.inputs
        self.outputs = session.outputs
        self.slowdown = 1.0

    def placement(self) -> Any:
        """Where the nodes really run."""
        return self._session.placement()

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Run the model once, then wait for as long as the slowdown asks."""
        started = time.perf_counter()
        outputs: dict[str, Any] = self._session.run(feeds)
        if self.slowdown > 1.0:
            time.sleep((time.perf_counter() - started) * (self.slowdown - 1.0))
        return outputs

    def profile(self, feeds: Mapping[str, Any], runs: int) -> Any:
        """Time per operator of the session behind."""
        return self._session.profile(feeds, runs)

    def close(self) -> None:
        """Close the session behind."""
        self._session.close()


def _arrays(outputs: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np

    arrays = {name: np.ascontiguousarray(value) for name, value in outputs.items()}
    return {name: array for name, array in arrays.items() if array.dtype.kind in "biufc"}


def _mark(outputs: Mapping[str, Any]) -> int:
    """A checksum of all outputs: equal for different inputs means that the model answers the same to everything."""
    mark = 0
    for array in outputs.values():
        mark = zlib.crc32(array.data.cast("B") if array.nbytes else b"", mark)
    return mark


def _number(value: float | None) -> float | None:
    """JSON has no NaN: an answer that is none is no confidence either."""
    return None if value is None or value != value else float(value)


def _spec(item: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else None for size in item.shape]
    return {"name": item.name, "dtype": str(item.dtype), "shape": shape}


def _failed(request: Mapping[str, Any], code: str, message: str) -> dict[str, Any]:
    return {"id": request.get("id"), "error": {"code": code, "message": message, "hint": ""}}


def main() -> None:
    """Entry point of `python -m edgestudio.agent.run.worker`, started by `agent.run.host` only."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--inbox", type=int, required=True)
    parser.add_argument("--outbox", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, default=0)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    limits.confine(options.memory_bytes, options.parent)
    from edgestudio.agent.run.channel import Arena

    link = socket.socket(fileno=options.link)
    try:
        Worker(link, Arena(options.inbox), Arena(options.outbox)).serve()
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)  # the agent is gone


if __name__ == "__main__":
    main()
