"""Numbers or words per node as colours: the ramp, its legend's ticks, and the overlays that every model offers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.model.graph import Graph
from edgestudio.model.node_values import NodeValues, by_node, read_values
from edgestudio.model.query import parameters
from edgestudio.wire.errors import InputError

# Cividis: told apart by lightness alone, the same to every kind of colour vision (Nuñez et al., 2018).
RAMP = ("#00224e", "#1d3b6e", "#434e6c", "#61636d", "#7d7c78", "#9c9574", "#bcae6c", "#dec95c", "#fee838")
# The same lightness from end to end, begun where it can be seen on a dark ground.
RAMP_ON_DARK = (
    "#43659e", "#596f98", "#6d7a90", "#828682", "#999474", "#b0a56c", "#c9b860", "#e2cf4e", "#fee838",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """One number per node of a graph, NaN where there is none. `is_log` spreads it by orders of magnitude.

    With `words`, the numbers are places among these, such as the units that nodes run on.
    """

    title: str
    unit: str
    values: NDArray[np.float64]
    is_log: bool = False
    words: tuple[str, ...] = ()

    def range(self) -> tuple[float, float] | None:
        """Smallest and largest value; None when no node has one."""
        known = self.values[np.isfinite(self.values)]
        return (float(known.min()), float(known.max())) if len(known) else None

    def positions(self) -> NDArray[np.float64]:
        """Each value's place on the ramp in 0..1, NaN where there is none."""
        limits = self.range()
        if limits is None:
            return np.full(len(self.values), np.nan)
        low, high = (0.0, float(len(self.words) - 1)) if self.words else limits
        values = self.values
        if self.is_log and low >= 0:
            values, low, high = np.log1p(values), math.log1p(low), math.log1p(high)
        placed: NDArray[np.float64] = (values - low) / (high - low) if high > low else values * 0.0 + 0.5
        return placed

    def counts(self) -> list[tuple[str, float, int]]:
        """Each word with its place on the ramp, and how many nodes have it."""
        last = max(1, len(self.words) - 1)
        known = self.values[np.isfinite(self.values)].astype(int)
        count = np.bincount(known, minlength=len(self.words)).tolist()
        ends = [0.5] if len(self.words) == 1 else [index / last for index in range(len(self.words))]
        return list(zip(self.words, ends, count, strict=True))

    def text(self, value: float) -> str:
        """A value with its unit, three digits."""
        if not math.isfinite(value):
            return ""
        if self.words:
            return self.words[round(value)]
        for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= factor and self.unit != "ms":
                return f"{value / factor:.3g} {prefix}{self.unit}".rstrip()
        return f"{value:.3g} {self.unit}".rstrip()


def ramp_rgb(positions: NDArray[np.float64], ramp: tuple[str, ...] = RAMP) -> NDArray[np.uint8]:
    """Colours (n, 3) for places in 0..1; NaN comes out as the ramp's start and must be masked by the caller."""
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in ramp], np.float64)
    at = np.clip(np.nan_to_num(positions), 0, 1)
    stops = np.linspace(0, 1, len(anchors))
    channels = [np.interp(at, stops, anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def built_in(graph: Graph) -> list[Overlay]:
    """What any model can show: multiply-accumulates, weights, and the size of what each node writes."""
    macs = [math.nan if node.macs is None else float(node.macs) for node in graph.nodes]
    weights = [float(parameters(graph, node)) for node in graph.nodes]
    written = []
    for node in graph.nodes:
        sizes = [graph.tensors[t].size_bytes for t in node.outputs if t >= 0]
        known = [size for size in sizes if size is not None]
        written.append(float(sum(known)) if known else math.nan)
    offered = [
        Overlay("MACs", "", np.array(macs), is_log=True),
        Overlay("Parameters", "", np.array(weights), is_log=True),
        Overlay("Output size", "B", np.array(written), is_log=True),
    ]
    return [overlay for overlay in offered if overlay.range() not in (None, (0.0, 0.0))]


def read_overlays(path: Path, graph: Graph) -> list[Overlay]:
    """The overlays of a file, one a column, see `model.node_values`; raises InputError when none fits the graph."""
    found = read_values(path)
    fitting = []
    for each in found:
        with suppress(InputError):
            fitting.append(overlay_of(graph, each))
    if not fitting:
        count = len({name for each in found for name in each.values})
        raise InputError(
            f"None of the {count} names in {path.name} is a node of this graph.",
            hint="The names must be those that the layer table shows, or of tensors that the nodes write.",
        )
    return fitting


def overlay_of(graph: Graph, found: NodeValues) -> Overlay:
    """Numbers or words by the names of nodes as an overlay; raises InputError when no name is one of this graph."""
    values = by_node(graph, found.values)
    if all(value is None for value in values):
        raise InputError(
            f"None of the {len(found.values)} measured operators is a node of this graph.",
            hint="The runtime has rewritten the graph; the numbers are in the job's result.",
        )
    if not found.is_words:
        return Overlay(
            found.title, found.unit, np.array([math.nan if v is None else v for v in values], float)
        )
    words = tuple(sorted({str(value) for value in values if value is not None}))
    places = [math.nan if value is None else float(words.index(str(value))) for value in values]
    return Overlay(found.title, "", np.array(places), words=words)


def weight_sparsity(graph: Graph, tensors: Iterable[Mapping[str, Any]]) -> Overlay:
    """The share of zeros among each node's weights, from the statistics of all weights; in percent."""
    known = {str(row["name"]): (int(row["zeros"]), int(row["count"])) for row in tensors}
    values = np.full(len(graph.nodes), math.nan)
    for index, node in enumerate(graph.nodes):
        names = (graph.tensors[t].name for t in node.inputs if t >= 0 and graph.tensors[t].kind == "constant")
        found = [known[name] for name in names if name in known]
        total = sum(count for _, count in found)
        if total:
            values[index] = 100.0 * sum(zeros for zeros, _ in found) / total
    return Overlay("Weight sparsity", "%", values)
