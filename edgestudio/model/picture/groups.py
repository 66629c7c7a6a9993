"""Finds the hierarchy of a graph: from scopes, from names, from its weights' names, or from repeated structure."""

from __future__ import annotations

import io
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgestudio.model.graph import Graph, Node
from edgestudio.model.picture.boxes import live_nodes
from edgestudio.model.picture.lanes import Ints

Origin = Literal["scopes", "names", "weights", "repeats", "none"]
Trail = tuple[str, ...]

_ENOUGH_NAMED = 0.3
_SHORTEST_PERIOD = 3
_PERIODS_TRIED = 12
_PERIODIC_SHARE = 0.5
"""A repeat that explains less of the graph than this is not worth a hierarchy."""


@dataclass(frozen=True, slots=True)
class Group:
    """One module: `parent` is the index of the group it lies in, -1 at the top; `size` counts all its nodes."""

    title: str
    parent: int
    level: int
    size: int


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Groups, parents before children, and per node the innermost group it lies in (-1 for none)."""

    groups: tuple[Group, ...]
    of_node: Ints
    origin: Origin

    def covering(self, collapsed: frozenset[int]) -> Ints:
        """Per node the outermost collapsed group around it, -1 where none is collapsed."""
        cover = [-1] * (len(self.groups) + 1)
        for index, group in enumerate(self.groups):
            outer = cover[group.parent] if group.parent >= 0 else -1
            cover[index] = outer if outer >= 0 else (index if index in collapsed else -1)
        return np.array(cover, np.int32)[self.of_node]

    def at_level(self, level: int) -> frozenset[int]:
        """The groups to collapse so that `level` levels of modules are open; 0 leaves only the outermost."""
        return frozenset(index for index, group in enumerate(self.groups) if group.level == level)

    def depth(self) -> int:
        """How many levels of modules there are."""
        return max((group.level + 1 for group in self.groups), default=0)

    def around(self, node: int) -> list[int]:
        """The groups around a node, outermost first."""
        chain: list[int] = []
        group = int(self.of_node[node])
        while group >= 0:
            chain.append(group)
            group = self.groups[group].parent
        return chain[::-1]


@dataclass(frozen=True, slots=True)
class _Packed:
    """Groups as a few large columns, `titles` end to end.

    The search for groups makes a million small objects. Whatever stays of them would each keep a page full of
    those that do not, for a large graph 20 MB: so the groups are made when all others are gone.
    """

    titles: str
    lengths: Ints
    parents: Ints
    levels: Ints
    sizes: Ints
    of_node: Ints
    origin: Origin

    def unpacked(self) -> Hierarchy:
        """The same with an object for each group."""
        text = io.StringIO(self.titles)
        columns = (column.tolist() for column in (self.lengths, self.parents, self.levels, self.sizes))
        groups = tuple(
            Group(text.read(length), parent, level, size)
            for length, parent, level, size in zip(*columns, strict=True)
        )
        return Hierarchy(groups, self.of_node, self.origin)


def find_groups(graph: Graph) -> Hierarchy:
    """The best hierarchy that the graph offers; deterministic, about linear in its size."""
    return _best(graph).unpacked()


def are_grouped_alike(one: Graph, other: Graph) -> bool:
    """True where `find_groups` finds the same for both: equal names, scopes, operators and connections."""
    if (len(one.nodes), len(one.tensors), one.inputs) != (len(other.nodes), len(other.tensors), other.inputs):
        return False
    return all(map(_is_in_the_same_place, one.nodes, other.nodes)) and all(
        a is b or (a.name == b.name and a.kind == b.kind)
        for a, b in zip(one.tensors, other.tensors, strict=True)
    )


def _is_in_the_same_place(one: Node, other: Node) -> bool:
    return one is other or (
        (one.name, one.op, one.scope) == (other.name, other.op, other.scope)
        and (one.inputs, one.outputs, one.subgraphs) == (other.inputs, other.outputs, other.subgraphs)
    )


def _best(graph: Graph) -> _Packed:
    sources: tuple[tuple[Origin, Callable[[], list[Trail]]], ...] = (
        ("scopes", lambda: [_slashed(node.scope) for node in graph.nodes]),
        ("names", lambda: [_slashed(node.name)[:-1] for node in graph.nodes]),
        ("weights", lambda: _weight_paths(graph)),
    )
    for origin, trails in sources:
        paths = trails()
        if sum(map(bool, paths)) > _ENOUGH_NAMED * max(1, len(paths)):
            found = _tree(paths, origin)
            if len(found.parents):
                return found
    return _tree(repeat_paths(graph), "repeats")


def _slashed(text: str) -> Trail:
    return tuple([sys.intern(part) for part in text.split("/") if part])  # a part is in memory once


def _weight_paths(graph: Graph) -> list[Trail]:
    """The module of each node's first weight, `enc.layers.0.attn.bias` giving enc / layers.0 / attn."""
    constants = {i for i, t in enumerate(graph.tensors) if t.kind == "constant"}
    paths: list[Trail] = []
    for node in graph.nodes:
        names = [graph.tensors[t].name for t in node.inputs if t in constants]
        dotted = next((name for name in names if name.count(".") >= 1 and not name[:1].isdigit()), "")
        parts: list[str] = []
        for part in dotted.split(".")[:-1]:
            if part.isdigit() and parts:
                parts[-1] += "." + part
            else:
                parts.append(part)
        if not parts and paths:
            paths.append(paths[-1])  # operators without weights stay with the module before them
        else:
            paths.append(tuple(parts))
    return paths


