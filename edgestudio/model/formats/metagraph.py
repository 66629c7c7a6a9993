"""Reads a TensorFlow MetaGraphDef, the `.meta` file beside a TensorFlow 1 checkpoint: the graph that the model runs.

What trains, saves, restores and sets the variables to their first values is left out, as it is when such a graph is
frozen. Field numbers are those of tensorflow/core/protobuf/{meta_graph,saver,variable}.proto.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgestudio.model.content import opened
from edgestudio.model.detect import Recognised
from edgestudio.model.dtypes import size_bytes
from edgestudio.model.formats.tensorflow_graph import NodeDef, TensorFlowGraphs
from edgestudio.model.formats.tensorflow_shapes import infer_shapes
from edgestudio.model.graph import Model, Tensor
from edgestudio.model.message import Message
from edgestudio.wire.errors import ModelError

_VARIABLES = {"Variable", "VariableV2", "VarHandleOp"}
_KEPT = {"Placeholder", "PlaceholderV2"}
_SERVICE = (
    "Apply", "ResourceApply", "SparseApply", "ResourceSparseApply", "Assign", "ScatterUpdate", "ScatterAdd", "Save",
    "Restore", "MergeV2Checkpoints", "ShardedFilename", "NoOp", "IsVariableInitialized", "VarIsInitializedOp",
    "DestroyResourceOp", "ControlTrigger", "ScalarSummary", "HistogramSummary", "ImageSummary", "AudioSummary",
    "MergeSummary", "TensorSummary", "ReportUninitialized",
)  # fmt: skip
_GRADIENT = re.compile(r"(^|/)gradient(s|_tape)?(_\d+)?/")
_VARIABLE_LISTS = ("variables", "trainable_variables", "model_variables", "local_variables")


def read(found: Recognised) -> Model:
    """The model at `found.file`; raises ModelError when it holds no graph."""
    with opened(found.file) as buffer:
        meta = Message(memoryview(buffer))
        definition, info = meta.message(2), meta.message(1)
        if definition is None:
            raise ModelError(
                f"{found.path.name} is a MetaGraphDef that holds no graph.",
                hint="Export it again.",
                code="no-graph",
            )
        every = [NodeDef(message) for message in definition.messages(1)]
        nodes = _running(every, _set_up(meta))
        graphs = TensorFlowGraphs(definition.message(2))
        graphs.add_nodes(graphs.reserve(), found.path.stem, nodes, None)
        metadata = {"operations": str(len(every))}
        if len(nodes) < len(every):
            metadata["left out"] = (
                f"{len(every) - len(nodes)} operations that train, save, restore or initialise"
            )
        collections = [entry.text(1) for entry in meta.messages(4)]
        if collections:
            metadata["collections"] = ", ".join(collections[:20])
        signatures = [entry.text(1) for entry in meta.messages(5)]
        if signatures:
            metadata["signatures"] = ", ".join(signatures[:20])
        version = info.text(5) if info is not None else ""
        if info is not None and info.texts(4):
            metadata["tags"] = ", ".join(info.texts(4))
        size = len(buffer)
    warnings = [*found.warnings, *graphs.warnings]
    weights = [_weight(node) for node in nodes if node.op in _VARIABLES]
    parts = checkpoint(found.file)
    if weights and not parts:
        warnings.append(
            f"the weights are in the checkpoint that belongs beside it ({found.file.stem}.index and "
            f"{found.file.stem}.data-…), which is not there; it cannot be run"
        )
    model = Model(
        format="metagraph",
        format_version=None,
        producer=f"TensorFlow {version}".strip(),
        opsets={},
        graphs=tuple(graphs.graphs),
        size_bytes=size + sum(part.stat().st_size for part in parts),
        metadata=metadata,
        warnings=tuple(dict.fromkeys(warnings)),
        weights=tuple(weights),
        companions=tuple(part.name for part in parts),
    )
    return infer_shapes(model)


def checkpoint(meta: Path) -> list[Path]:
    """Index and shards of the checkpoint beside a `.meta` file; empty without an index or without a shard."""
    index = meta.with_name(f"{meta.stem}.index")
    start = f"{meta.stem}.data-"
    shards = sorted(path for path in meta.parent.iterdir() if path.name.startswith(start) and path.is_file())
    return [index, *shards] if shards and index.is_file() else []


def _set_up(meta: Message) -> set[str]:
    """Names of what sets variables to their first values, as the collections of variables tell."""
    found = set()
    for entry in meta.messages(4):
        values = entry.message(2)
        listed = values.message(2) if values is not None and entry.text(1) in _VARIABLE_LISTS else None
        for view in listed.views(1) if listed is not None else ():
            variable = Message(view)
            found.add(variable.text(2).split(":")[0])
            found.add(variable.text(6).split(":")[0])
    return found - {""}


def _running(nodes: list[NodeDef], set_up: set[str]) -> list[NodeDef]:
    """The nodes without those that only serve training, saving, restoring or initialising."""
    readers: dict[str, int] = {}
    for node in nodes:
        for name in _sources(node):
            readers[name] = readers.get(name, 0) + 1
    by_name = {node.name: node for node in nodes}
    # Everything beside a saver's operators is a part of it: names of files, and what waits for it to end.
    savers = tuple(
        {f"{node.name.rpartition('/')[0]}/" for node in nodes if node.op in ("SaveV2", "RestoreV2")} - {"/"}
    )
    waiting = [
        node
        for node in nodes
        if node.name in set_up or node.op.startswith(_SERVICE) or node.name.startswith(savers)
    ]
    dropped: set[str] = set()
    while waiting:
        node = waiting.pop()
        if node.name in dropped:
            continue
        dropped.add(node.name)
        for name in _sources(node):
            readers[name] -= 1
            source = by_name.get(name)
            # What the model computes stays, also where only its gradient reads it.
            is_forward = _GRADIENT.search(node.name) and not _GRADIENT.search(name)
            if source is not None and not readers[name] and source.op not in _KEPT and not is_forward:
                waiting.append(source)
    return [node for node in nodes if node.name not in dropped]


def _sources(node: NodeDef) -> Iterable[str]:
    return {ref.split(":")[0] for ref in node.inputs}


def _weight(node: NodeDef) -> Tensor:
    shape = node.attributes.get("shape")
    known = tuple(size if size >= 0 else None for size in shape) if isinstance(shape, list) else None
    dtype = str(node.attributes.get("dtype") or "")
    return Tensor(node.name, dtype, known, "constant", size_bytes(dtype, known))
