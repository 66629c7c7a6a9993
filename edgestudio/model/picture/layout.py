"""The drawn shape of a graph: where every box and edge lies, made in a worker and loaded by the window."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgestudio.model.graph import Graph
from edgestudio.model.picture.boxes import Boxes, BoxKind, Names, build_boxes
from edgestudio.model.picture.groups import Hierarchy
from edgestudio.model.picture.lanes import Floats, Ints, place

_SCHEMA = 1
_TEXTS = ("labels", "details")
_BOX_COLUMNS = ("kind", "ref", "label", "detail", "width", "height", "x", "y")
_EDGE_COLUMNS = ("source", "target", "tensor", "lane")


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes with the centres `x` and `y` in pixels, and per edge the x of its vertical lane.

    A NaN lane is a direct edge. An edge whose source lies below its target closes a cycle, as collapsed
    groups can make them.
    """

    boxes: Boxes
    x: Floats
    y: Floats
    lane: Floats

    def __len__(self) -> int:
        """How many boxes there are."""
        return len(self.boxes)

    @property
    def nodes(self) -> int:
        """How many operators there are, those included that were folded or lie in a group."""
        return int((self.boxes.kind == BoxKind.OPERATOR).sum()) + self.boxes.folded

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom around all boxes and lanes, in pixels; zeros for an empty graph."""
        if not len(self):
            return (0.0, 0.0, 0.0, 0.0)
        half_w, half_h = self.boxes.width / 2, self.boxes.height / 2
        lanes = self.lane[~np.isnan(self.lane)]
        left, right = float((self.x - half_w).min()), float((self.x + half_w).max())
        if len(lanes):
            left, right = min(left, float(lanes.min())), max(right, float(lanes.max()))
        return left, float((self.y - half_h).min()), right, float((self.y + half_h).max())

    def boxes_of_nodes(self, count: int) -> Ints:
        """The box of each of the graph's `count` nodes that has one of its own, -1 for the others."""
        found = np.full(count, -1, np.int32)
        own = np.flatnonzero(self.boxes.kind == BoxKind.OPERATOR)
        found[self.boxes.ref[own]] = own
        return found

    def save(self, path: Path) -> None:
        """Write it as plain arrays."""
        columns = {name: getattr(self.boxes, name) for name in (*_BOX_COLUMNS[:6], *_EDGE_COLUMNS[:3])}
        texts = {name: np.array(getattr(self.boxes, name) or ("",), np.str_) for name in _TEXTS}
        names = self.boxes.names
        if names is not None:
            columns |= {"names": np.frombuffer(names.text, np.uint8), "name_stop": names.stop}
        np.savez(
            path,
            allow_pickle=False,
            schema=np.array([_SCHEMA, self.boxes.folded]),
            x=self.x,
            y=self.y,
            lane=self.lane,
            **columns,
            **texts,
        )

    @classmethod
    def load(cls, path: Path) -> Layout:
        """Read what `save` wrote; raises ValueError on anything else."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                data = {name: arrays[name] for name in arrays.files}
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path.name} is not a saved layout, or was cut short.") from error
        wanted = {"schema", *_TEXTS, *_BOX_COLUMNS, *_EDGE_COLUMNS}
        if wanted - data.keys() or int(data["schema"][0]) != _SCHEMA:
            raise ValueError(f"{path.name} is not a layout saved by this version")
        _check(data, path.name)
        boxes = Boxes(
            kind=data["kind"],
            ref=data["ref"],
            labels=tuple(data["labels"].tolist()),
            label=data["label"],
            details=tuple(data["details"].tolist()),
            detail=data["detail"],
            width=data["width"],
            height=data["height"],
            source=data["source"],
            target=data["target"],
            tensor=data["tensor"],
            folded=int(data["schema"][1]),
            names=Names(data["names"].tobytes(), data["name_stop"]) if "names" in data else None,
        )
        return cls(boxes, data["x"], data["y"], data["lane"])


def lay_out(
    graph: Graph, hierarchy: Hierarchy | None = None, collapsed: frozenset[int] = frozenset()
) -> Layout:
    """Lay out `graph`, with the groups of `hierarchy` in `collapsed` drawn as one box each; linear in its size."""
    if hierarchy is None or not collapsed:
        return lay_out_boxes(build_boxes(graph))
    titles = {index: hierarchy.groups[index].title for index in collapsed}
    return lay_out_boxes(build_boxes(graph, hierarchy.covering(collapsed), titles))


def lay_out_boxes(boxes: Boxes) -> Layout:
    """Lay out boxes that are already built."""
    placement = place(boxes.width, boxes.height, boxes.source, boxes.target)
    return Layout(boxes, placement.x, placement.y, placement.lane)


def _check(data: dict[str, np.ndarray], name: str) -> None:
    """Refuse columns that disagree: whatever loads is safe to index with."""
    count, edges = len(data["kind"]), len(data["source"])
    lengths_agree = all(data[c].shape == (count,) for c in _BOX_COLUMNS)
    lengths_agree = lengths_agree and all(data[c].shape == (edges,) for c in _EDGE_COLUMNS)
    tables = (
        ("label", len(data["labels"])),
        ("detail", len(data["details"])),
        ("source", count),
        ("target", count),
    )
    if not lengths_agree or any(
        data[c].size and (data[c].dtype.kind != "i" or data[c].min() < 0 or data[c].max() >= size)
        for c, size in tables
    ):
        raise ValueError(f"{name} is damaged: its columns do not fit together")
    if "names" in data:
        stops, operators = data.get("name_stop", np.zeros(0)), int((data["kind"] == BoxKind.OPERATOR).sum())
        fits = stops.shape == (operators,) and stops.dtype.kind == "i" and data["names"].dtype == np.uint8
        if not fits or (
            operators and (stops[0] < 0 or (np.diff(stops) < 0).any() or stops[-1] > data["names"].size)
        ):
            raise ValueError(f"{name} is damaged: its names do not fit its boxes")
    if not (np.isfinite(data["x"]).all() and np.isfinite(data["y"]).all()):
        raise ValueError(f"{name} is damaged: a box has no place")
