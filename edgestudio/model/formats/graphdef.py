"""Reads a frozen TensorFlow graph (GraphDef), the `.pb` or `.pbtxt` file of TensorFlow 1."""

from __future__ import annotations

from edgestudio.model.content import opened
from edgestudio.model.detect import Recognised
from edgestudio.model.formats.tensorflow_graph import NodeDef, TensorFlowGraphs
from edgestudio.model.formats.tensorflow_shapes import infer_shapes
from edgestudio.model.formats.tensorflow_text import binary
from edgestudio.model.graph import Model
from edgestudio.model.message import Message


def read(found: Recognised) -> Model:
    """The model at `found.file`; its outputs are what no other node reads."""
    with opened(found.file) as buffer:
        message = Message(binary(buffer, found.path.name))
        graphs = TensorFlowGraphs(message.message(2))
        nodes = [NodeDef(node) for node in message.messages(1)]
        graphs.add_nodes(graphs.reserve(), found.path.stem, nodes, None)
        versions = message.message(4)
        producer = versions.integer(1) if versions is not None else message.integer(3)
        size = len(buffer)
    model = Model(
        format="graphdef",
        format_version=f"version {producer}" if producer else None,
        producer="TensorFlow",
        opsets={},
        graphs=tuple(graphs.graphs),
        size_bytes=size,
        metadata={"operations": str(len(nodes))},
        warnings=(*found.warnings, *dict.fromkeys(graphs.warnings)),
    )
    return infer_shapes(model)
