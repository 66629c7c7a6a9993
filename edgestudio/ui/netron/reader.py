"""Reads a model through Netron's readers into our own graph: the job for formats that we do not read ourselves."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgestudio.model import graph as graphs
from edgestudio.model.dtypes import size_bytes
from edgestudio.model.graph import Graph, Model, Node, Tensor
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Progress

MOST_SECONDS = 120
_KINDS = ("input", "output", "constant", "activation")


def read_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Read `params["path"]` and save graph.json into `out_dir`; gives its path and what Netron calls the format.

    Raises ModelError when Netron does not know the file either, or gives up.
    """
    path = Path(params["path"])
    progress.phase("reading with Netron")
    model = read(path)
    progress.partial(
        "recognised", {"format": model.format, "producer": model.producer, "size_bytes": model.size_bytes}
    )
    saved = out_dir / "graph.json"
    graphs.save(model, saved)
    return {"graph": str(saved), "format": model.format}


def read(path: Path) -> Model:
    """The model of a file that Netron knows. Needs the extra `netron-view`; raises ModelError."""
    return model_of(_page_says(path), path)


def model_of(document: Mapping[str, Any], path: Path) -> Model:
    """The model of what extract.js gave; indices that point nowhere are refused as a fault of the file."""
    try:
        main = tuple(_graph(entry) for entry in document["graphs"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path.name} was read by Netron into a graph that does not hold together ({error}).",
            hint="Open it in Netron's own view, or convert it to ONNX or TFLite.",
        ) from error
    named = re.fullmatch(
        r"(.*?)(?:\s+v?(\d[\w.]*))?", str(document.get("format") or "unknown").strip(), re.DOTALL
    )
    assert named is not None
    return Model(
        format=re.sub(r"\W+", "-", named[1].lower()).strip("-") or "unknown",
        format_version=named[2],
        producer=str(document.get("producer") or "") or None,
        opsets={},
        graphs=main,
        size_bytes=path.stat().st_size,
        metadata={str(key): str(value) for key, value in dict(document.get("metadata") or {}).items()},
        warnings=("Read through Netron: multiply-accumulates and memory are not known for this format.",),
    )


def _graph(entry: Mapping[str, Any]) -> Graph:
    tensors = tuple(_tensor(row) for row in entry["tensors"])
    nodes = tuple(
        Node(
            name=str(row["name"]),
            op=str(row["op"]),
            inputs=_indices(row["inputs"], len(tensors)),
            outputs=_indices(row["outputs"], len(tensors)),
            attributes=dict(row["attributes"]),
            domain=str(row["domain"]),
            scope=str(row["name"]).rpartition("/")[0],
        )
        for row in entry["nodes"]
    )
    ends = [_indices(entry[side], len(tensors)) for side in ("inputs", "outputs")]
    return Graph(str(entry["name"]), nodes, tensors, ends[0], ends[1])


def _tensor(row: Mapping[str, Any]) -> Tensor:
    shape = row["shape"]
    known = (
        None if shape is None else tuple(d if isinstance(d, int | str) and d != -1 else None for d in shape)
    )
    kind = row["kind"]
    if kind not in _KINDS:
        raise ValueError(f"a tensor of kind {kind!r}")
    dtype = str(row["dtype"])
    return Tensor(str(row["name"]), dtype, known, kind, size_bytes(dtype, known))


def _indices(values: Any, count: int) -> tuple[int, ...]:
    indices = tuple(int(value) for value in values)
    if any(not 0 <= index < count for index in indices):
        raise ValueError("a node refers to a tensor that is not there")
    return indices


def _page_says(path: Path) -> dict[str, Any]:
    """Load Netron's page with the model and wait for what it read."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    try:
        import shiboken6
        from PySide6.QtCore import QElapsedTimer, QTimer, QUrl
        from PySide6.QtWebEngineCore import QWebEnginePage
        from PySide6.QtWidgets import QApplication

        from edgestudio.ui.netron.scheme import START, make_profile, register_scheme
    except ImportError as error:
        raise ModelError(
            f"{path.name} is of a kind that only Netron reads, and its page needs {error.name or error}.",
            hint="Install the extra `netron-view`, or convert the model to ONNX or TFLite.",
            code="needs-netron-view",
        ) from error
    register_scheme()
    app = QApplication.instance() or QApplication([sys.argv[0]])
    page = QWebEnginePage(make_profile(path, app, drawing=False))
    script = files("edgestudio.ui.netron").joinpath("extract.js").read_text("utf-8")
    clock, timer = QElapsedTimer(), QTimer()
    answer: dict[str, Any] = {"state": "reading"}

    def take(text: str) -> None:
        nonlocal answer
        answer = json.loads(text or '{"state": "reading"}')
        if answer["state"] != "reading":
            app.quit()

    def ask() -> None:
        if clock.elapsed() > MOST_SECONDS * 1000:
            app.quit()
            return
        page.runJavaScript(script, take)

    timer.timeout.connect(ask)
    clock.start()
    timer.start(100)
    page.load(QUrl(START))
    app.exec()
    timer.stop()
    profile = page.profile()
    shiboken6.delete(page)  # the page must go before its profile does
    shiboken6.delete(profile)
    if answer["state"] == "done" and answer.get("graphs"):
        return answer
    why = " ".join(str(answer.get("message") or "").split())[:300]
    raise ModelError(
        f"Netron cannot read {path.name} either{': ' + why if why else '.'}",
        hint="Is this a model at all, and is the file complete? Converting it to ONNX or TFLite is the surest way.",
        code="unknown-format",
    )
