"""Hierarchy: found from the best source there is, collapsed by level, cycles and all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgestudio.model.graph import Graph, Node, Tensor
from edgestudio.model.picture.boxes import BoxKind
from edgestudio.model.picture.groups import are_grouped_alike, find_groups
from edgestudio.model.picture.layout import lay_out


def chain(*described: tuple[str, str, str]) -> Graph:
    """A chain of nodes given as (name, operator, scope)."""
    tensors = [Tensor("x", kind="input")] + [Tensor(f"t{i}") for i in range(len(described))]
    nodes = [Node(name, op, (i,), (i + 1,), scope=scope) for i, (name, op, scope) in enumerate(described)]
    return Graph("chain", tuple(nodes), tuple(tensors), (0,), (len(described),))


def encoder(layers: int) -> Graph:
    rows = [("embed", "Gather", "model")]
    for layer in range(layers):
        for part, op in (("q", "MatMul"), ("k", "MatMul"), ("soft", "Softmax")):
            rows.append((f"{part}{layer}", op, f"model/layers.{layer}/attn"))
        for part, op in (("up", "Gemm"), ("act", "Relu")):
            rows.append((f"{part}{layer}", op, f"model/layers.{layer}/mlp"))
    rows.append(("head", "Gemm", ""))
    return chain(*rows)


def test_scopes_make_a_tree_of_modules() -> None:
    found = find_groups(encoder(3))
    assert found.origin == "scopes"
    assert [g.title for g in found.groups if g.level == 1] == ["layers.0", "layers.1", "layers.2"]
    assert found.depth() == 3
    titles = [found.groups[g].title for g in found.around(1)]
    assert titles == ["model", "layers.0", "attn"]


def test_groups_depend_on_names_and_connections_not_on_what_becomes_known_later() -> None:
    graph = encoder(2)
    told = replace(graph, nodes=tuple(replace(node, macs=7) for node in graph.nodes))
    assert are_grouped_alike(told, graph)
    assert not are_grouped_alike(encoder(3), graph)
    for change in ({"name": "z"}, {"scope": "z"}, {"op": "Z"}, {"inputs": (0, 0)}):
        assert not are_grouped_alike(
            replace(graph, nodes=(*graph.nodes[:-1], replace(graph.nodes[-1], **change))), graph
        )


def test_titles_of_any_characters_and_lengths_stay_whole() -> None:
    titles = ["é", "a\nb\r\nc", "\0", "長い名前" * 9, "x"]
    found = find_groups(chain(*[(f"n{i}", "Add", titles[i // 2]) for i in range(10)]))
    assert [group.title for group in found.groups] == titles


def test_collapsing_by_level_keeps_the_rest() -> None:
    graph = encoder(3)
    found = find_groups(graph)
    boxes = lay_out(graph, found, found.at_level(1)).boxes
    drawn = [boxes.labels[i] for i in boxes.label.tolist()]
    assert drawn == ["x", "Gather", "layers.0", "layers.1", "layers.2", "Gemm", "t16"]
    assert boxes.details[boxes.detail[2]] == "5 nodes"


def test_an_outer_group_covers_the_inner_ones() -> None:
    graph = encoder(2)
    found = find_groups(graph)
    everything = frozenset(range(len(found.groups)))
    cover = found.covering(everything)
    assert set(cover[:-1].tolist()) == {0}
    assert cover[-1] == -1


def test_groups_that_feed_each_other_are_laid_out() -> None:
    rows = [(f"n{i}", "Add", "a/x" if i % 2 else "b/y") for i in range(6)] + [("end", "Relu", "")]
    graph = chain(*rows)
    found = find_groups(graph)
    layout = lay_out(graph, found, found.at_level(0))
    assert (layout.boxes.kind == BoxKind.GROUP).sum() == 2
    upwards = layout.y[layout.boxes.source] > layout.y[layout.boxes.target]
    assert upwards.sum() == 1


def test_names_with_slashes_stand_in_for_scopes() -> None:
    graph = chain(*[(f"/stage{i // 2}/conv{i % 2}/Conv", "Conv", "") for i in range(6)])
    found = find_groups(graph)
    assert found.origin == "names"
    assert [g.title for g in found.groups] == ["stage0", "stage1", "stage2"]


def test_weight_names_stand_in_where_nodes_have_none() -> None:
    tensors = [Tensor("x", kind="input")]
    nodes = []
    for layer in range(4):
        weight = len(tensors)
        tensors += [
            Tensor(f"enc.layers.{layer}.fc.weight", kind="constant"),
            Tensor(f"g{layer}"),
            Tensor(f"r{layer}"),
        ]
        nodes += [
            Node(f"n{layer}", "Gemm", (weight - 1, weight), (weight + 1,)),
            Node(f"m{layer}", "Relu", (weight + 1,), (weight + 2,)),
        ]
    found = find_groups(Graph("w", tuple(nodes), tuple(tensors), (0,), (len(tensors) - 1,)))
    assert found.origin == "weights"
    assert [g.title for g in found.groups] == ["layers.0", "layers.1", "layers.2", "layers.3"]


def test_repeated_blocks_are_found_without_any_name() -> None:
    rows = [("", op, "") for _ in range(10) for op in ("Conv", "BatchNormalization", "Relu", "MaxPool")]
    found = find_groups(chain(*rows))
    assert found.origin == "repeats"
    blocks = [g for g in found.groups if g.level == found.depth() - 1]
    assert len(blocks) >= 8
    assert {g.size for g in blocks} == {4}


def test_a_graph_without_structure_has_no_groups() -> None:
    found = find_groups(chain(("", "Conv", ""), ("", "Relu", ""), ("", "Gemm", "")))
    assert found.groups == ()
    assert found.origin == "none"
    np.testing.assert_array_equal(found.covering(frozenset()), [-1, -1, -1])


def test_an_empty_graph_has_no_groups() -> None:
    assert find_groups(Graph("", (), (), (), ())).origin == "none"
