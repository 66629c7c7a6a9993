"""Inspects a model in a worker: what it is, its totals, its graph and layout, without running its code."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestudio.model import graph as graphs
from edgestudio.model.allocation import uncollected
from edgestudio.model.content import tree_size_bytes
from edgestudio.model.detect import Recognised, detect
from edgestudio.model.graph import Graph, Model
from edgestudio.model.picture.boxes import build_boxes
from edgestudio.model.picture.layout import Layout, lay_out_boxes
from edgestudio.model.reading import read_recognised, refuse_damage
from edgestudio.runtime.format_names import format_title
from edgestudio.wire.progress import Progress

# What adds up is imported after the first picture: it would only hold that up.
if TYPE_CHECKING:
    from edgestudio.model.totals.analysis import Analysis

_INFERRED = {
    "graphdef": "edgestudio.model.formats.tensorflow_shapes",
    "metagraph": "edgestudio.model.formats.tensorflow_shapes",
    "savedmodel": "edgestudio.model.formats.tensorflow_shapes",
    "torchscript": "edgestudio.model.formats.torch_shapes",
    "keras": "edgestudio.model.formats.keras_shapes",
    "tflite": "edgestudio.model.formats.tflite_shapes",
    "openvino": "edgestudio.model.formats.openvino_shapes",
    "coreml": "edgestudio.model.formats.coreml_shapes",
}
"""What works out the shapes of formats whose files leave them out."""


def inspect_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Inspect `params["path"]`; entry point of the job `inspect`.

    `layout`: also lay the graph out. `dimensions`: sizes for symbolic dimensions by name, which the graph then
    shows. `sha256`: the content's hash when it is known already. The layout, which is all that a first picture
    takes, and then the graph are written and published as partial results before the slower totals; the final
    graph replaces the early one. Where the format has a sketch, the layout comes from it before anything else is
    read; its places hold for the final layout, which has the numbers of tensors as well.
    """
    path = Path(str(params["path"]))
    progress.phase("recognise", 0.0)
    found = detect(path)
    recognised = {"format": found.format, "producer": None, "size_bytes": tree_size_bytes(path)}
    progress.partial("recognised", recognised)
    sketched: Layout | None = None
    if params.get("layout"):
        progress.phase("sketch", 0.05)
        with uncollected():
            sketched = _sketched(found)
        if sketched is not None:
            progress.partial("recognised", {**recognised, "nodes": sketched.nodes})
            sketched.save(out_dir / "sketch.npz")
            progress.partial("layout", str(out_dir / "sketch.npz"))
    progress.phase("read", 0.1)
    model = read_recognised(found)
    progress.partial("recognised", {**recognised, "producer": model.producer, "nodes": len(model.main.nodes)})
    layout_path: Path | None = None
    if params.get("layout") and model.graphs:
        progress.phase("lay out", 0.3)
        with uncollected():
            layout, is_sketched = _laid_out(model.main, sketched)
        layout_path = out_dir / "layout.npz"
        layout.save(layout_path)
        if not is_sketched:
            progress.partial("layout", str(layout_path))
    graph_path = _write_graph(model, out_dir)
    progress.partial("graph", str(graph_path))
    progress.phase("add up", 0.6)
    dimensions = params.get("dimensions") or {}
    with refuse_damage(found):
        analysis = _analysed(found, model, dimensions, shows_sizes=True)
    graph_path = _write_graph(analysis.model, out_dir)
    progress.phase("hash", 0.9)
    digest = params.get("sha256") or _sha256(path)
    return {
        "summary": summarise(analysis),
        "graph": str(graph_path),
        "layout": None if layout_path is None else str(layout_path),
        "sha256": digest,
        "companions": list(model.companions),
    }