def _tree(paths: Sequence[Trail], origin: Origin) -> _Packed:
    """Groups of the path prefixes that hold two nodes or more; a level that adds nothing is left out."""
    size: Counter[Trail] = Counter()
    for path in paths:
        for end in range(1, len(path) + 1):
            size[path[:end]] += 1
    number: dict[Trail, int] = {}
    groups: list[Group] = []
    for path in size:  # insertion order puts parents before children
        parent = number.get(path[:-1], -1)
        around = size[path[:-1]] if len(path) > 1 else len(paths)
        if size[path] < 2 or size[path] == around:
            number[path] = parent
            continue
        number[path] = len(groups)
        level = groups[parent].level + 1 if parent >= 0 else 0
        groups.append(Group(path[-1], parent, level, size[path]))
    of_node = np.array([number.get(path, -1) for path in paths], np.int32)
    return _Packed(
        "".join(group.title for group in groups),
        np.array([len(group.title) for group in groups], np.int32),
        np.array([group.parent for group in groups], np.int32),
        np.array([group.level for group in groups], np.int32),
        np.array([group.size for group in groups], np.int32),
        of_node,
        origin if groups else "none",
    )


def repeat_paths(graph: Graph) -> list[Trail]:
    """Paths made from blocks that repeat one after the other in execution order."""
    shown = np.flatnonzero(live_nodes(graph))
    labels = _structure_labels(graph)[shown]
    count = len(labels)
    paths: list[Trail] = [()] * len(graph.nodes)
    covered = np.zeros(count, bool)
    found = 0
    for period in _periods(labels):
        same = np.zeros(count + 1, bool)
        same[: count - period] = labels[:-period] == labels[period:]
        bounds = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(np.int8), [0]])))
        for begin, end in bounds.reshape(-1, 2).tolist():
            copies = (end - begin) // period + 1
            if end - begin < period or covered[begin : begin + copies * period].any():
                continue
            found += 1
            covered[begin : begin + copies * period] = True
            for copy in range(copies):
                first = begin + copy * period
                block = (f"{copies} similar blocks ({found})", f"block {found}.{copy + 1}")
                for node in shown[first : first + period].tolist():
                    paths[node] = block
    return paths if count and covered.mean() >= _PERIODIC_SHARE else [()] * len(graph.nodes)


def _periods(labels: NDArray[np.uint64]) -> list[int]:
    """Candidate block lengths: the most frequent distances between equal labels."""
    last: dict[int, int] = {}
    gaps: Counter[int] = Counter()
    for position, label in enumerate(labels.tolist()):
        if label in last:
            gaps[position - last[label]] += 1
        last[label] = position
    longest = len(labels) // 2
    return [gap for gap, _ in gaps.most_common(_PERIODS_TRIED) if _SHORTEST_PERIOD <= gap <= longest]


def _structure_labels(graph: Graph) -> NDArray[np.uint64]:
    """One number per node from its operator and those around it (Weisfeiler-Lehman, two rounds)."""
    writers = graph.producers()
    pairs = [
        (writers[tensor], index)
        for index, node in enumerate(graph.nodes)
        for tensor in node.inputs
        if tensor in writers
    ]
    source, target = np.array(pairs, np.int64).reshape(-1, 2).T
    count = len(graph.nodes)
    operators = {op: zlib.crc32(re.sub(r"\d+$", "", op).encode()) for op in {n.op for n in graph.nodes}}
    labels = np.array([operators[node.op] for node in graph.nodes], np.uint64)
    labels = labels * np.uint64(31) + np.bincount(target, minlength=count).astype(np.uint64)
    readers = np.bincount(source, minlength=count)
    for _ in range(2):
        above, below = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
        np.add.at(above, target, labels[source] * np.uint64(1_000_003))
        np.add.at(below, source, labels[target] * np.uint64(998_244_353))
        below[readers > 8] = 0  # a tensor that everything reads says nothing about the block
        labels = labels * np.uint64(1_315_423_911) + above * np.uint64(7) + below * np.uint64(13)
    return labels
