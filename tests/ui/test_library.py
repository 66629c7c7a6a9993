from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from edgestudio.ui.dragging import dragged_model
from edgestudio.ui.panels import library
from edgestudio.ui.panels.library import LibraryPanel
from edgestudio.ui.panels.library_model import GAIN_ROLE
from tests.ui.parts import SOURCE, VARIANT, Bench, model, variant


@pytest.fixture
def panel(qtbot, bench: Bench) -> LibraryPanel:
    made = LibraryPanel(bench.desk)
    qtbot.addWidget(made)
    made.resize(480, 400)
    made.show()
    qtbot.waitExposed(made)
    return made


def names(panel: LibraryPanel) -> dict[str, list[str]]:
    shown = panel.tree.model()
    roots = [shown.index(at, 0) for at in range(shown.rowCount())]
    return {i.data(): [shown.index(at, 0, i).data() for at in range(shown.rowCount(i))] for i in roots}


def test_a_variant_stands_under_its_parent(panel: LibraryPanel, bench: Bench) -> None:
    bench.put(model(), variant())
    assert names(panel) == {"digits": ["digits-int8"]}


def test_a_parent_that_comes_later_takes_its_variants(panel: LibraryPanel, bench: Bench) -> None:
    bench.put(variant(), model())
    assert names(panel) == {"digits": ["digits-int8"]}


def test_a_removed_parent_leaves_its_variants(panel: LibraryPanel, bench: Bench) -> None:
    bench.put(model(), variant())
    bench.take(model())
    assert names(panel) == {"digits-int8": []}


def test_figures_and_gain(panel: LibraryPanel, bench: Bench) -> None:
    bench.put(model(), variant())
    shown = panel.tree.model()
    parent = shown.index(0, 0)
    row = [shown.index(0, column, parent).data() for column in range(5)]
    assert row == ["digits-int8", "ONNX", "42.0 kB", "98.6 %", "0.080 ms"]
    assert shown.index(0, 0, parent).data(GAIN_ROLE) == "−73 %"
    # The source was measured as the "before" of its variant.
    assert [shown.index(0, column).data() for column in (3, 4)] == ["98.9 %", "0.14 ms"]


def test_search_keeps_the_parents_of_hits(panel: LibraryPanel, bench: Bench) -> None:
    bench.put(model(), variant(), model("c" * 64, "mobilenet"))
    panel.search.setText("int8")
    assert names(panel) == {"digits": ["digits-int8"]}
    panel.search.setText("nothing like it")
    assert names(panel) == {}
    panel.search.clear()
    assert set(names(panel)) == {"digits", "mobilenet"}


def test_the_first_model_is_selected_and_keys_move_on(panel: LibraryPanel, bench: Bench, qtbot) -> None:
    bench.put(model(), variant())
    assert bench.desk.selected.model == SOURCE
    QTest.keyClick(panel.tree, Qt.Key.Key_Down)
    assert bench.desk.selected.model == VARIANT
    with qtbot.waitSignal(panel.model_opened) as opened:
        QTest.keyClick(panel.tree, Qt.Key.Key_Return)
    assert opened.args == [VARIANT]


def test_a_selection_made_elsewhere_is_followed(panel: LibraryPanel, bench: Bench) -> None:
    bench.put(model(), variant())
    bench.desk.selected.select_model(VARIANT)
    assert panel.tree.currentIndex().data() == "digits-int8"


def test_columns_go_when_there_is_no_room(panel: LibraryPanel, bench: Bench, qtbot) -> None:
    bench.put(model(), variant())
    panel.resize(900, 400)
    qtbot.waitUntil(lambda: not any(panel.tree.isColumnHidden(column) for column in range(5)))
    panel.resize(260, 400)
    qtbot.waitUntil(lambda: panel.tree.isColumnHidden(1) and panel.tree.isColumnHidden(4))
    assert not panel.tree.isColumnHidden(2)
    assert panel.tree.columnWidth(0) >= 100


def test_an_empty_library_says_how_to_fill_it(panel: LibraryPanel, bench: Bench) -> None:
    panel.findChild(object, "library-sample").click()
    panel.findChild(object, "library-open").click()
    assert [name for name, _ in bench.runs] == ["model.open_sample", "model.open"]
    bench.put(model())
    assert panel.tree.isVisible()
    bench.take(model())
    assert not panel.tree.isVisible()


def test_the_context_menu_acts_on_the_selection(panel: LibraryPanel, bench: Bench) -> None:
    bench.put(model())
    panel.tree.customContextMenuRequested.emit(panel.tree.visualRect(panel.tree.currentIndex()).center())
    menu = panel.findChild(object, "context-menu")
    next(action for action in menu.actions() if action.text() == "Remove from the library").trigger()
    assert bench.runs == [("model.remove", {})]
    menu.close()


def test_starting_a_drag_carries_the_model(panel: LibraryPanel, bench: Bench, monkeypatch) -> None:
    carried, told = [], []
    bench.desk.drag.began.connect(lambda: told.append("began"))
    bench.desk.drag.ended.connect(lambda: told.append("ended"))

    class FakeDrag:
        def __init__(self, source) -> None:
            self.source = source

        def setMimeData(self, mime) -> None:
            carried.append(mime)

        def setPixmap(self, picture) -> None:
            assert not picture.isNull()

        def setHotSpot(self, point) -> None: ...

        def exec(self, *actions) -> None:
            told.append("exec")

    monkeypatch.setattr(library, "QDrag", FakeDrag)
    bench.put(model(), variant())
    index = panel.tree.model().index(0, 0, panel.tree.model().index(0, 0))
    start = panel.tree.viewport().mapTo(panel, panel.tree.visualRect(index).center())
    window = panel.windowHandle()
    QTest.mousePress(window, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
    for step in (8, 24, 40):
        QTest.mouseMove(window, start + type(start)(step, 0))
    QTest.mouseRelease(window, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
    assert told == ["began", "exec", "ended"]
    assert dragged_model(carried[0]) == VARIANT
    assert carried[0].text() == "digits-int8"