def inspect_file(path: Path, dimensions: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The keys of `inspect` in docs/cli.md for the model at `path`; raises ModelError."""
    return summarise(analysed(path, dimensions))


def analysed(path: Path, dimensions: Mapping[str, int] | None = None) -> Analysis:
    """The model at `path` with everything that can be added up; raises ModelError."""
    found = detect(path)
    model = read_recognised(found)
    with refuse_damage(found):
        return _analysed(found, model, dimensions or {})


def _analysed(
    found: Recognised, model: Model, dimensions: Mapping[str, int], *, shows_sizes: bool = False
) -> Analysis:
    """With `shows_sizes` the model of the analysis has the given sizes; else the names of the file."""
    from edgestudio.model.dimensions import refuse_unknown, settled
    from edgestudio.model.totals.analysis import analyse, batch_symbols

    refuse_unknown(model, dimensions)
    given = dimensions if shows_sizes else {}
    if found.format in _INFERRED:
        infer_shapes = importlib.import_module(_INFERRED[found.format]).infer_shapes
        with uncollected():
            bound = infer_shapes(model, dimensions)
            return analyse(bound if dimensions else model, bound, dimensions)
    if found.format != "onnx" or not model.main.nodes:
        with uncollected():
            return analyse(settled(model, given), None, dimensions)
    from edgestudio.model.formats.onnx_rules import complete
    from edgestudio.model.formats.onnx_shapes import infer_shapes

    with uncollected():
        inferred = infer_shapes(model, found.file)
        chosen = {**batch_symbols(inferred), **dimensions}
        is_open = _is_open(model)
        bound = complete(infer_shapes(model, found.file, chosen) if is_open else inferred, chosen)
        return analyse(inferred if is_open and not given else bound, bound, dimensions)


def _is_open(model: Model) -> bool:
    """True when an input's shape holds a dimension that is not a number."""
    main = model.main
    shapes = [main.tensors[index].shape for index in main.inputs]
    return any(shape is None or any(not isinstance(size, int) for size in shape) for shape in shapes)


def _write_graph(model: Model, out_dir: Path) -> Path:
    path = out_dir / "graph.json"
    draft = out_dir / "graph.json.part"
    graphs.save(model, draft)
    draft.replace(path)
    return path


def _sketched(found: Recognised) -> Layout | None:
    """A first picture from a part of the file, where its format offers that."""
    if found.format != "onnx":
        return None
    from edgestudio.model.formats.onnx_sketch import sketch

    boxes = sketch(found)
    return None if boxes is None else lay_out_boxes(boxes)


def _laid_out(graph: Graph, sketched: Layout | None) -> tuple[Layout, bool]:
    """The layout of a graph, and if it has the places of the one that was sketched."""
    boxes = build_boxes(graph)
    if (
        sketched is not None
        and boxes.is_joined_like(sketched.boxes)
        and (boxes.width == sketched.boxes.width).all()
    ):
        return Layout(boxes, sketched.x, sketched.y, sketched.lane), True
    return lay_out_boxes(boxes), False


def summarise(analysis: Analysis) -> dict[str, Any]:
    """The JSON-able summary of a model, the keys of `inspect` in docs/cli.md."""
    model = analysis.model
    main = model.main
    nested = [graph for graph in model.graphs[1:] if graph.nodes]
    return {
        "format": model.format,
        "format_title": format_title(model.format),
        "format_version": model.format_version,
        "producer": model.producer,
        "opsets": {domain or "ai.onnx": version for domain, version in model.opsets.items()},
        "inputs": [_value(main, index) for index in main.inputs],
        "outputs": [_value(main, index) for index in main.outputs],
        "nodes": len(main.nodes),
        "operators": _operators([main]),
        "subgraphs": len(nested),
        "nodes_with_subgraphs": sum(len(graph.nodes) for graph in model.graphs),
        "operators_with_subgraphs": _operators(list(model.graphs)),
        "parameters": analysis.parameters,
        "weight_bytes": dict(analysis.weight_bytes),
        "size_bytes": model.size_bytes,
        "macs": analysis.macs,
        "macs_unknown": dict(analysis.macs_unknown),
        "dimensions": dict(analysis.dimensions),
        "peak_activation_bytes": analysis.peak_activation_bytes,
        "peak_activation_node": analysis.peak_node,
        "quantization": None if analysis.quantization is None else dict(analysis.quantization),
        "metadata": dict(model.metadata),
        "warnings": list(model.warnings),
    }


def _operators(of: list[Graph]) -> dict[str, int]:
    names = Counter(
        f"{node.domain}.{node.op}" if node.domain and node.domain != "ai.onnx.ml" else node.op
        for graph in of
        for node in graph.nodes
    )
    return dict(sorted(names.items(), key=lambda item: (-item[1], item[0])))


def _value(graph: Graph, index: int) -> dict[str, Any]:
    tensor = graph.tensors[index]
    value: dict[str, Any] = {
        "name": tensor.name,
        "dtype": tensor.dtype or None,
        "shape": None if tensor.shape is None else list(tensor.shape),
    }
    if tensor.quantization is not None and len(tensor.quantization.scale) == 1:
        value["scale"] = tensor.quantization.scale[0]
        value["zero_point"] = tensor.quantization.zero_point[0] if tensor.quantization.zero_point else 0
    return value


def _sha256(path: Path) -> str:
    """The content's hash as the library computes it."""
    from edgestudio.model.copying import content_sha256

    return content_sha256(path)
