"""The graph panel, driven by pointer and keyboard: open, select, walk, search, trace, collapse, colour, export."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from edgestudio.assets import resource
from edgestudio.model import graph as graphs
from edgestudio.model.graph import Graph, Model, Node, Quantization, Tensor
from edgestudio.model.picture.boxes import BoxKind
from edgestudio.model.picture.layout import lay_out
from edgestudio.studio.rows import ModelRow
from edgestudio.ui import theme
from edgestudio.ui.graph import export, menu
from edgestudio.ui.graph.overlay import Overlay, read_overlays
from edgestudio.ui.graph.panel import GraphPanel
from edgestudio.ui.graph.table import Layers
from edgestudio.ui.graph.view import GraphView
from edgestudio.wire.errors import InputError


def network(blocks: int) -> Model:
    """A chain of residual blocks in scopes, with weights, shapes, MACs and one quantised tensor."""
    tensors = [Tensor("image", "float32", (1, 3, 32, 32), "input")]
    nodes: list[Node] = []
    x = 0
    for block in range(blocks):
        weight = len(tensors)
        scales = Quantization((0.1, 0.2, 0.4), (0, 0, 0), 0, "int8") if block == 0 else None
        tensors.append(Tensor(f"w{block}", "int8", (64, 3, 3, 3), "constant", 1728, scales))
        tensors += [
            Tensor(f"{part}{block}", "float32", (1, 64, 32, 32), size_bytes=262_144) for part in "abc"
        ]
        scope = f"stage/block.{block}"
        conv = {"kernel_shape": [5, 5] if block == 1 else [3, 3], "group": 1}
        nodes.append(
            Node(
                f"{scope}/conv",
                "Conv",
                (x, weight),
                (weight + 1,),
                conv,
                scope=scope,
                macs=1000 * (block + 1),
            )
        )
        nodes.append(Node(f"{scope}/relu", "Relu", (weight + 1,), (weight + 2,), scope=scope))
        nodes.append(Node(f"{scope}/add", "Add", (weight + 1, weight + 2), (weight + 3,), scope=scope))
        x = weight + 3
    nodes.append(Node("head", "Gemm", (x,), (len(tensors),)))
    tensors.append(Tensor("logits", "float32", (1, 10), "output"))
    graph = Graph("net", tuple(nodes), tuple(tensors), (0,), (len(tensors) - 1,))
    return Model("onnx", "8", "tests", {"ai.onnx": 17}, (graph,), 1000)


@pytest.fixture
def panel(qtbot: QtBot) -> GraphPanel:
    made = GraphPanel()
    qtbot.addWidget(made)
    made.resize(1300, 800)
    made.show()
    qtbot.waitExposed(made)
    return made


def opened(qtbot: QtBot, panel: GraphPanel, blocks: int = 5) -> GraphPanel:
    with qtbot.waitSignal(panel.document_shown):
        panel.show_model(network(blocks), "net")
    return panel


def level(qtbot: QtBot, panel: GraphPanel, number: int) -> None:
    before = panel.view.layout_shown
    panel.set_level(number)
    qtbot.waitUntil(lambda: panel.view.layout_shown is not before)


def middle(panel: GraphPanel, box: int) -> QPoint:
    return panel.view.box_rect(box).center()


def box_of(panel: GraphPanel, node: int) -> int:
    return int(panel.boxes_of_nodes()[node])


def test_saved_files_are_drawn_first_and_then_understood(
    qtbot: QtBot, panel: GraphPanel, tmp_path: Path
) -> None:
    model = network(5)
    graphs.save(model, tmp_path / "graph.json")
    lay_out(model.main).save(tmp_path / "layout.npz")
    with qtbot.waitSignal(panel.document_shown):
        panel.show_files(
            tmp_path / "graph.json", tmp_path / "layout.npz", "net", {"format": "onnx", "nodes": 16}
        )
        qtbot.waitUntil(lambda: len(panel.view.layout_shown) == 18)
        assert panel.document is None
    assert "16\N{NO-BREAK SPACE}nodes" in panel.header.findChild(object, "graph-facts").text()  # type: ignore[attr-defined]
    assert panel.table.layer_model.rowCount() == 16


def test_a_damaged_file_is_a_sentence(qtbot: QtBot, panel: GraphPanel, tmp_path: Path) -> None:
    (tmp_path / "layout.npz").write_bytes(b"PK nothing")
    with qtbot.waitSignal(panel.failed) as caught:
        panel.show_files(tmp_path / "graph.json", tmp_path / "layout.npz", "net", {})
    assert "layout.npz" in caught.args[0]


def test_a_click_selects_and_describes(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel)
    with qtbot.waitSignal(panel.node_selected) as caught:
        qtbot.mouseClick(
            panel.view.viewport(), Qt.MouseButton.LeftButton, pos=middle(panel, box_of(panel, 0))
        )
    assert caught.args == [0]
    text = panel.properties.text()
    for part in (
        "Conv",
        "stage/block.0/conv",
        "kernel_shape",
        "[3, 3]",
        "1×64×32×32",
        "1,000",
        "3 channels along axis 0",
    ):
        assert part in text
    assert panel.table.currentIndex().row() == 0
    qtbot.mouseClick(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(5, 5))
    assert panel.view.selected_box == -1


def test_a_row_of_the_table_selects_in_the_graph(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 40)
    panel.sides.setCurrentWidget(panel.table)
    panel.table.sortByColumn(6, Qt.SortOrder.DescendingOrder)
    index = panel.table.model().index(0, 1)
    qtbot.mouseClick(
        panel.table.viewport(), Qt.MouseButton.LeftButton, pos=panel.table.visualRect(index).center()
    )
    assert panel.view.node_of(panel.view.selected_box) == 117
    assert panel.view.viewport().rect().contains(middle(panel, panel.view.selected_box))


def test_the_numbers_of_a_large_graph_have_room(qtbot: QtBot, panel: GraphPanel) -> None:
    table, many, unknown = panel.table, 200_000, np.full(200_000, np.nan)
    texts = [""] * many
    table.layer_model.show_layers(Layers(texts, texts, texts, texts, unknown, unknown))
    assert table.columnWidth(0) > table.fontMetrics().horizontalAdvance(str(many)) + 12
    wide = table.columnWidth(0)
    opened(qtbot, panel)
    assert table.columnWidth(0) == wide  # what is wide enough stays as it is


def test_walking_by_keyboard(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel)
    view = panel.view
    view.setFocus()
    panel.select_node(0)
    for key, expected in ((Qt.Key.Key_Down, 1), (Qt.Key.Key_Down, 2), (Qt.Key.Key_Up, 1), (Qt.Key.Key_Up, 0)):
        qtbot.keyClick(view, key)
        assert view.node_of(view.selected_box) == expected
    qtbot.keyClick(view, Qt.Key.Key_Up)
    assert view.layout_shown.boxes.kind[view.selected_box] == BoxKind.INPUT
    assert "Model input" in panel.properties.text()
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.selected_box == -1


def test_dragging_pans_and_the_wheel_zooms_at_the_pointer(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 30)
    view = panel.view
    before, at = view.camera, QPoint(300, 300)
    qtbot.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=at)
    qtbot.mouseMove(view.viewport(), at - QPoint(0, 120))
    qtbot.mouseRelease(view.viewport(), Qt.MouseButton.LeftButton, pos=at - QPoint(0, 120))
    assert view.camera.top == pytest.approx(before.top + 120 / before.zoom, abs=2)
    assert view.selected_box == -1
    point = view.camera.to_graph(200, 150)
    wheel = QWheelEvent(
        QPointF(200, 150), view.viewport().mapToGlobal(QPointF(200, 150)), QPoint(), QPoint(0, 240),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.ControlModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(view.viewport(), wheel)
    assert view.camera.zoom > before.zoom
    assert view.camera.to_window(*point) == pytest.approx((200, 150), abs=1.5)


def test_panning_paints_the_same_as_painting_afresh(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 30)
    view = panel.view
    for zoom in (1.0, 0.4, 0.2, 0.05):
        view.zoom_to(zoom)
        view.look_at(100, 1500)
        view.viewport().grab()
        for dx, dy in ((13, -47), (-90, 21), (0, 133)):
            view.pan(dx, dy)
            view.viewport().grab()
        panned = view.viewport().grab().toImage()
        view.resize(view.size())
        view._repaint_all()
        afresh = view.viewport().grab().toImage()
        assert _difference(panned, afresh) < 0.004, f"at zoom {zoom}"


def star(arms: int, name: str = "hub") -> Model:
    """One node that `arms` others read, and one that reads them all."""
    tensors = [Tensor("image", "float32", (1, 3), "input"), Tensor("h"), Tensor("all", kind="output")]
    tensors += [Tensor(f"a{i}") for i in range(arms)]
    nodes = [Node(name, "Relu", (0,), (1,))]
    nodes += [Node(f"arm{i}", "Sigmoid", (1,), (3 + i,)) for i in range(arms)]
    nodes.append(Node("cat", "Concat", tuple(range(3, 3 + arms)), (2,)))
    graph = Graph("star", tuple(nodes), tuple(tensors), (0,), (2,))
    return Model("onnx", "8", "tests", {"ai.onnx": 17}, (graph,), 1000)


def test_a_star_is_drawn_without_drawing_each_of_its_rays(qtbot: QtBot, panel: GraphPanel) -> None:
    arms = 400
    with qtbot.waitSignal(panel.document_shown):
        panel.show_model(star(arms), "star")
    view, scene = panel.view, panel.view.scene_shown
    for zoom in (1.0, 0.25):
        view.zoom_to(zoom)
        for node in (0, arms // 2, arms + 1):
            view.select(node)
            view.reveal(view.selected_box)
            assert len(scene.wide_in(view.visible())) < arms / 4
            for dx, dy in ((13, -27), (-350, 21)):
                view.pan(dx, dy)
                view.viewport().grab()
            panned = view.viewport().grab().toImage()
            view._repaint_all()
            assert _difference(panned, view.viewport().grab().toImage()) < 0.004, (zoom, node)
    # What is drawn once looks as if each ray were drawn.
    view.show_trace(None)
    view.select_box(-1)
    view.zoom_to(1.0)
    view.look_at(float(view.layout_shown.x[box_of(panel, 300)]), 120.0)
    once = view.viewport().grab().toImage()
    scene.pieces, scene._wide = np.concatenate([scene.pieces, scene._wide]), scene._wide[:0]
    scene._index_pieces()
    view._change_look()
    inked = [_ink(image) for image in (once, view.viewport().grab().toImage())]
    assert (inked[0] != inked[1]).mean() < 0.0005


def test_what_is_endless_is_described_by_its_beginning(qtbot: QtBot, panel: GraphPanel) -> None:
    with qtbot.waitSignal(panel.document_shown):
        panel.show_model(star(200, "hub/" + "x" * 4000 + "/end"), "star")
    panel.select_node(201)
    assert "and 136 more" in panel.properties.text()
    assert "a63" in panel.properties.text()
    assert "a64" not in panel.properties.text()
    panel.select_node(0)
    assert "hub/xxx" in panel.properties.text()
    assert "x/end" in panel.properties.text()
    assert "x" * 500 not in panel.properties.text()
    assert "and 168 more" in panel.properties.text()
    panel.view.zoom_to(0.0001)
    assert panel.toolbar.zoom.text() in ("< 0.1 %", f"{panel.view.camera.zoom * 100:.3g} %")


def _ink(image: QImage) -> np.ndarray:
    """Which pixels are not the ground."""
    pixels = np.frombuffer(image.convertToFormat(QImage.Format.Format_RGB32).constBits(), np.uint32)
    return pixels != pixels[0]


def _difference(first: QImage, second: QImage) -> float:
    """The share of pixels that differ clearly; anti-aliasing at the seams may differ a little."""
    arrays = [
        np.frombuffer(i.convertToFormat(QImage.Format.Format_RGB32).constBits(), np.uint8).astype(int)
        for i in (first, second)
    ]
    return float((np.abs(arrays[0] - arrays[1]) > 40).mean())


def test_searching_counts_filters_and_steps(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 20)
    field = panel.toolbar.search.field
    qtbot.keyClick(panel, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClicks(field, "op:Conv k>3")
    qtbot.waitUntil(lambda: panel.matches == [3])
    assert panel.table.layer_model.rowCount() == 1
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert panel.view.node_of(panel.view.selected_box) == 3
    assert panel.toolbar.search.count.text() == "1 of 1"
    field.setText("op:Relu")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert panel.toolbar.search.count.text() == "2 of 20"
    qtbot.keyClick(field, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert panel.toolbar.search.count.text() == "1 of 20"
    field.setText("colour:red")
    panel.toolbar.search.search_now()
    assert panel.problem.isVisible()
    assert "“colour:” is not something to search by" in panel.problem.text()
    assert "op:, name:" in panel.problem.text()
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    assert panel.table.layer_model.rowCount() == 61
    assert not panel.problem.isVisible()


@pytest.mark.parametrize(
    ("typed", "count"),
    [
        ("op:Conv k>3", 1), ("shape:*,64,*", 61), ("attr:group>0", 20), ("attr:group>1", 0),
        ("name:stage/block.1/*", 3),
        ("block.1/", 3), ("op:Conv | op:Gemm", 21), ("-op:Conv -op:Relu", 21),
        ("dtype:int8", 20), ("macs>=19k", 2),
        ("op:re?u scope:*block.3", 1), ("outshape:1,10", 1), ("params>1k op:conv", 20),
    ],
)  # fmt: skip
def test_every_operator_of_the_search_can_be_typed(
    qtbot: QtBot, panel: GraphPanel, typed: str, count: int
) -> None:
    opened(qtbot, panel, 20)
    field = panel.toolbar.search.field
    field.setFocus()
    qtbot.keyClicks(field, typed)
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert len(panel.matches) == count
    assert not panel.problem.isVisible()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("colour:red", "not something to search by"), ("op:", "Nothing follows"), ("k>x", "A number was expected"),
        ("shape:a b|", "Nothing stands after"), ("| op:Conv", "Nothing stands before"), ('name:"two', "never closed"),
        ("shape:1;2", "is not a shape"), ("width>3", "is not a number of a node"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_said_under_the_field(
    qtbot: QtBot, panel: GraphPanel, typed: str, said: str
) -> None:
    opened(qtbot, panel, 3)
    field = panel.toolbar.search.field
    field.setFocus()
    qtbot.keyClicks(field, typed)
    qtbot.waitUntil(panel.problem.isVisible)
    assert said in panel.problem.text()
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    assert not panel.problem.isVisible()


def test_the_menu_of_a_box_traces_every_way(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel)
    panel.select_node(3)
    box = box_of(panel, 9)
    expected = {
        "Show everything downstream": 8,
        "Show everything upstream": 11,
        "Show producers and consumers": 4,
        "Show the way from the selection": 7,
    }
    for title, count in expected.items():
        actions = {action.text(): action for action in menu.build_menu(panel, box).actions()}
        actions[title].trigger()
        assert panel.view.trace is not None
        assert int(panel.view.trace.sum()) == count, title


def test_shift_click_traces_the_way(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel)
    panel.select_node(0)
    shift = Qt.KeyboardModifier.ShiftModifier
    qtbot.mouseClick(panel.view.viewport(), Qt.MouseButton.LeftButton, shift, middle(panel, box_of(panel, 3)))
    trace = panel.view.trace
    assert trace is not None
    assert sorted(panel.view.node_of(int(box)) for box in np.flatnonzero(trace)) == [0, 1, 2, 3]
    assert panel.banner.text() == "4 of 18 boxes"
    panel.view.setFocus()
    qtbot.keyClick(panel.view, Qt.Key.Key_Escape)
    assert panel.view.trace is None
    assert not panel.banner.isVisible()


def test_the_menu_of_a_box_offers_what_applies(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel)
    box = box_of(panel, 5)
    built = menu.build_menu(panel, box)
    actions = {action.text(): action for action in built.actions()}
    actions["Show everything downstream"].trigger()
    assert panel.view.trace is not None
    assert int(panel.view.trace.sum()) == 12
    actions["Find all Add"].trigger()
    assert len(panel.matches) == 5
    actions["Copy its name"].trigger()
    assert QApplication.clipboard().text() == "stage/block.1/add"


def test_modules_collapse_and_open_without_losing_the_place(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 20)
    level(qtbot, panel, 1)
    view = panel.view
    groups = np.flatnonzero(view.layout_shown.boxes.kind == BoxKind.GROUP)
    assert len(groups) == 20
    group = int(groups[7])
    view.reveal(group)
    before, where = view.layout_shown, middle(panel, group)
    qtbot.mouseDClick(view.viewport(), Qt.MouseButton.LeftButton, pos=where)
    qtbot.waitUntil(lambda: view.layout_shown is not before)
    conv = box_of(panel, 21)
    assert view.node_of(conv) == 21
    moved = middle(panel, conv) - where
    assert abs(moved.y()) < 30
    panel.select_node(21)
    before = view.layout_shown
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Backspace)
    qtbot.waitUntil(lambda: view.layout_shown is not before)
    assert view.layout_shown.boxes.kind[view.selected_box] == BoxKind.GROUP
    assert "group of 3 nodes" in panel.properties.text()


def test_the_selection_outlives_other_levels(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 20)
    panel.select_node(30)
    level(qtbot, panel, 1)
    view = panel.view
    assert "block.10" in panel.properties.text()
    assert view.layout_shown.boxes.kind[view.selected_box] == BoxKind.GROUP
    level(qtbot, panel, -1)
    assert view.node_of(view.selected_box) == 30


def test_choosing_a_hidden_node_opens_its_group(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 20)
    level(qtbot, panel, 0)
    before = panel.view.layout_shown
    panel.select_node(30)
    qtbot.waitUntil(lambda: panel.view.layout_shown is not before)
    assert panel.view.node_of(panel.view.selected_box) == 30
    assert len(panel.collapsed) == 19


def test_an_overlay_colours_writes_and_has_a_legend(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel)
    plain = panel.view.viewport().grab().toImage()
    panel.add_overlay(Overlay("Latency", "ms", np.array([float(i) for i in range(16)])))
    assert panel.legend.isVisible()
    assert _difference(plain, panel.view.viewport().grab().toImage()) > 0.001
    assert panel.table.layer_model.columnCount() == 8
    level(qtbot, panel, 0)
    assert panel.legend.isVisible()
    panel.show_overlay(None)
    assert not panel.legend.isVisible()


def test_overlays_from_files(tmp_path: Path) -> None:
    graph = network(2).main
    (tmp_path / "a.csv").write_text("name,ms\nhead,2.5\nelsewhere,1\n")
    (overlay,) = read_overlays(tmp_path / "a.csv", graph)
    assert (overlay.range(), overlay.text(2.5)) == ((2.5, 2.5), "2.5 ms")
    (tmp_path / "c.csv").write_text("elsewhere,1\n")
    with pytest.raises(InputError, match="None of the 1 names"):
        read_overlays(tmp_path / "c.csv", graph)


def test_a_file_colours_by_every_column_that_it_has(
    qtbot: QtBot, panel: GraphPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(qtbot, panel, 2)
    path = tmp_path / "profile.csv"
    path.write_text("node,latency_ms,unit\nstage/block.0/conv,2,NPU\nstage/block.1/conv,4,NPU\nhead,1,CPU\n")
    monkeypatch.setattr(menu.QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    choice = panel.toolbar.overlays
    choice.activated.emit(choice.findText("Numbers from a file …"))
    assert [each.title for each in panel.overlays()[-2:]] == ["latency", "unit"]
    assert choice.currentText() == "By latency"
    qtbot.keyClick(choice, Qt.Key.Key_Down)
    assert choice.currentText() == "By unit"
    assert [(word, count) for word, _, count in panel.legend._overlay.counts()] == [("CPU", 1), ("NPU", 2)]  # type: ignore[union-attr]
    panel.sides.setCurrentWidget(panel.table)
    rows = panel.table.layer_model
    assert [rows.index(row, 7).data() for row in (0, 1, 6)] == ["NPU", "–", "CPU"]
    assert ",NPU\n" in rows.as_csv()
    level(qtbot, panel, 0)
    boxes = panel.view.layout_shown.boxes
    shown = panel.legend._overlay
    assert shown is not None
    words = {boxes.labels[boxes.label[b]]: shown.text(v) for b, v in enumerate(shown.values.tolist())}
    assert words["stage"] == "NPU"


def test_measuring_again_replaces_what_was_measured(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 2)
    for first in (1.0, 5.0):
        panel.add_overlay(Overlay("Latency", "ms", np.array([first] * 7)))
    assert [each.title for each in panel.overlays()].count("Latency") == 1
    assert panel.legend._overlay.range() == (5.0, 5.0)  # type: ignore[union-attr]


def test_everything_exports(qtbot: QtBot, panel: GraphPanel, tmp_path: Path) -> None:
    opened(qtbot, panel)
    for kind, name in (
        ("view", "v.png"),
        ("picture", "p.png"),
        ("drawing", "d.svg"),
        ("table", "t.csv"),
        ("page", "g.html"),
    ):
        export.write(panel, tmp_path / name, kind)
    picture = QImage(str(tmp_path / "p.png"))
    assert picture.height() > picture.width() > 100
    assert "<svg" in (tmp_path / "d.svg").read_text()
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert rows[3]["Operator"] == "Conv"
    assert float(rows[3]["MACs"]) == 2000
    page = (tmp_path / "g.html").read_text()
    data = json.loads(page.split('type="application/json">')[1].split("</script>")[0])
    assert next(n["name"] for n in data["nodes"] if n) == "stage/block.0/conv"
    assert "http" not in page.replace("http-equiv", "")


def test_names_of_a_model_command_nothing(qtbot: QtBot, panel: GraphPanel, tmp_path: Path) -> None:
    names = ("=cmd|' /C calc'!A0", "</script><script>alert(1)</script>", "\x01\x1b[31m", "+1+1", "-")
    tensors = tuple(Tensor(f"{name}{i}", "float32", (1,)) for i, name in enumerate((*names, "y")))
    nodes = tuple(Node(name, name, (i,), (i + 1,), {name: name}) for i, name in enumerate(names))
    with qtbot.waitSignal(panel.document_shown):
        panel.show_model(
            Model("onnx", None, None, {}, (Graph(names[1], nodes, tensors, (0,), (5,)),), 1), names[1]
        )
    for kind, name in (("drawing", "d.svg"), ("table", "t.csv"), ("page", "g.html")):
        export.write(panel, tmp_path / name, kind)
    ElementTree.parse(tmp_path / "d.svg")
    cells = [cell for row in csv.reader((tmp_path / "t.csv").read_text().splitlines()) for cell in row]
    assert not [cell for cell in cells if len(cell) > 1 and cell[0] in "=+@"]
    template = resource("page", "graph.html").read_text("utf-8")
    assert (tmp_path / "g.html").read_text().count("<script") == template.count("<script")


def test_bookmarks_lead_back(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 40)
    panel.select_node(60)
    panel.view.setFocus()
    qtbot.keyClick(panel.view, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    panel.view.select_box(-1)
    panel.view.fit()
    entries = panel.toolbar.bookmarks.menu().actions()
    assert [action.text() for action in entries] == [
        "Add a bookmark here", "", "stage/block.20/conv", "", "Remove a bookmark",
    ]  # fmt: skip
    entries[2].trigger()
    assert panel.view.node_of(panel.view.selected_box) == 60
    qtbot.keyClick(panel.view, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    assert len(panel.inquiry.marks.bookmarks) == 1, "a node is marked once"
    panel.toolbar.bookmarks.menu().actions()[-1].menu().actions()[0].trigger()
    assert panel.inquiry.marks.bookmarks == ()
    assert len(panel.toolbar.bookmarks.menu().actions()) == 2


def test_the_mini_map_leads_there(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel, 60)
    bottom = panel.view.scene_shown.bounds.bottom
    qtbot.mouseClick(panel.minimap, Qt.MouseButton.LeftButton, pos=QPoint(40, panel.minimap.height() - 12))
    assert panel.view.visible().bottom > bottom * 0.9
    assert panel.minimap.frame().top() > panel.minimap.height() * 0.7


def test_dropped_files_are_announced(qtbot: QtBot, panel: GraphPanel, tmp_path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "a.onnx"))])
    actions, button, none = (
        Qt.DropAction.CopyAction,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(panel, QDragEnterEvent(QPoint(50, 50), actions, data, button, none))
    with qtbot.waitSignal(panel.files_dropped) as caught:
        QApplication.sendEvent(panel, QDropEvent(QPointF(50, 50), actions, data, button, none))
    assert caught.args == [[tmp_path / "a.onnx"]]


def test_both_themes_paint(qtbot: QtBot, panel: GraphPanel) -> None:
    opened(qtbot, panel)
    theme.set_mode("light")
    light = panel.view.viewport().grab().toImage()
    theme.set_mode("dark")
    dark = panel.view.viewport().grab().toImage()
    assert light.pixelColor(3, 3).lightness() > 200
    assert dark.pixelColor(3, 3).lightness() < 60
    theme.set_mode("light")


def test_weights_without_a_graph_say_so(qtbot: QtBot, panel: GraphPanel) -> None:
    weights = (Tensor("w", "float32", (3,), "constant"),)
    with qtbot.waitSignal(panel.document_shown):
        panel.show_model(Model("safetensors", None, None, {}, (), 10, weights=weights), "w")
    assert not panel.view.isVisible()


def test_a_picture_can_be_searched_and_asked_before_the_graph_is_read(
    qtbot: QtBot, panel: GraphPanel, tmp_path: Path
) -> None:
    model = network(5)
    lay_out(model.main).save(tmp_path / "layout.npz")
    row = ModelRow("a" * 64, "net", "net.onnx", "onnx", 1000, 0.0, layout_path=str(tmp_path / "layout.npz"))
    panel.show_row(row)
    qtbot.waitUntil(lambda: len(panel.view.layout_shown) == 18)
    assert panel.document is None
    field = panel.toolbar.search.field
    qtbot.mouseClick(field, Qt.MouseButton.LeftButton)
    qtbot.keyClicks(field, "*block.2/*conv | op:gemm")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert panel.matches == [6, 15]
    assert panel.view.selected_box == box_of(panel, 6)
    assert "Conv" in panel.properties.text()
    assert "stage/block.2/conv" in panel.properties.text()
    qtbot.mouseClick(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=middle(panel, box_of(panel, 7)))
    assert "Relu" in panel.properties.text()
    field.clear()
    qtbot.keyClicks(field, "k>3")
    panel.toolbar.search.search_now()
    assert (panel.matches, panel.toolbar.search.count.text()) == ([], "still reading …")
    graphs.save(model, tmp_path / "graph.json")
    with qtbot.waitSignal(panel.document_shown):
        panel.show_row(replace(row, graph_path=str(tmp_path / "graph.json")))
    assert panel.matches == [3]
    assert panel.table.layer_model.rowCount() == 1
    assert panel.view.selected_box == box_of(panel, 7)
    assert "Inputs" in panel.properties.text()


def test_a_second_reading_tells_more_of_the_same_boxes(
    qtbot: QtBot, panel: GraphPanel, tmp_path: Path
) -> None:
    told = network(5)
    tensors = tuple(replace(t, shape=None) if t.kind == "activation" else t for t in told.main.tensors)
    nodes = tuple(replace(node, macs=None) for node in told.main.nodes)
    early = replace(told, graphs=(replace(told.main, tensors=tensors, nodes=nodes),))
    for model, name in ((early, "early.json"), (told, "told.json")):
        graphs.save(model, tmp_path / name)
    lay_out(early.main).save(tmp_path / "layout.npz")
    row = ModelRow("a" * 64, "net", "net.onnx", "onnx", 1000, 0.0, layout_path=str(tmp_path / "layout.npz"))
    with qtbot.waitSignal(panel.document_shown):
        panel.show_row(replace(row, graph_path=str(tmp_path / "early.json")))
    panel.view.select(3)
    first, scene = panel.view.layout_shown, panel.view.scene_shown
    assert "shape unknown" in panel.properties.text()
    with qtbot.waitSignal(panel.document_shown):
        panel.show_row(
            replace(row, graph_path=str(tmp_path / "told.json"), summary={"operators": {"Conv": 5}})
        )
    shown = panel.view.layout_shown
    assert panel.view.scene_shown is scene  # the index of places and edges is in memory once
    assert shown.boxes.source is first.boxes.source
    assert panel.view.node_of(panel.view.selected_box) == 3
    assert "1×64×32×32" in panel.properties.text()
    details, expected = shown.boxes, lay_out(told.main).boxes
    assert [details.details[i] for i in details.detail] == [expected.details[i] for i in expected.detail]
    afresh = GraphView()
    qtbot.addWidget(afresh)
    afresh.resize(panel.view.size())
    afresh.set_model(None, shown)
    afresh.show()
    afresh.select(3)
    afresh.set_camera(panel.view.camera)
    assert afresh.viewport().grab().toImage() == panel.view.viewport().grab().toImage()
