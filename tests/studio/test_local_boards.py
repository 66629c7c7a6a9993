"""A board that is started here gets a name of its own, and keeps it."""

from __future__ import annotations

from pathlib import Path

from edgestudio.studio.boards.local_boards import LocalBoards
from edgestudio.studio.paths import Paths
from edgestudio.wire.identity import Identity


def name_of(boards: LocalBoards, seen: set[tuple[str, str]]) -> str:
    board = boards._reserve("pi5", None, frozenset(seen), is_same=False)
    board.lock.release()
    del boards._boards[board.name]
    return board.name


def test_a_name_on_the_network_is_not_taken_again(tmp_path: Path) -> None:
    boards = LocalBoards(Paths(tmp_path), lambda board: None)
    assert name_of(boards, set()) == "simulated-pi5"
    taken = {("simulated-pi5", "e" * 64), ("simulated-pi5-2", "f" * 64)}
    assert name_of(boards, taken) == "simulated-pi5-3"


def test_a_board_that_was_made_here_keeps_its_name(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    boards = LocalBoards(paths, lambda board: None)
    name_of(boards, set())
    own = Identity.load_or_create(paths.boards / "simulated-pi5" / "data" / "identity", "simulated-pi5")
    assert name_of(boards, {("simulated-pi5", own.fingerprint)}) == "simulated-pi5"
    assert name_of(boards, {("simulated-pi5", "e" * 64)}) == "simulated-pi5-2"
