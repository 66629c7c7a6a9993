"""Places boxes in layers in linear time: vertical paths, one lane per tensor for its long edges, contour packing.

The steps: longest-path ranks, with sources pulled down to their first reader; a split into vertical paths
along the edges that both ends prefer; one bus lane per box for all of its long edges, so that an edge costs
the same however far it reaches; then every path and bus is packed beside the path it hangs on, short ones
nearest. Edges that close a cycle are turned around for the placement. The result depends on nothing but the
arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

COLUMN_GAP_PX = 28.0
ROW_GAP_PX = 30.0
BUS_WIDTH_PX = 10.0
_SMALL_CONTOUR = 2000
"""Below this many contour cells, plain lists are faster than numpy's overhead per call."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Centres of the boxes in pixels, and per edge the x of its vertical lane (NaN for a direct edge)."""

    x: Floats
    y: Floats
    lane: Floats
    rank: Ints


@dataclass(slots=True)
class _Links:
    """Adjacency as compressed rows: the neighbours of `u` are `to[start[u]:start[u + 1]]`."""

    start: list[int]
    to: list[int]


@dataclass(slots=True)
class _Columns:
    """Vertical strips that are packed: paths of boxes first, bus lanes after them."""

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    low: list[int] = field(default_factory=list)
    high: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)


def place(width: Floats, height: Floats, source: Ints, target: Ints) -> Placement:
    """Place `n` boxes of the given sizes; edges run from `source[i]` to `target[i]` and never to themselves."""
    count = len(width)
    if count == 0:
        empty = np.zeros(0)
        return Placement(empty, empty, np.zeros(len(source)), np.zeros(0, np.int32))
    order, position = _execution_order(count, source, target)
    turned = position[source] > position[target]
    upper, lower = np.where(turned, target, source), np.where(turned, source, target)
    down, up = _links(count, upper, lower), _links(count, lower, upper)
    rank, reach = _ranks(order, down, up)
    path_of, columns, below, above = _paths(rank, reach, down, up, width.tolist())
    buses = _add_buses(rank, path_of, columns, below, above, down)
    column_x = _pack(columns)
    x = np.array(column_x)[np.array(path_of)]
    ranks = np.array(rank, np.int32)
    lane = _lanes(upper.tolist(), lower.tolist(), rank, path_of, columns, below, above, buses, column_x)
    return Placement(x, _rows(ranks, height), lane, ranks)


def _links(count: int, source: Ints, target: Ints) -> _Links:
    start = np.zeros(count + 1, np.int64)
    start[1:] = np.cumsum(np.bincount(source, minlength=count))
    return _Links(start.tolist(), target[np.argsort(source, kind="stable")].tolist())


def _execution_order(count: int, source: Ints, target: Ints) -> tuple[list[int], Ints]:
    """Topological order; inside a cycle the box with the lowest number goes first, whatever still feeds it."""
    if bool((source < target).all()):
        return list(range(count)), np.arange(count, dtype=np.int32)
    down = _links(count, source, target)
    waiting = np.bincount(target, minlength=count).tolist()
    order = [box for box in range(count) if waiting[box] == 0]
    cursor = oldest = 0
    while len(order) < count or cursor < len(order):
        if cursor == len(order):
            while waiting[oldest] <= 0:
                oldest += 1
            waiting[oldest] = 0
            order.append(oldest)
        box = order[cursor]
        cursor += 1
        for other in down.to[down.start[box] : down.start[box + 1]]:
            if waiting[other] > 0:
                waiting[other] -= 1
                if waiting[other] == 0:
                    order.append(other)
    position = np.empty(count, np.int32)
    position[order] = np.arange(count, dtype=np.int32)
    return order, position


def _ranks(order: list[int], down: _Links, up: _Links) -> tuple[list[int], list[int]]:
    """Row of each box, and how many rows lie below it on its longest way to an end."""
    rank, reach = [0] * len(order), [0] * len(order)
    start, to = down.start, down.to
    for box in order:
        next_row = rank[box] + 1
        for other in to[start[box] : start[box + 1]]:
            if rank[other] < next_row:
                rank[other] = next_row
    for box in reversed(order):
        readers = to[start[box] : start[box + 1]]
        if readers:
            reach[box] = 1 + max([reach[other] for other in readers])
            if up.start[box] == up.start[box + 1]:
                rank[box] = min([rank[other] for other in readers]) - 1
    return rank, reach


