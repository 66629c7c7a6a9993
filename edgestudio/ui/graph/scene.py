"""Indexes a layout for painting: what lies in a rectangle is found without looking at the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgestudio.model.picture.boxes import BoxKind
from edgestudio.model.picture.families import GROUP, TERMINAL, Family, family_of
from edgestudio.model.picture.lanes import ROW_GAP_PX, Floats
from edgestudio.model.picture.layout import Layout

Rows = NDArray[np.int64]

BEND_PX = ROW_GAP_PX
MARGIN_PX = 60.0
BLOCK = 64
_BAND_PX = 512.0
_WIDE_PX = 4000.0
_BESIDE_PX = 1000.0
"""Further aside than any corner of an edge reaches."""


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of the graph, in its own pixels."""

    left: float
    top: float
    right: float
    bottom: float


class Scene:
    """A layout with its boxes sorted by y ("rows") and its edges cut into short pieces and vertical trunks.

    `pieces[i]` is (x0, y0, x1, y1, ends in an arrow); blocks of 64 neighbouring pieces are drawn together.
    Those that go far aside are kept apart: where one tensor has thousands of readers, all of them cross the view.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        boxes = layout.boxes
        self.box_of_row = np.argsort(layout.y, kind="stable")
        self.row_of_box = np.empty_like(self.box_of_row)
        self.row_of_box[self.box_of_row] = np.arange(len(self.box_of_row))
        order = self.box_of_row
        self.x, self.y = layout.x[order], layout.y[order]
        self.half_w, self.half_h = boxes.width[order] / 2, boxes.height[order] / 2
        self.tallest = float(self.half_h.max()) if len(order) else 0.0
        self._take_texts()
        self.lane = self._lanes()
        self._cut_edges()
        left, top, right, bottom = layout.bounds()
        self.bounds = View(left - MARGIN_PX, top - MARGIN_PX, right + MARGIN_PX, bottom + MARGIN_PX)

    def __len__(self) -> int:
        """How many boxes there are."""
        return len(self.x)

    def retell(self, layout: Layout) -> None:
        """Take over the texts of a layout that has the same boxes and edges in the same places."""
        self.layout = layout
        self._take_texts()

    def rows_between(self, top: float, bottom: float) -> tuple[int, int]:
        """The range of rows that may touch y in top..bottom."""
        first = int(np.searchsorted(self.y, top - self.tallest))
        return first, int(np.searchsorted(self.y, bottom + self.tallest, "right"))

    def rows_in(self, view: View) -> Rows:
        """The rows that touch a rectangle."""
        first, last = self.rows_between(view.top, view.bottom)
        x, half = self.x[first:last], self.half_w[first:last]
        return np.flatnonzero((x + half >= view.left) & (x - half <= view.right)) + first

    def row_at(self, x: float, y: float) -> int:
        """The row whose box covers a point, -1 for none."""
        first, last = self.rows_between(y, y)
        inside = (np.abs(self.x[first:last] - x) <= self.half_w[first:last]) & (
            np.abs(self.y[first:last] - y) <= self.half_h[first:last]
        )
        found = np.flatnonzero(inside)
        return int(found[0]) + first if len(found) else -1

    def nearest_row(self, x: float, y: float) -> int:
        """The row whose centre is nearest to a point, -1 in an empty scene."""
        if not len(self):
            return -1
        return int(np.argmin((self.x - x) ** 2 + (self.y - y) ** 2))

    def blocks_in(self, view: View) -> list[int]:
        """Blocks of edge pieces that touch a rectangle."""
        b = self._block_box
        hit = (
            (b[:, 0] <= view.right)
            & (b[:, 2] >= view.left)
            & (b[:, 1] <= view.bottom)
            & (b[:, 3] >= view.top)
        )
        found: list[int] = np.flatnonzero(hit).tolist()
        return found

    def wide_in(self, view: View) -> Floats:
        """The pieces that go far aside and cross a rectangle, cut off beside it, so that what overlaps is one."""
        x0, y0, x1, y1, _ = self._wide.T
        seen = (y0 <= view.bottom) & (y1 >= view.top)
        seen &= (np.minimum(x0, x1) <= view.right) & (np.maximum(x0, x1) >= view.left)
        cut = self._wide[seen]
        for end in (0, 2):
            cut[:, end] = np.clip(cut[:, end], view.left - _BESIDE_PX, view.right + _BESIDE_PX)
        is_other = np.ones(len(cut), bool)
        is_other[1:] = (cut[1:] != cut[:-1]).any(1)
        found: Floats = cut[is_other]
        return found

    def trunks_in(self, view: View) -> Rows:
        """Vertical trunks that touch a rectangle."""
        begun = int(np.searchsorted(self.trunk_top, view.bottom, "right"))
        blocks = np.flatnonzero(self._trunk_reach[: -(-begun // BLOCK)] >= view.top)
        candidates = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
        candidates = candidates[candidates < begun]
        x = self.trunk_x[candidates]
        return candidates[(self.trunk_bottom[candidates] >= view.top) & (x >= view.left) & (x <= view.right)]

    def edge_points(self, edge: int) -> tuple[float, float, float, float, float, bool]:
        """Start x, y, end x, y, lane x (NaN for none) of an edge from top to bottom, and if it runs upwards."""
        boxes = self.layout.boxes
        source, target = int(self.row_of_box[boxes.source[edge]]), int(self.row_of_box[boxes.target[edge]])
        is_upward = self.y[source] > self.y[target]
        upper, lower = (target, source) if is_upward else (source, target)
        y0, y1 = self.y[upper] + self.half_h[upper], self.y[lower] - self.half_h[lower]
        return (
            float(self.x[upper]),
            float(y0),
            float(self.x[lower]),
            float(y1),
            float(self.lane[edge]),
            bool(is_upward),
        )

    def _take_texts(self) -> None:
        boxes, order = self.layout.boxes, self.box_of_row
        self.kind, self.label, self.detail = boxes.kind[order], boxes.label[order], boxes.detail[order]
        self.families, self.family = self._families()

    def _families(self) -> tuple[list[Family], NDArray[np.intp]]:
        labels = self.layout.boxes.labels
        families: list[Family] = []
        number: dict[Family, int] = {}

        def index(family: Family) -> int:
            if family not in number:
                number[family] = len(families)
                families.append(family)
            return number[family]

        of_label = np.array([index(family_of(text)) for text in labels] or [0], np.intp)
        family = of_label[self.label] if len(self.label) else np.zeros(0, np.intp)
        terminal = (self.kind == BoxKind.INPUT) | (self.kind == BoxKind.OUTPUT)
        if terminal.any():
            family[terminal] = index(TERMINAL)
        if (self.kind == BoxKind.GROUP).any():
            family[self.kind == BoxKind.GROUP] = index(GROUP)
        return families, family

    def _lanes(self) -> Floats:
        """Lanes, with long straight edges made lanes too so that every piece stays short."""
        layout = self.layout
        lane = layout.lane.copy()
        source, target = layout.boxes.source, layout.boxes.target
        length = np.abs(layout.y[source] - layout.y[target]) if len(source) else np.zeros(0)
        long = np.isnan(lane) & (length > 8 * ROW_GAP_PX)
        lane[long] = layout.x[source[long]]
        return lane

    def _cut_edges(self) -> None:
        boxes = self.layout.boxes
        source, target = self.row_of_box[boxes.source], self.row_of_box[boxes.target]
        upward = self.y[source] > self.y[target]
        upper, lower = np.where(upward, target, source), np.where(upward, source, target)
        ax, ay = self.x[upper], self.y[upper] + self.half_h[upper]
        bx, by = self.x[lower], self.y[lower] - self.half_h[lower]
        arrow = np.where(upward, 0.0, 1.0)
        direct = np.isnan(self.lane)
        laned = np.flatnonzero(~direct)
        key = upper[laned].astype(np.float64) * 2.0**24 + np.round(self.lane[laned])
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
        heads = laned[first]
        self._index_trunks(heads, which, laned, ay, by)
        x = self.lane
        pieces = np.concatenate(
            [
                np.stack([ax, ay, bx, by, arrow], 1)[direct],
                np.stack([ax, ay, x, ay + BEND_PX, np.zeros(len(ax))], 1)[heads],
                np.stack([x, by - BEND_PX, bx, by, arrow], 1)[laned],
            ]
        )
        is_wide = np.abs(pieces[:, 2] - pieces[:, 0]) > _WIDE_PX
        wide, self.pieces = pieces[is_wide], pieces[~is_wide]
        self._wide = wide[
            np.lexsort((wide[:, 2], wide[:, 0], wide[:, 1]))
        ]  # what is cut off alike is in a row
        self._index_pieces()

    def _index_trunks(self, heads: Rows, which: Rows, laned: Rows, ay: Floats, by: Floats) -> None:
        top, bottom = ay[heads] + BEND_PX, np.full(len(heads), -np.inf)
        np.maximum.at(bottom, which, by[laned] - BEND_PX)
        order = np.argsort(top, kind="stable")
        self.trunk_x, self.trunk_top, self.trunk_bottom = self.lane[heads][order], top[order], bottom[order]
        starts = np.arange(0, len(order), BLOCK)
        self._trunk_reach = np.maximum.reduceat(self.trunk_bottom, starts) if len(order) else np.zeros(0)

    def _index_pieces(self) -> None:
        """Sort pieces into bands of y and by x inside, so that blocks of neighbours are small on screen."""
        band = np.floor(self.pieces[:, 1] / _BAND_PX)
        self.pieces = self.pieces[np.lexsort((self.pieces[:, 0], band))]
        starts = np.arange(0, len(self.pieces), BLOCK)
        if not len(starts):
            self._block_box = np.zeros((0, 4))
            return
        p = self.pieces
        self._block_box = np.stack(
            [
                np.minimum.reduceat(np.minimum(p[:, 0], p[:, 2]), starts),
                np.minimum.reduceat(p[:, 1], starts),
                np.maximum.reduceat(np.maximum(p[:, 0], p[:, 2]), starts),
                np.maximum.reduceat(p[:, 3], starts),
            ],
            1,
        )
