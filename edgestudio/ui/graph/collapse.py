"""Collapsing and opening groups: which ones, what it looks like then, and what stays in its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgestudio.model.picture.boxes import BoxKind
from edgestudio.model.picture.lanes import Ints
from edgestudio.model.picture.layout import Layout
from edgestudio.ui.graph.document import Document
from edgestudio.ui.graph.painter import Frames
from edgestudio.ui.graph.view import GraphView


@dataclass(frozen=True, slots=True)
class Arranged:
    """A layout with some groups collapsed, the box of each node in it, and frames around the open groups."""

    layout: Layout
    boxes_of_nodes: Ints
    frames: Frames


def arrange(document: Document, collapsed: frozenset[int]) -> Arranged:
    """Work out what is shown; takes up to half a second for 50,000 nodes."""
    layout = document.lay_out(collapsed)
    boxes = document.boxes_of_nodes(layout, collapsed)
    # Frames say which groups were opened; where none is collapsed, every group would have one.
    frames = document.frames(layout, collapsed) if collapsed else Frames(np.zeros((0, 4)), [])
    return Arranged(layout, boxes, frames)


def open_group_around(document: Document, view: GraphView) -> int:
    """The innermost open group around the selected box, -1 for none."""
    groups, boxes, box = document.hierarchy.groups, view.layout_shown.boxes, view.selected_box
    node = view.node_of(box)
    if node >= 0:
        around = document.hierarchy.around(node)
        return around[-1] if around else -1
    is_group = box >= 0 and boxes.kind[box] == BoxKind.GROUP
    return groups[int(boxes.ref[box])].parent if is_group else -1


def box_of_group(layout: Layout, group: int) -> int:
    """The box that stands for a collapsed group, -1 for none."""
    found = np.flatnonzero((layout.boxes.kind == BoxKind.GROUP) & (layout.boxes.ref == group))
    return int(found[0]) if len(found) else -1


def middle_box(view: GraphView) -> int:
    """The selected box, or else the one nearest to the middle of what is seen; -1 in an empty view."""
    if view.selected_box >= 0:
        return view.selected_box
    shown, scene = view.visible(), view.scene_shown
    row = scene.nearest_row((shown.left + shown.right) / 2, (shown.top + shown.bottom) / 2)
    return int(scene.box_of_row[row]) if row >= 0 else -1
