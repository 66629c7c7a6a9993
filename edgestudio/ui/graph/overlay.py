"""Numbers per node as colours: the ramp, its legend's ticks, and the overlays that every model offers."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.model.graph import Graph
from edgestudio.model.query import parameters
from edgestudio.wire.errors import InputError

# Cividis: told apart by lightness alone, the same to every kind of colour vision (Nuñez et al., 2018).
_RAMP = ("#00224e", "#1d3b6e", "#434e6c", "#61636d", "#7d7c78", "#9c9574", "#bcae6c", "#dec95c", "#fee838")


@dataclass(frozen=True, slots=True)
class Overlay:
    """One number per node of a graph, NaN where there is none. `is_log` spreads it by orders of magnitude."""

    title: str
    unit: str
    values: NDArray[np.float64]
    is_log: bool = False

    def range(self) -> tuple[float, float] | None:
        """Smallest and largest value; None when no node has one."""
        known = self.values[np.isfinite(self.values)]
        return (float(known.min()), float(known.max())) if len(known) else None

    def positions(self) -> NDArray[np.float64]:
        """Each value's place on the ramp in 0..1, NaN where there is none."""
        limits = self.range()
        if limits is None:
            return np.full(len(self.values), np.nan)
        low, high = limits
        values = self.values
        if self.is_log and low >= 0:
            values, low, high = np.log1p(values), math.log1p(low), math.log1p(high)
        placed: NDArray[np.float64] = (values - low) / (high - low) if high > low else values * 0.0 + 0.5
        return placed

    def text(self, value: float) -> str:
        """A value with its unit, three digits."""
        if not math.isfinite(value):
            return ""
        for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= factor and self.unit != "ms":
                return f"{value / factor:.3g} {prefix}{self.unit}".rstrip()
        return f"{value:.3g} {self.unit}".rstrip()


def ramp_rgb(positions: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours (n, 3) for places in 0..1; NaN comes out as the ramp's start and must be masked by the caller."""
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in _RAMP], np.float64)
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


def read_overlay(path: Path, graph: Graph) -> Overlay:
    """An overlay from a file: JSON `{node name: number}` or CSV rows of `name,number`; raises InputError."""
    try:
        text = path.read_text("utf-8")
        if path.suffix.lower() == ".json":
            pairs = {str(name): float(value) for name, value in json.loads(text).items()}
        else:
            pairs = dict(_csv_pairs(text))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path.name} cannot be read as numbers per node: {error}",
            hint='Use JSON such as {"node name": 1.5}, or CSV with a node\'s name and a number in each row.',
        ) from error
    values = np.array([pairs.get(node.name, math.nan) for node in graph.nodes], np.float64)
    if not np.isfinite(values).any():
        raise InputError(
            f"None of the {len(pairs)} names in {path.name} is a node of this graph.",
            hint="The names must be those that the layer table shows.",
        )
    return Overlay(path.stem, "", values)


def by_name(graph: Graph, title: str, unit: str, numbers: Mapping[str, float]) -> Overlay:
    """An overlay from numbers by the names of nodes, or of what they write, as runtimes call fused operators.

    Raises InputError when no name is one of this graph.
    """
    numbers = {_plain_name(name): value for name, value in numbers.items()}
    values = np.full(len(graph.nodes), math.nan)
    for index, node in enumerate(graph.nodes):
        written = (graph.tensors[t].name for t in node.outputs if t >= 0)
        found = [numbers[name] for name in dict.fromkeys((node.name, *written)) if name and name in numbers]
        if found:
            values[index] = sum(found)
    if not np.isfinite(values).any():
        raise InputError(
            f"None of the {len(numbers)} measured operators is a node of this graph.",
            hint="The runtime has rewritten the graph; the numbers are in the job's result.",
        )
    return Overlay(title, unit, values, is_log=False)


def _plain_name(name: str) -> str:
    """The name without what ONNX Runtime adds when it fuses operators or changes their layout."""
    return name.removeprefix("fused ").removesuffix("_nchwc").removesuffix("_quant")


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


def _csv_pairs(text: str) -> list[tuple[str, float]]:
    rows = [row for row in csv.reader(text.splitlines()) if len(row) >= 2]
    if rows and not _is_number(rows[0][-1]):
        rows = rows[1:]
    return [(row[0], float(row[-1])) for row in rows]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