def _preferred(links: _Links, score: list[int]) -> list[int]:
    """Per box its neighbour with the highest score, the first of equals; -1 without neighbours."""
    start, to = links.start, links.to
    best = []
    for box in range(len(score)):
        neighbours = to[start[box] : start[box + 1]]
        if not neighbours:
            best.append(-1)
        elif len(neighbours) == 1:
            best.append(neighbours[0])
        else:
            best.append(max(neighbours, key=score.__getitem__))
    return best


def _paths(
    rank: list[int], reach: list[int], down: _Links, up: _Links, width: list[float]
) -> tuple[list[int], _Columns, list[int], list[int]]:
    """Split into vertical paths: an edge stays inside one if both of its ends prefer it."""
    below, above = _preferred(down, reach), _preferred(up, rank)
    columns, path_of = _Columns(), [-1] * len(rank)
    for box in np.argsort(np.array(rank), kind="stable").tolist():
        over = above[box]
        if over >= 0 and below[over] == box:
            path = path_of[over]
            columns.last[path] = box
            columns.width[path] = max(columns.width[path], width[box])
        else:
            path = len(columns.first)
            columns.first.append(box)
            columns.last.append(box)
            columns.width.append(width[box])
        path_of[box] = path
    for path, (first, last) in enumerate(zip(columns.first, columns.last, strict=True)):
        low, high, parent = rank[first], rank[last], -1
        if above[first] >= 0:
            parent = path_of[above[first]]
            low = min(low, rank[above[first]] + 1)
        elif below[last] >= 0:
            parent = path_of[below[last]]  # a path of constants hangs on what it feeds
        if below[last] >= 0:
            high = max(high, rank[below[last]] - 1)
        columns.low.append(low)
        columns.high.append(high)
        columns.parent.append(parent if parent != path else -1)
    return path_of, columns, below, above


def _needs_bus(
    u: int, v: int, rank: list[int], path_of: list[int], columns: _Columns, below: list[int], above: list[int]
) -> bool:
    """True for an edge that is long and that no path already makes room for."""
    if path_of[u] == path_of[v]:
        return above[v] != u
    if rank[v] - rank[u] <= 1:
        return False
    enters = columns.first[path_of[v]] == v and above[v] == u
    leaves = columns.last[path_of[u]] == u and below[u] == v
    return not (enters or leaves)


def _add_buses(
    rank: list[int], path_of: list[int], columns: _Columns, below: list[int], above: list[int], down: _Links
) -> dict[int, int]:
    """Append one bus column for each box with long edges; returns box to column."""
    buses: dict[int, int] = {}
    for u in range(len(rank)):
        deepest = -1
        for v in down.to[down.start[u] : down.start[u + 1]]:
            if rank[v] > deepest and _needs_bus(u, v, rank, path_of, columns, below, above):
                deepest = rank[v]
        if deepest >= 0:
            buses[u] = len(columns.low)
            columns.low.append(rank[u] + 1)
            columns.high.append(max(deepest - 1, rank[u] + 1))
            columns.width.append(BUS_WIDTH_PX)
            columns.parent.append(path_of[u])
    return buses


def _depths(parent: list[int]) -> list[int]:
    """Depth of each column in the tree of parents; a ring of parents is cut open in place."""
    depth = [-1] * len(parent)
    for column in range(len(parent)):
        chain: list[int] = []
        seen: set[int] = set()
        x = column
        while x >= 0 and depth[x] < 0 and x not in seen:
            seen.add(x)
            chain.append(x)
            x = parent[x]
        if x >= 0 and depth[x] < 0:
            parent[chain[-1]] = -1
            x = -1
        level = depth[x] if x >= 0 else -1
        for y in reversed(chain):
            level += 1
            depth[y] = level
    return depth


