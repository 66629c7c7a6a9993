"""Operators keep their identity through recipes: along a line, between siblings, and where names change hands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgestudio.model.compare.diff import compare
from edgestudio.model.compare.lineage import composed, related, renamed
from edgestudio.model.graph import Graph, Model, Node, Tensor


@dataclass(frozen=True)
class Row:
    parent: str | None = None
    recipe: str | None = None
    steps: tuple[Mapping[str, Any], ...] = ()


ROWS = {
    "source": Row(),
    "child": Row("source", "rename", ({"names": {"a": "t"}}, {"names": {"b": "a"}})),
    "grandchild": Row("child", "rename again", ({"names": {"a": "z"}},)),
    "sibling": Row("source", "int8", ({"pass": "int8-static"}, {"names": {"b": "q"}})),
    "stranger": Row(),
    "orphan": Row("gone", "rename", ({"names": {"a": "b"}},)),
}


def test_names_are_followed_down_up_and_across() -> None:
    get = ROWS.get
    down = related("source", "grandchild", get)
    assert down is not None
    assert (down.names, down.recipes, down.ancestor) == (
        {"a": "t", "b": "z"},
        ("rename", "rename again"),
        "source",
    )
    up = related("grandchild", "source", get)
    assert up is not None
    assert up.names == {"t": "a", "z": "b"}
    across = related("child", "sibling", get)
    assert across is not None
    assert (across.names, across.ancestor) == ({"t": "a", "a": "q"}, "source")
    assert related("source", "stranger", get) is None
    assert related("source", "orphan", get) is None
    assert related("source", "source", get) is None
    loop = {"x": Row("y"), "y": Row("x")}
    assert related("x", "z", loop.get) is None


def test_steps_follow_each_other() -> None:
    assert composed({"a": "b"}, {"b": "c", "x": "y"}) == {"a": "c", "x": "y"}
    assert composed({"a": "t"}, {"b": "a"}) == {"a": "t", "b": "a"}


def chain(*names: str) -> Model:
    """Activations of one kind and size, one after the other: nothing but their names tells them apart."""
    tensors = [Tensor("x", "float32", (1, 4), "input")]
    nodes = []
    for at, name in enumerate(names):
        tensors.append(Tensor(f"{name}.out", "float32", (1, 4)))
        nodes.append(Node(name, "Relu", (at,), (at + 1,)))
    return Model("onnx", None, None, {}, (Graph("", tuple(nodes), tuple(tensors), (0,), (len(names),)),), 0)


def test_a_name_that_changed_hands_is_not_trusted() -> None:
    before, after = chain("a", "b"), chain("t", "a")
    assert compare(before, after)["pairs"] == [[0, 1], [1, 0]]
    by_lineage = compare(before, after, names={"a": "t", "b": "a"})
    assert by_lineage["pairs"] == [[0, 0], [1, 1]]
    assert by_lineage["added"] == by_lineage["removed"] == []


def test_a_step_says_what_it_renamed() -> None:
    before, after = chain("a", "b").main, chain("t", "a").main
    assert renamed(before, after, {"a": "t", "b": "a"}) == {"a": "t", "b": "a"}
    assert renamed(before, before) == {}
