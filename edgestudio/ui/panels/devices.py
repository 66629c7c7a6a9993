"""The Devices: boards as cards that are drop targets, or as a table; how to get more of them."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from edgestudio.studio.rows import BoardRow, DeploymentRow, ModelRow
from edgestudio.ui.desk import Desk
from edgestudio.ui.menus import context_menu
from edgestudio.ui.panels import board_words
from edgestudio.ui.panels.board_card import BoardCard
from edgestudio.ui.panels.board_table import BoardTable
from edgestudio.ui.widgets.buttons import Button, IconButton
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.flow import FlowLayout
from edgestudio.ui.widgets.focus import follow

MENU = (
    "board.pair", "board.push", "board.push_options", "board.rollback", "", "view.dashboard", "board.bench",
    "board.capture", "", "board.unpair", "board.start",
    "board.stop", "board.forget",
)  # fmt: skip
_ADD_MENU = (
    "board.add_simulated",
    "board.add_this_computer",
    "board.add_address",
    "board.watch_broker",
    "",
    "help.doctor",
)
_EMPTY, _CARDS, _TABLE = range(3)
_LEAST_PX = 100


class DevicesPanel(QWidget):
    """Cards first; a button turns them into a table."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("devices-panel")
        self._desk = desk
        self.cards: dict[str, BoardCard] = {}
        self.table = BoardTable()
        self._wants_table = False
        self._build()
        stores = desk.stores
        stores.boards.added.connect(self._put)
        stores.boards.changed.connect(self._put)
        stores.boards.removed.connect(self._take)
        stores.deployments.added.connect(self._deploying)
        stores.deployments.changed.connect(self._deploying)
        stores.models.added.connect(self._models_changed)
        stores.models.removed.connect(self._models_changed)
        desk.drag.began.connect(self._drag_began)
        desk.drag.ended.connect(self._drag_ended)
        desk.selected.boards_changed.connect(self._mark)
        # "Last seen 3 min ago" ages even when nothing is heard.
        self._aging = QTimer(self)
        self._aging.setInterval(20_000)
        self._aging.timeout.connect(self._age)
        self._aging.start()
        for row in stores.boards.rows():
            self._put(row)
        self._show_page()

    def _build(self) -> None:
        self.search = QLineEdit()
        self.search.setObjectName("devices-search")
        self.search.setAccessibleName("Search the boards")
        self.search.setPlaceholderText("Search boards")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._search)
        self._switch = IconButton("table", "Show as a table", "devices-switch", self._toggle)
        head = QHBoxLayout()
        head.setContentsMargins(8, 8, 8, 4)
        head.setSpacing(4)
        head.addWidget(self.search, 1)
        head.addWidget(self._switch)
        head.addWidget(
            IconButton(
                "doctor", "Why is my board missing?", "devices-doctor", lambda: self._desk.run("help.doctor")
            )
        )
        self._add = IconButton("add", "Add a board …", "devices-add", self._open_add_menu)
        head.addWidget(self._add)
        self._flow_host = QWidget()
        self._flow_host.setProperty("kind", "page")
        self._flow = FlowLayout(248, spacing=8, margin=8)
        self._flow_host.setLayout(self._flow)
        scroll = QScrollArea()
        scroll.setObjectName("devices-cards")
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(self._flow_host)
        self._stack = QStackedWidget()
        self._stack.addWidget(
            EmptyState(
                "board",
                "No boards yet",
                "Boards on this network appear by themselves. Without one at hand, start a simulated board.",
                Button(
                    "Add a simulated board",
                    "devices-simulated",
                    run=lambda: self._desk.run("board.add_simulated"),
                ),
                Button(
                    "This computer", "devices-local", run=lambda: self._desk.run("board.add_this_computer")
                ),
                is_narrow=True,
            )
        )
        self._stack.addWidget(scroll)
        self._stack.addWidget(self.table)
        self.table.boards_chosen.connect(lambda ids: self._desk.selected.select_boards(*ids))
        self.table.menu_wanted.connect(self._menu)
        self.table.model_dropped.connect(self._push_later)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self._stack, 1)
        self._stack.setMinimumHeight(_LEAST_PX)

    def _put(self, row: BoardRow) -> None:
        self.table.put(row)
        card = self.cards.get(row.id)
        if card is not None:
            is_moved = _is_ours(card.row) != _is_ours(row)
            card.show_row(row)
            if is_moved:
                self._order()
                self._choose_own(row)
            return
        card = BoardCard(row, self._freshness)
        card.chosen.connect(lambda board: self._desk.selected.select_boards(board))
        card.menu_wanted.connect(self._menu)
        card.pair_wanted.connect(self._pair)
        card.push_wanted.connect(self._push_selected)
        card.start_wanted.connect(lambda board: self._desk.run("board.start", board=board))
        card.model_dropped.connect(self.push)
        self.cards[row.id] = card
        self._flow.addWidget(card)
        self._order()
        self._show_page()
        self._choose_own(row)

    def _choose_own(self, row: BoardRow) -> None:
        """Commands act on a board of the user's own rather than on one that happens to be on the network."""
        chosen = self._desk.stores.boards.get(self._desk.selected.board)
        if chosen is None or (_is_ours(row) and not _is_ours(chosen)):
            self._desk.selected.select_boards(row.id)

    def _order(self) -> None:
        """The user's own boards before those that merely happen to be on the network."""
        ours = [card for card in self.cards.values() if _is_ours(card.row)]
        ordered = [*ours, *(card for card in self.cards.values() if card not in ours)]
        self._flow.arrange(ordered)
        last: QWidget = self._add
        for card in ordered:
            last = follow(last, card)

    def _take(self, row: BoardRow) -> None:
        self.table.take(row.id)
        card = self.cards.pop(row.id, None)
        if card is not None:
            self._flow.removeWidget(card)
            card.hide()
            card.deleteLater()
        if row.id in self._desk.selected.boards:
            self._desk.selected.select_boards(*(key for key in self._desk.selected.boards if key != row.id))
        self._show_page()

    def _deploying(self, deployment: DeploymentRow) -> None:
        card = self.cards.get(deployment.board)
        if card is not None:
            card.show_deployment(deployment)
        if deployment.state != "running":
            self._age()

    def _models_changed(self, row: ModelRow) -> None:
        self._age()

    def _age(self) -> None:
        for card in self.cards.values():
            card.show_row(card.row)

    def _freshness(self, row: BoardRow) -> str:
        if not row.active:
            return ""
        stores = self._desk.stores
        committed = (each for each in stores.deployments.rows() if each.state == "committed")
        released = [(each.model, each.active) for each in committed]
        released += [(each.sha256, each.version) for board in stores.boards.rows() for each in board.active]
        return board_words.freshness(row.active[0], stores.models.rows(), released)

    def files_over(self, where: QPoint | None) -> BoardRow | None:
        """The board at a point of the screen over which files hover, marked as long as they do; None elsewhere."""
        found = None if where is None or not self.isVisible() else self._board_at(where)
        for key, card in self.cards.items():
            card.set_files_over(are_over=found is not None and key == found.id)
        return found

    def _board_at(self, where: QPoint) -> BoardRow | None:
        if self.table.isVisible():
            return self.table.board_at(where)
        for card in self.cards.values():
            # What the scrolled page shows of it, no more: a card may reach below what is seen.
            if card.isVisible() and card.visibleRegion().contains(card.mapFromGlobal(where)):
                return card.row
        return None

    def _drag_began(self) -> None:
        for card in self.cards.values():
            card.set_dragging(is_dragging=True)

    def _drag_ended(self) -> None:
        for card in self.cards.values():
            card.set_dragging(is_dragging=False)

    def _mark(self) -> None:
        for key, card in self.cards.items():
            card.set_selected(is_selected=key in self._desk.selected.boards)

    def _search(self, text: str) -> None:
        self.table.search(text)
        for card in self.cards.values():
            words = f"{card.row.name} {board_words.hardware(card.row)} {card.row.address}".casefold()
            card.setVisible(text.casefold() in words)

    def _toggle(self) -> None:
        self._wants_table = not self._wants_table
        wanted = ("cards", "Show as cards") if self._wants_table else ("table", "Show as a table")
        self._switch.show_icon(*wanted)
        self._show_page()

    def _show_page(self) -> None:
        self._stack.setCurrentIndex(_EMPTY if not self.cards else _TABLE if self._wants_table else _CARDS)

    def _menu(self, board: str, where: QPoint) -> None:
        self._desk.selected.select_boards(board)
        context_menu(self, self._desk, MENU).popup(where)

    def _open_add_menu(self) -> None:
        menu: QMenu = context_menu(self, self._desk, _ADD_MENU)
        menu.popup(self._add.mapToGlobal(self._add.rect().bottomLeft()))

    def _pair(self, board: str) -> None:
        self._desk.selected.select_boards(board)
        self._desk.run("board.pair")

    def _push_selected(self, board: str) -> None:
        self._desk.selected.select_boards(board)
        if self._desk.selected.model is not None:
            self.push(self._desk.selected.model, board)

    def _push_later(self, sha256: str, board: str) -> None:
        QTimer.singleShot(0, self, lambda: self.push(sha256, board))

    def push(self, sha256: str, board: str) -> None:
        """Install a model on a board."""
        self._desk.selected.select_boards(board)
        self._desk.run("board.push", model=sha256, boards=[board])


def _is_ours(row: BoardRow) -> bool:
    return row.is_paired or row.is_local