def _pack(columns: _Columns) -> list[float]:
    """Centre x of every column, children beside their parent and roots side by side."""
    count = len(columns.low)
    depth = _depths(columns.parent)
    children: dict[int, list[int]] = {}
    for column in range(count):
        children.setdefault(columns.parent[column], []).append(column)
    box: list[tuple[int, int, float, float]] = [(0, 0, 0.0, 0.0)] * count
    offset = [0.0] * count
    by_depth = sorted(range(count), key=depth.__getitem__)
    for column in reversed(by_depth):
        low, high = columns.low[column], max(columns.high[column], columns.low[column])
        half = columns.width[column] / 2
        hung = children.get(column)
        if hung:
            box[column] = _pack_around(low, high, half, hung, box, columns.width, offset)
        else:
            box[column] = (low, high, -half, half)
    x = [0.0] * count
    edge = 0.0
    for root in sorted(children.get(-1, []), key=lambda c: box[c][0] - box[c][1]):
        x[root] = edge - box[root][2]
        edge = x[root] + box[root][3] + 3 * COLUMN_GAP_PX
    for column in by_depth:
        if columns.parent[column] >= 0:
            x[column] = x[columns.parent[column]] + offset[column]
    return x


def _pack_around(
    low: int,
    high: int,
    half: float,
    hung: list[int],
    box: list[tuple[int, int, float, float]],
    width: list[float],
    offset: list[float],
) -> tuple[int, int, float, float]:
    """Put each child on the side where it comes nearest; returns rows and extents of the whole."""
    hung.sort(key=lambda c: box[c][1] - box[c][0])
    top = min(low, min([box[c][0] for c in hung]))
    rows = max(high, max([box[c][1] for c in hung])) - top + 1
    small = rows * len(hung) < _SMALL_CONTOUR
    left: list[float] | Floats = [0.0] * rows if small else np.zeros(rows)
    right: list[float] | Floats = [0.0] * rows if small else np.zeros(rows)
    _occupy(left, right, low - top, high - top + 1, -half, half)
    for child in hung:
        first, last, child_left, child_right = box[child]
        a, b = first - top, last - top + 1
        gap = COLUMN_GAP_PX if width[child] > BUS_WIDTH_PX else COLUMN_GAP_PX * 0.6
        to_right = _highest(right, a, b) + gap - child_left
        to_left = _lowest(left, a, b) - gap - child_right
        offset[child] = to_right if to_right <= -to_left + 1e-9 else to_left
        _occupy(left, right, a, b, offset[child] + child_left, offset[child] + child_right)
    return top, top + rows - 1, _lowest(left, 0, rows), _highest(right, 0, rows)


def _highest(values: Sequence[float] | Floats, a: int, b: int) -> float:
    part = values[a:b]
    return float(part.max()) if isinstance(part, np.ndarray) else max(part)


def _lowest(values: Sequence[float] | Floats, a: int, b: int) -> float:
    part = values[a:b]
    return float(part.min()) if isinstance(part, np.ndarray) else min(part)


def _occupy(
    left: list[float] | Floats, right: list[float] | Floats, a: int, b: int, west: float, east: float
) -> None:
    """Widen both contours in rows a..b to west and east."""
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        np.minimum(left[a:b], west, out=left[a:b])
        np.maximum(right[a:b], east, out=right[a:b])
        return
    for row in range(a, b):
        if west < left[row]:
            left[row] = west
        if east > right[row]:
            right[row] = east


def _lanes(
    upper: list[int],
    lower: list[int],
    rank: list[int],
    path_of: list[int],
    columns: _Columns,
    below: list[int],
    above: list[int],
    buses: dict[int, int],
    column_x: list[float],
) -> Floats:
    """Per edge the x of its vertical part; NaN where it runs straight from box to box."""
    lane = np.full(len(upper), np.nan)
    for edge, (u, v) in enumerate(zip(upper, lower, strict=True)):
        p, q = path_of[u], path_of[v]
        if rank[v] - rank[u] <= 1 or (p == q and above[v] == u):
            continue
        if p != q and columns.first[q] == v and above[v] == u:
            lane[edge] = column_x[q]
        elif p != q and columns.last[p] == u and below[u] == v:
            lane[edge] = column_x[p]
        else:
            lane[edge] = column_x[buses[u]]
    return lane


def _rows(rank: Ints, height: Floats) -> Floats:
    """Centre y of each box: rows are as high as their highest box."""
    tallest = np.zeros(int(rank.max()) + 1)
    np.maximum.at(tallest, rank, height)
    top = np.concatenate([[0.0], np.cumsum(tallest + ROW_GAP_PX)[:-1]])
    y: Floats = top[rank] + tallest[rank] / 2
    return y
