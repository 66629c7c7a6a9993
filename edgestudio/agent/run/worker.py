"""The model host's child process: one model, one request at a time, no keys; it may be killed at any moment."""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgestudio.agent.run import limits

RECEIVE_BYTES = 1 << 16
SCAN_CPU_S = 60.0
MAX_PLACED_NODES = 2000


class Worker:
    """Answers the requests of one agent until its socket closes.

    `scan` looks at a file without any runtime; `plan` says how the model can run here, `derive` builds what that
    needs; `load` opens the model; `run` feeds tensors to the bare model;
    `item`, `payload` and `sample` go through the release's pipeline, `feeds` through all of it but the
    preprocessing, `outputs` through the postprocessing alone, and `batch` takes several of them together.
    Tensors are in shared memory, the rest in the frame.
    """

    def __init__(
        self, link: socket.socket, inbox: Any, outbox: Any, open_network: str = "", open_files: str = ""
    ) -> None:
        self._link = link
        self._missing_walls = {"open_network": open_network, "open_files": open_files}
        self._inbox = inbox
        self._outbox = outbox
        self._session: Any = None
        self._governed: Any = None
        self._answering: Any = None
        self._streak: Any = None
        self._commands: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "scan": self._scan, "load": self._load, "run": self._run, "batch": self._batch,
            "prepare": self._prepare, "ping": lambda _: {}, "plan": self._plan, "derive": self._derive,
            **dict.fromkeys(("feeds", "item", "sample", "payload", "outputs"), self._work),
        }  # fmt: skip

    def serve(self) -> None:
        """Read, do, answer, until the other side is gone."""
        from edgestudio.agent.run.channel import FrameReader

        frames = FrameReader()
        self._send({"ready": True, **self._missing_walls})
        while data := self._receive():
            for request in frames.feed(data):
                self._send(self._answer(request))

    def _receive(self) -> bytes:
        """The next bytes, b"" at the end; while requests follow each other closely, without going to sleep."""
        from edgestudio.agent.run.channel import NEXT_S, Streak, look, may_look

        if self._streak is None:
            self._streak = Streak(NEXT_S if may_look() else 0.0, is_owed=False)
        begun = time.perf_counter()
        data = look(self._link, RECEIVE_BYTES, begun + NEXT_S) if self._streak.is_on else None
        if data is None:
            data = self._link.recv(RECEIVE_BYTES)
        self._streak.note(time.perf_counter() - begun)
        return data

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
        from edgestudio.runtime.scan.scan import scan_model

        report = scan_model(Path(request["path"]))
        return {"report": str(report)[:2000]}

    def _plan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from edgestudio.agent.run.building import planned

        return planned(request)

    def _derive(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from edgestudio.agent.run.building import derived

        return derived(request, lambda told: self._send({"id": request.get("id"), "progress": told}))

    def _load(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from edgestudio.agent.run.answering import Answering
        from edgestudio.runtime.backend import SessionOptions, open_session

        started = time.perf_counter()
        model = Path(request["model"])
        options = SessionOptions(
            threads=int(request.get("threads", 1)),
            providers=tuple(request.get("providers", ())),
            derived=Path(request["derived"]) if request.get("derived") else None,
        )
        self._session = open_session(model, backend=request.get("backend"), options=options)
        load_ms = (time.perf_counter() - started) * 1e3
        self._governed = GovernedSession(self._session)
        pipeline = Path(request["pipeline"]) if request.get("pipeline") else None
        self._answering = Answering(self._governed, pipeline)
        self._answering.open_source(model.parent, Path(request["source"]) if request.get("source") else None)
        return {
            "load_ms": load_ms,
            "backend": str(self._session.backend),
            "inputs": [_spec(item) for item in self._session.inputs],
            "outputs": [_spec(item) for item in self._session.outputs],
            "placement": _bounded(self._session.placement()),
            **self._answering.facts(),
        }

    def _run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from edgestudio.agent.run.answering import plain_arrays

        feeds = self._inbox.read(request["tensors"], copy=False)
        self._governed.slowdown = float(request.get("slow", 1.0))
        started = time.perf_counter()
        outputs = self._governed.run(feeds)
        infer_ms = (time.perf_counter() - started) * 1e3
        return {"infer_ms": infer_ms, "tensors": self._outbox.write(plain_arrays(outputs))}

    def _work(self, request: Mapping[str, Any]) -> dict[str, Any]:
        kind, with_raw = str(request["do"]), bool(request.get("with_raw"))
        arrays = self._inbox.read(request["tensors"], copy=kind != "feeds") if "tensors" in request else {}
        self._governed.slowdown = float(request.get("slow", 1.0))
        answer = self._answering.answer(kind, request, arrays)
        return self._packed([answer], with_outputs=kind != "sample", with_raw=with_raw)[0]

    def _prepare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        arrays = self._inbox.read(request["tensors"], copy=True) if "tensors" in request else {}
        answer = self._answering.prepared(request, arrays)
        return self._pack(answer.raw_facts(), answer.groups(with_outputs=False, with_raw=True))

    def _batch(self, request: Mapping[str, Any]) -> dict[str, Any]:
        entries = list(request["entries"])
        arrays = [self._inbox.read(entry["tensors"], copy=True) for entry in entries]
        self._governed.slowdown = float(request.get("slow", 1.0))
        answers = self._answering.batch(entries, arrays)
        return {"answers": self._packed(answers, with_outputs=True, with_raw=bool(request.get("with_raw")))}

    def _pack(self, facts: dict[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        layouts = self._outbox.write_groups(list(groups.values()))
        return {**facts, **dict(zip(groups, layouts, strict=True))}

    def _packed(self, answers: list[Any], *, with_outputs: bool, with_raw: bool) -> list[dict[str, Any]]:
        from edgestudio.wire.errors import EdgeStudioError

        packed: list[dict[str, Any]] = []
        places: list[tuple[dict[str, Any], str]] = []
        groups: list[Mapping[str, Any]] = []
        for answer in answers:
            if isinstance(answer, EdgeStudioError):
                packed.append({"error": answer.as_dict()})
                continue
            facts = answer.facts(with_outputs=with_outputs)
            if with_raw:
                facts.update(answer.raw_facts())
            for field, arrays in answer.groups(with_outputs=with_outputs, with_raw=with_raw).items():
                places.append((facts, field))
                groups.append(arrays)
            packed.append(facts)
        for (facts, field), layout in zip(places, self._outbox.write_groups(groups), strict=True):
            facts[field] = layout
        return packed


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


def _bounded(placement: Mapping[str, Any]) -> dict[str, Any]:
    """A placement that travels: where each node runs, of the first nodes of a large model."""
    nodes = dict(placement.get("nodes") or {})
    shown = dict(list(nodes.items())[:MAX_PLACED_NODES])
    return {**placement, "nodes": shown, "nodes_left_out": len(nodes) - len(shown)}


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
    parser.add_argument("--with-gpu", action="store_true")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--hide", action="append", default=[])
    parser.add_argument("--read", action="append", default=[])
    parser.add_argument("--write", action="append", default=[])
    options = parser.parse_args()
    files = limits.Files(tuple(options.hide), tuple(options.read), tuple(options.write))
    walls = limits.confine(options.memory_bytes, options.parent, with_gpu=options.with_gpu, files=files)
    from edgestudio.agent.run.channel import Arena

    link = socket.socket(fileno=options.link)
    try:
        Worker(link, Arena(options.inbox), Arena(options.outbox), *walls).serve()
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)  # the agent is gone


if __name__ == "__main__":
    main()
