"""Two graphs side by side: what is selected in one is shown in the other, and the list leads to each difference."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from edgestudio.model.compare.diff import compare
from edgestudio.model.graph import Model, Node
from edgestudio.model.picture.layout import lay_out
from edgestudio.ui import theme
from edgestudio.ui.graph.pair import GraphPair
from tests.ui.test_graph_panel import network


def variant(model: Model) -> Model:
    """The same network with one kernel changed and one activation of another kind."""
    graph = model.main
    nodes = list(graph.nodes)
    nodes[0] = dataclasses.replace(nodes[0], attributes={"kernel_shape": [7, 7], "group": 1})
    nodes[4] = Node("other/tanh", "Tanh", nodes[4].inputs, nodes[4].outputs)
    return dataclasses.replace(model, graphs=(dataclasses.replace(graph, nodes=tuple(nodes)),))


@pytest.fixture
def pair(qtbot: QtBot) -> GraphPair:
    first = network(6)
    second = variant(first)
    made = GraphPair()
    qtbot.addWidget(made)
    made.resize(1300, 700)
    made.show()
    qtbot.waitExposed(made)
    made.show_pair(("net", "variant"), (lay_out(first.main), lay_out(second.main)), compare(first, second))
    return made


def test_selecting_in_one_selects_in_the_other(qtbot: QtBot, pair: GraphPair) -> None:
    box = int(pair.a.layout_shown.boxes_of_nodes(19)[6])
    pair.a.reveal(box)
    with qtbot.waitSignal(pair.pair_selected) as caught:
        qtbot.mouseClick(pair.a.viewport(), Qt.MouseButton.LeftButton, pos=pair.a.box_rect(box).center())
    assert caught.args == [6, 6]
    assert pair.b.node_of(pair.b.selected_box) == 6


def test_what_only_one_side_has_selects_nothing_in_the_other(pair: GraphPair) -> None:
    pair.a.select(6)
    pair.a.select(4)
    assert pair.b.selected_box == -1


def test_the_list_leads_to_each_difference(pair: GraphPair) -> None:
    role = Qt.ItemDataRole.AccessibleTextRole
    listed = [str(pair.list.item(row).data(role)) for row in range(pair.list.count())]
    assert any(text.startswith("only in A: Relu") for text in listed)
    assert any(text.startswith("only in B: Tanh") for text in listed)
    assert not any(pair.list.item(row).icon().isNull() for row in range(pair.list.count()))
    changed = next(row for row, text in enumerate(listed) if text.startswith("changed: Conv"))
    pair.list.setCurrentRow(changed)
    assert (pair.a.node_of(pair.a.selected_box), pair.b.node_of(pair.b.selected_box)) == (0, 0)


def test_everything_else_can_step_back(pair: GraphPair) -> None:
    before = pair.a.viewport().grab().toImage()
    only = pair._only
    only.click()
    assert pair.a.viewport().grab().toImage() != before


def test_operators_that_only_quantise_are_left_out_until_asked_for(qtbot: QtBot, pair: GraphPair) -> None:
    first, result = network(6), compare(network(6), variant(network(6)))
    more = [{"name": "q", "op": "QuantizeLinear", "index": 3, "role": "quantisation"}]
    layouts = (lay_out(first.main), lay_out(variant(first).main))
    pair.show_pair(("net", "int8"), layouts, {**result, "added": [*result["added"], *more]})
    assert pair.kinds.currentText() == "Without quantise, dequantise (3)"
    assert pair.list.count() == 3
    qtbot.keyClick(pair.kinds, Qt.Key.Key_Home)
    assert (pair.kinds.currentText(), pair.list.count()) == ("All (4)", 4)


def test_the_colours_follow_the_theme(pair: GraphPair) -> None:
    pair.list.setCurrentRow(1)
    theme.set_mode("dark")
    assert pair.list.currentRow() == 1
    ramp = pair.a._overlay[2]  # type: ignore[index]
    assert ramp == (theme.DARK.bad, theme.DARK.warning, theme.DARK.good)
    theme.set_mode("light")


def test_what_was_folded_is_left_out_at_first_and_can_be_listed(qtbot: QtBot) -> None:
    first = network(4)
    result = compare(first, variant(first))
    name = result["removed"][0]["name"] if result["removed"] else "n"
    row = {"name": name, "op": "BatchNormalization", "index": 1, "into": "conv"}
    result = {**result, "removed": [*result["removed"], row]}
    pair = GraphPair()
    qtbot.addWidget(pair)
    pair.show_pair(("A", "B"), (lay_out(first.main), lay_out(variant(first).main)), result)
    total = len(pair._differences)
    assert pair.kinds.currentText() == f"Without folded ({total - 1})"
    assert pair.list.count() == total - 1
    pair.kinds.setCurrentIndex(0)
    assert pair.list.count() == total
    tips = [pair.list.item(at).toolTip() for at in range(total)]
    assert any("Its work is done by conv" in tip for tip in tips)
