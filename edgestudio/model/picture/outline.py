"""What of a graph can be searched while it is only a picture: the names and operators that came with its layout."""

from __future__ import annotations

import numpy as np

from edgestudio.model.allocation import uncollected
from edgestudio.model.graph import Attribute, Graph, Node
from edgestudio.model.picture.boxes import Boxes, BoxKind

_NO_ATTRIBUTES: dict[str, Attribute] = {}
"""One for all: fifty thousand empty ones cost as much time as the rest of an outline."""


def outline(boxes: Boxes) -> Graph:
    """A graph of the nodes that have boxes, under their own numbers, with nothing but name and operator.

    Nodes without a box, which were folded, are nameless there; a layout without names gives operators alone.
    """
    at = np.flatnonzero(boxes.kind == BoxKind.OPERATOR)
    refs = boxes.ref[at]
    nodes = [Node("", "")] * (int(refs.max()) + 1 if len(refs) else 0)
    names = boxes.names.texts() if boxes.names is not None else [""] * len(at)
    operators = [boxes.labels[label] for label in boxes.label[at].tolist()]
    with uncollected():
        for ref, name, operator in zip(refs.tolist(), names, operators, strict=True):
            nodes[ref] = Node(name, operator, (), (), _NO_ATTRIBUTES)
    return Graph("", tuple(nodes), (), (), ())
