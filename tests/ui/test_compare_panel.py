"""Comparing models in the window: two graphs with their differences, three in one table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from edgestudio.model import graph as graphs
from edgestudio.model.compare.diff import compare
from edgestudio.model.graph import Graph, Model, Node, Tensor
from edgestudio.model.picture.layout import lay_out
from edgestudio.ui.panels.compare import ComparePanel
from tests.ui.parts import Bench, model
from tests.ui.test_graph_pair import variant
from tests.ui.test_graph_panel import network


class Shelf:
    """Models on the disk as the library keeps them, and their differences as a worker finds them."""

    def __init__(self, folder: Path, bench: Bench, models: list[Model]) -> None:
        self._models: dict[str, Model] = {}
        self.keys = []
        for number, each in enumerate(models):
            key = f"{number}" * 64
            here = folder / key
            here.mkdir()
            graphs.save(each, here / "graph.json")
            lay_out(each.main).save(here / "layout.npz")
            row = model(
                key, f"net{number}", graph_path=str(here / "graph.json"), layout_path=str(here / "layout.npz")
            )
            bench.put(row)
            self._models[row.path] = each
            self.keys.append(key)

    def diff(self, a: str, b: str, done: Any, failed: Any) -> None:
        done(compare(self._models[a], self._models[b]))


def shown(qtbot: QtBot, bench: Bench, shelf: Shelf) -> ComparePanel:
    panel = ComparePanel(bench.desk, shelf.diff)
    qtbot.addWidget(panel)
    panel.resize(1200, 700)
    panel.show()
    qtbot.waitExposed(panel)
    return panel


def test_two_graphs_with_what_differs(qtbot: QtBot, bench: Bench, tmp_path: Path) -> None:
    first = network(4)
    shelf = Shelf(tmp_path, bench, [first, variant(first)])
    panel = shown(qtbot, bench, shelf)
    bench.desk.selected.select_model(shelf.keys[1], shelf.keys[0])
    panel.button.click()
    pair = panel.graphs
    qtbot.waitUntil(lambda: pair.list.count() > 0)
    assert panel.views.currentIndex() == 1
    assert panel._state.text().startswith("Operators: 1 changed, 1 only in A, 1 only in B")
    qtbot.keyClick(pair.kinds, Qt.Key.Key_Down)
    assert (pair.kinds.currentText(), pair.list.count()) == ("Only in A (1)", 1)
    pair.kinds.setCurrentIndex(pair.kinds.findData("changed"))
    changed = 0
    pair.list.setCurrentRow(changed)
    assert "kernel_shape: 3×3 → 7×7" in pair.details.text()
    assert pair.a.node_of(pair.a.selected_box) == pair.b.node_of(pair.b.selected_box) == 0
    assert pair.a.camera.zoom >= 0.69
    assert pair.keys[0].isVisible()
    panel.views.setCurrentIndex(0)
    groups = [panel.table.topLevelItem(row) for row in range(panel.table.topLevelItemCount())]
    (listed,) = [group for group in groups if group.text(0) == "Changed (1)"]
    assert "kernel_shape: 3×3 → 7×7" in listed.child(0).text(0)


def test_three_models_in_one_table(qtbot: QtBot, bench: Bench, tmp_path: Path) -> None:
    first = network(4)
    shelf = Shelf(tmp_path, bench, [first, variant(first), first])
    panel = shown(qtbot, bench, shelf)
    bench.desk.selected.select_model(*shelf.keys)
    panel.all_button.click()
    qtbot.waitUntil(panel.all_button.isEnabled)
    rows = panel._many.page.rows  # type: ignore[attr-defined]
    assert (rows.rowCount(), rows.columnCount()) == (14, 3)
    cells = [[rows.data(rows.index(row, column)) for column in range(3)] for row in range(14)]
    assert cells[0][1].startswith("≠ Conv")
    assert cells[0][2].startswith("Conv")
    assert cells[4][1] == "–"
    assert cells[13] == ["–", "≠ Tanh  1×64×32×32", "–"]


def test_weighted_operators_are_matched_across_formats() -> None:
    def convolutions(order: list[int], of: str, op: str) -> Model:
        tensors = [Tensor("x", "float32", None, "input")]
        nodes = []
        for place, channels in enumerate(order):
            outer = (channels, 3, 5, 5) if of == "onnx" else (channels, 5, 5, 3)
            tensors += [
                Tensor(f"{of}w{place}", "float32", outer, "constant"),
                Tensor(f"{of}y{place}", "float32"),
            ]
            nodes.append(Node(f"{of}{place}", op, (0, 2 * place + 1), (2 * place + 2,)))
        return Model(of, None, None, {}, (Graph("", tuple(nodes), tuple(tensors), (0,), ()),), 0)

    result = compare(
        convolutions([8, 16, 32], "onnx", "Conv"), convolutions([32, 8, 16], "tflite", "CONV_2D")
    )
    assert sorted(map(tuple, result["pairs"])) == [(0, 1), (1, 2), (2, 0)]
    assert result["changed"] == []


def test_what_a_converter_folds_is_said() -> None:
    tensors = tuple(Tensor(name, "float32", (1, 8)) for name in ("x", "w", "y", "z"))
    conv, relu = Node("c", "Conv", (0, 1), (2,)), Node("r", "Relu", (2,), (3,))
    source = Model("onnx", None, None, {}, (Graph("", (conv, relu), tensors, (0,), (3,)),), 0)
    fused = dataclasses.replace(
        conv, name="f", op="CONV_2D", attributes={"fused_activation_function": "RELU"}
    )
    made = Model("tflite", None, None, {}, (Graph("", (fused,), tensors, (0,), (2,)),), 0)
    assert [row.get("into") for row in compare(source, made)["removed"]] == ["f"]
