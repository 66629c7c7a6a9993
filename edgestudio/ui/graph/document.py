"""What the graph panel knows of an open model: its graph, hierarchy, table columns and overlays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgestudio.model import graph as graphs
from edgestudio.model.graph import Graph, Model
from edgestudio.model.picture.boxes import BoxKind, build_boxes, redescribed
from edgestudio.model.picture.groups import Hierarchy, are_grouped_alike, find_groups
from edgestudio.model.picture.lanes import Ints
from edgestudio.model.picture.layout import Layout, lay_out
from edgestudio.ui.graph.overlay import Overlay, built_in
from edgestudio.ui.graph.painter import Frames
from edgestudio.ui.graph.table import Layers
from edgestudio.ui.memory import undisturbed

_FRAME_MARGIN_PX, _FRAME_ABOVE_PX, _FRAME_BELOW_PX = 14.0, 19.0, 8.0
_MOST_FRAMES = 4000


@dataclass(frozen=True, slots=True)
class Document:
    """Graph `number` of one model, read only; what it holds is worked out beside the UI thread."""

    model: Model
    graph: Graph
    hierarchy: Hierarchy
    layers: Layers
    overlays: list[Overlay]
    number: int = 0

    @classmethod
    def of(cls, model: Model, index: int = 0, before: Document | None = None) -> Document:
        """Work out what the panel shows of graph `index`; takes a second for 50,000 nodes.

        The groups are those of `before` where it shows the same nodes and tensors, whatever else is known of them.
        """
        graph = model.graphs[index] if model.graphs else model.main
        is_same = before is not None and are_grouped_alike(graph, before.graph)
        hierarchy = before.hierarchy if before is not None and is_same else find_groups(graph)
        return cls(model, graph, hierarchy, Layers.of(graph), built_in(graph), index)

    @classmethod
    def load(cls, path: Path, before: Document | None = None) -> Document:
        """Read the graph that a worker saved, sharing what it has in common with the one before it.

        Raises ValueError or OSError.
        """
        with undisturbed():
            return cls.of(graphs.load(path, before.model if before is not None else None), before=before)

    def lay_out(self, collapsed: frozenset[int]) -> Layout:
        """A layout with these groups collapsed."""
        return lay_out(self.graph, self.hierarchy, collapsed)

    def retold(self, layout: Layout, before: Document | None = None) -> Layout:
        """The same places with this graph's texts and numbers: shapes may have become known after the first picture.

        Laid out anew where the picture was of other boxes. `before` is the document that the layout is of, if any.
        """
        if before is not None and self._has_nodes_of(before):
            return replace(layout, boxes=redescribed(layout.boxes, self.graph))
        boxes = build_boxes(self.graph)
        if not boxes.is_joined_like(layout.boxes):
            return self.lay_out(frozenset())
        told = replace(boxes, width=layout.boxes.width).sharing(layout.boxes)
        return Layout(told, layout.x, layout.y, layout.lane)

    def _has_nodes_of(self, before: Document) -> bool:
        """True where only what is known of nodes and tensors differs; their groups were then taken over."""
        return self.hierarchy is before.hierarchy and self.graph.outputs == before.graph.outputs

    def boxes_of_nodes(self, layout: Layout, collapsed: frozenset[int]) -> Ints:
        """Per node the box that shows it, its collapsed group's where it has none of its own, -1 if folded."""
        found = layout.boxes_of_nodes(len(self.graph.nodes))
        if not collapsed:
            return found
        box_of_group = np.full(len(self.hierarchy.groups) + 1, -1, np.int32)
        groups = np.flatnonzero(layout.boxes.kind == BoxKind.GROUP)
        box_of_group[layout.boxes.ref[groups]] = groups
        cover = self.hierarchy.covering(collapsed)
        return np.where(cover >= 0, box_of_group[cover], found).astype(np.int32)

    def opened(self, collapsed: frozenset[int], group: int) -> frozenset[int]:
        """The collapsed groups after one of them was opened: its own groups are collapsed in its place."""
        inner = {index for index, each in enumerate(self.hierarchy.groups) if each.parent == group}
        return (collapsed - {group}) | inner

    def opened_around(self, collapsed: frozenset[int], node: int) -> frozenset[int]:
        """The collapsed groups after a node was brought into sight."""
        for group in self.hierarchy.around(node):
            if group in collapsed:
                collapsed = self.opened(collapsed, group)
        return collapsed

    def node_named(self, name: str) -> int:
        """The first node with this name, -1 for none."""
        return next((index for index, node in enumerate(self.graph.nodes) if node.name == name), -1)

    def operators_in(self, group: int) -> dict[str, int]:
        """How often each operator occurs in a group."""
        inside = np.flatnonzero(self.hierarchy.covering(frozenset({group})) == group)
        return dict(Counter(self.graph.nodes[node].op for node in inside.tolist()))

    def box_values(self, overlay: Overlay, boxes_of_nodes: Ints, count: int) -> Overlay:
        """An overlay's numbers per box; a group shows the sum of its nodes, or the word that all of them have."""
        known = np.isfinite(overlay.values) & (boxes_of_nodes >= 0)
        at = boxes_of_nodes[known]
        if overlay.words:
            low, high = np.full(count, np.inf), np.full(count, -np.inf)
            np.minimum.at(low, at, overlay.values[known])
            np.maximum.at(high, at, overlay.values[known])
            return replace(overlay, values=np.where(low == high, low, np.nan))
        sums = np.bincount(at, overlay.values[known], minlength=count).astype(np.float64)
        sums[np.bincount(at, minlength=count) == 0] = np.nan
        return replace(overlay, values=sums)

    def frames(self, layout: Layout, collapsed: frozenset[int]) -> Frames:
        """Frames around open groups whose boxes lie together, with nothing foreign between them."""
        edges: list[NDArray[np.float64]] = []
        titles: list[str] = []
        first_lines: dict[tuple[float, float], int] = {}
        levels = self._groups_by_level()
        boxes_of_nodes = self.boxes_of_nodes(layout, collapsed)
        for level, groups in enumerate(levels):
            margin = _FRAME_MARGIN_PX * (len(levels) - level)
            for group, (left, top, right, bottom) in self._extents(layout, groups, boxes_of_nodes):
                if group in collapsed or len(titles) >= _MOST_FRAMES:
                    continue
                title = self.hierarchy.groups[group].title
                # A frame that begins with the one around it takes over its title: both would be on one line.
                outer = first_lines.get((left, top))
                if outer is not None:
                    title, titles[outer] = f"{titles[outer]} / {title}", ""
                first_lines[left, top] = len(titles)
                edges.append(
                    np.array([left - margin, top - _FRAME_ABOVE_PX, right + margin, bottom + _FRAME_BELOW_PX])
                )
                titles.append(title)
        return Frames(np.array(edges).reshape(-1, 4), titles)

    def _groups_by_level(self) -> list[Ints]:
        """Per level of the hierarchy, the group around each node at that level, -1 for none."""
        groups = self.hierarchy.groups
        parents = np.array([g.parent for g in groups] + [-1], np.int32)
        levels = np.array([g.level for g in groups] + [-1], np.int32)
        at, found = self.hierarchy.of_node.copy(), list[Ints]()
        for level in range(self.hierarchy.depth() - 1, -1, -1):
            found.append(np.where(levels[at] == level, at, -1).astype(np.int32))
            at = np.where(levels[at] == level, parents[at], at).astype(np.int32)
        return found[::-1]

    def _extents(
        self, layout: Layout, groups: Ints, boxes_of_nodes: Ints
    ) -> list[tuple[int, tuple[float, float, float, float]]]:
        """The rectangle around each group at one level, where no box of another group lies in it."""
        inside = (groups >= 0) & (boxes_of_nodes >= 0)
        box_group = np.full(len(layout), -1, np.int32)
        box_group[boxes_of_nodes[inside]] = groups[inside]
        by_y = np.argsort(layout.y, kind="stable")
        sorted_y = layout.y[by_y]
        order = np.argsort(box_group, kind="stable")
        starts = np.searchsorted(box_group[order], np.unique(box_group[order]))
        found = []
        for members in np.split(order, starts[1:]):
            group = int(box_group[members[0]])
            if group < 0 or len(members) < 2:
                continue
            half_w, half_h = layout.boxes.width[members] / 2, layout.boxes.height[members] / 2
            left, right = (layout.x[members] - half_w).min(), (layout.x[members] + half_w).max()
            top, bottom = (layout.y[members] - half_h).min(), (layout.y[members] + half_h).max()
            near = by_y[np.searchsorted(sorted_y, top) : np.searchsorted(sorted_y, bottom)]
            foreign = near[box_group[near] != group]
            half = layout.boxes.width[foreign] / 2
            if not ((layout.x[foreign] + half > left) & (layout.x[foreign] - half < right)).any():
                found.append((group, (float(left), float(top), float(right), float(bottom))))
        return found
