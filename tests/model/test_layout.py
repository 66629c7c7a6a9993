"""The layout: nothing overlaps, whatever the graph; the same every time; saved and loaded as plain arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgestudio.model.graph import Graph, Node, Tensor
from edgestudio.model.picture.boxes import Boxes, BoxKind, build_boxes, redescribed
from edgestudio.model.picture.lanes import Floats, Ints, place
from edgestudio.model.picture.layout import Layout, lay_out


@st.composite
def any_edges(draw: st.DrawFn) -> tuple[Floats, Floats, Ints, Ints]:
    """Boxes of any size with any edges between them, cycles included."""
    count = draw(st.integers(1, 30))
    size = st.floats(10, 300, allow_nan=False)
    width = np.array(draw(st.lists(size, min_size=count, max_size=count)))
    height = np.array(draw(st.lists(size, min_size=count, max_size=count)))
    end = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(end, end).filter(lambda e: e[0] != e[1]), max_size=80, unique=True))
    ends = np.array(edges, np.int32).reshape(-1, 2)
    return width, height, ends[:, 0].copy(), ends[:, 1].copy()


def overlaps(x: Floats, y: Floats, width: Floats, height: Floats) -> list[tuple[int, int]]:
    """Pairs of boxes that cover common ground."""
    near_x = np.abs(x[:, None] - x[None, :]) < (width[:, None] + width[None, :]) / 2 - 1e-6
    near_y = np.abs(y[:, None] - y[None, :]) < (height[:, None] + height[None, :]) / 2 - 1e-6
    return [(int(a), int(b)) for a, b in np.argwhere(near_x & near_y) if a < b]


@settings(max_examples=200)
@given(any_edges())
def test_no_two_boxes_overlap_in_any_graph(drawn: tuple[Floats, Floats, Ints, Ints]) -> None:
    width, height, source, target = drawn
    placed = place(width, height, source, target)
    assert overlaps(placed.x, placed.y, width, height) == []


@settings(max_examples=100)
@given(any_edges())
def test_no_lane_runs_through_a_box(drawn: tuple[Floats, Floats, Ints, Ints]) -> None:
    width, height, source, target = drawn
    placed = place(width, height, source, target)
    for edge in np.flatnonzero(~np.isnan(placed.lane)).tolist():
        low, high = sorted((int(placed.rank[source[edge]]), int(placed.rank[target[edge]])))
        between = (placed.rank > low) & (placed.rank < high)
        inside = np.abs(placed.x - placed.lane[edge]) < width / 2 - 1e-6
        assert not (between & inside).any()


@settings(max_examples=50)
@given(any_edges())
def test_placing_twice_gives_the_same(drawn: tuple[Floats, Floats, Ints, Ints]) -> None:
    first, second = place(*drawn), place(*drawn)
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.y, second.y)
    np.testing.assert_array_equal(first.lane, second.lane)


def chain_with_skip() -> Graph:
    """input -> Conv -> Relu -> Add(with the Conv) -> output, beside a constant that is computed."""
    tensors = (
        Tensor("image", "float32", (1, 3, 8, 8), "input"),
        Tensor("w", "float32", (4, 3, 3, 3), "constant"),
        Tensor("a", "float32", (1, 4, 8, 8)),
        Tensor("b", "float32", (1, 4, 8, 8)),
        Tensor("c", "float32", (1, 4, 8, 8), "output"),
        Tensor("folded", "float32", (1,)),
    )
    nodes = (
        Node("const", "Constant", (), (5,)),
        Node("conv", "Conv", (0, 1), (2,), {"kernel_shape": [3, 3], "strides": [2, 2]}),
        Node("relu", "Relu", (2,), (3,)),
        Node("add", "Add", (2, 3), (4,)),
        Node("scale", "Mul", (5, 5), ()),
    )
    return Graph("toy", nodes, tensors, (0,), (4,))


def test_edges_run_downwards_from_input_to_output() -> None:
    layout = lay_out(chain_with_skip())
    y = layout.y
    assert (y[layout.boxes.source] < y[layout.boxes.target]).all()
    assert layout.boxes.kind[np.argmin(y)] == BoxKind.INPUT
    assert layout.boxes.kind[np.argmax(y)] == BoxKind.OUTPUT


def test_constant_subgraphs_are_folded_and_terminals_drawn() -> None:
    boxes = build_boxes(chain_with_skip())
    drawn = [(BoxKind(k).name, boxes.labels[i]) for k, i in zip(boxes.kind, boxes.label, strict=True)]
    assert drawn == [
        ("INPUT", "image"), ("OPERATOR", "Conv"), ("OPERATOR", "Relu"), ("OPERATOR", "Add"), ("OUTPUT", "c"),
    ]  # fmt: skip
    assert boxes.folded == 2
    assert boxes.details[boxes.detail[1]] == "3×3/2  1×4×8×8"


def test_redescribed_boxes_are_those_of_the_later_reading() -> None:
    known = chain_with_skip()
    unknown = replace(known, tensors=tuple(replace(t, shape=None) for t in known.tensors))
    early, expected = build_boxes(unknown), build_boxes(known)
    found = redescribed(early, known)
    assert _details(found) == _details(expected) != _details(early)
    assert found.source is early.source


def test_boxes_share_the_columns_that_they_have_in_common() -> None:
    one, other = build_boxes(chain_with_skip()), build_boxes(chain_with_skip())
    shared = replace(one, ref=one.ref + 1).sharing(other)
    assert shared.ref is not other.ref
    assert all(
        getattr(shared, name) is getattr(other, name)
        for name in ("kind", "label", "source", "names", "labels")
    )


def _details(boxes: Boxes) -> list[str]:
    return [boxes.details[index] for index in boxes.detail.tolist()]


def test_a_graph_of_constants_only_is_still_shown() -> None:
    graph = Graph("c", (Node("k", "Constant", (), (0,)),), (Tensor("k", kind="output"),), (), (0,))
    assert len(build_boxes(graph)) == 2


def test_an_empty_graph_has_an_empty_layout(tmp_path: Path) -> None:
    layout = lay_out(Graph("", (), (), (), ()))
    layout.save(tmp_path / "empty.npz")
    assert len(Layout.load(tmp_path / "empty.npz")) == 0
    assert layout.bounds() == (0.0, 0.0, 0.0, 0.0)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    layout = lay_out(chain_with_skip())
    layout.save(tmp_path / "layout.npz")
    loaded = Layout.load(tmp_path / "layout.npz")
    for column in ("x", "y", "lane"):
        np.testing.assert_array_equal(getattr(layout, column), getattr(loaded, column))
    for column in ("kind", "ref", "label", "detail", "source", "target", "tensor"):
        np.testing.assert_array_equal(getattr(layout.boxes, column), getattr(loaded.boxes, column))
    assert loaded.boxes.labels == layout.boxes.labels
    assert loaded.boxes.folded == 2


@pytest.mark.parametrize("damage", ["truncated", "foreign", "out of range", "pickle"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "layout.npz"
    lay_out(chain_with_skip()).save(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "foreign":
        np.savez(path, something=np.zeros(3))
    else:
        with np.load(path) as arrays:
            columns = dict(arrays)
        columns["target"] = np.array(
            [99] * len(columns["target"]), object if damage == "pickle" else np.int32
        )
        np.savez(path, **columns)
    with pytest.raises(ValueError, match=r"layout\.npz"):
        Layout.load(path)


def test_long_graphs_are_placed_without_recursion() -> None:
    count = 20_000
    source, target = np.arange(count - 1, dtype=np.int32), np.arange(1, count, dtype=np.int32)
    placed = place(np.full(count, 80.0), np.full(count, 40.0), source, target)
    assert (np.diff(placed.y) > 40).all()
    assert len(set(placed.x.tolist())) == 1
