"""Gestures that a person makes besides the main job, each with what the window must then say.

`python -m tests.journeys.gestures OUTPUT` plays them on $DISPLAY and ends with 0 when all of them hold.
"""

from __future__ import annotations

import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.journeys.stage import perform

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "resources" / "sample" / "digits.onnx"
_SOURCE_AT = (1490, 20)


class Gestures:
    """Each method is one gesture; it raises when the window answers otherwise."""

    def __init__(self, app: Any, output: Path) -> None:
        from tests.journeys.hand import Hand

        self.app, self.output = app, output
        self.hand = Hand()
        self.failed: list[str] = []

    def play(self) -> None:
        """All of them, one after the other."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("a file dropped on the window opens", self.file_is_dropped),
            ("a model dropped on an unpaired board is refused with a sentence", self.drop_is_refused),
            ("a wrong pairing code is refused in place, and the right one still pairs", self.wrong_code),
            ("a file dropped on a board is opened and installed there", self.file_is_dropped_on_a_board),
        ]
        for title, step in steps:
            try:
                step()
            except Exception as problem:
                self.failed.append(title)
                traceback.print_exc()
                print(f"FAILED: {title}: {problem}", flush=True)  # noqa: T201
                self.hand.photograph(self.output / "failed.png")
                return
            print(f"held: {title}", flush=True)  # noqa: T201

    def file_is_dropped(self) -> None:
        """From another program, over the middle of the window."""
        hand = self.hand
        hand.wait("the welcome page", lambda: hand.find("welcome-sample").isEnabled(), timeout=60)
        hand.look(lambda: self.app.window.resize(1460, 960))
        hand.look(lambda: self.app.window.move(0, 0))
        said = self._drag_a_file(hand.look(lambda: hand.middle("centre-tabs")), "file-over-the-window")
        row = hand.wait("the dropped model", lambda: self._model(), timeout=60)
        assert row.name == "digits"
        assert said == "Drop to open digits.onnx"

    def file_is_dropped_on_a_board(self) -> None:
        """From another program onto a card: opened, and installed there."""
        hand = self.hand
        board = hand.wait("the board", self._board)
        card = f"board-card-{board.name}"
        end = hand.look(lambda: self._middle(hand.find(card, within=self._is_ours)))
        said = self._drag_a_file(end, "file-over-a-board")
        assert said == f"Drop to open digits.onnx and install it on {board.name}", said
        hand.wait("the model to serve there", lambda: self._board().active, timeout=60)

    def _drag_a_file(self, end: Any, picture: str) -> str:
        """Drag the sample's file in from another program; what the window says while it hovers."""
        from PySide6.QtCore import QPoint

        hand = self.hand
        command = [sys.executable, "-m", "tests.journeys.drag_source", str(MODEL), *map(str, _SOURCE_AT)]
        source = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert source.stdout is not None
            assert source.stdout.readline().strip() == "ready"
            time.sleep(0.5)
            start = QPoint(_SOURCE_AT[0] + 45, _SOURCE_AT[1] + 20)
            said: list[str] = []

            def over() -> None:
                said.append(hand.look(self._veil))
                hand.photograph(self.output / f"{picture}.png")

            hand.drag(start, end, halfway=over)
            hand.wait("the drag to end", lambda: not self._is_there("drop-veil"))
        finally:
            source.terminate()
            source.wait(10)
        return said[0]

    def _veil(self) -> str:
        from PySide6.QtWidgets import QLabel

        veil = self.hand.find("drop-veil")
        return next(each.text() for each in veil.findChildren(QLabel) if each.text())

    def drop_is_refused(self) -> None:
        """The card says why while the model is over it, and nothing is installed."""
        from tests.journeys.hand import row_middle

        hand = self.hand
        hand.look(lambda: self.app.desk.run("board.add_simulated") and None)
        board = hand.wait("the board", self._board, timeout=60)
        card = f"board-card-{board.name}"
        hand.wait("its card", lambda: hand.find(card, within=self._is_ours))
        start = hand.wait("the model's row", lambda: row_middle(hand.find("library-tree"), "digits"))
        end = hand.look(lambda: self._middle(hand.find(card, within=self._is_ours)))
        hints: list[str] = []

        def over() -> None:
            hints.append(
                hand.look(lambda: hand.find(f"board-hint-{board.name}", within=self._is_ours).text())
            )
            hand.photograph(self.output / "drop-refused.png")

        hand.drag(start, end, halfway=over)
        assert hints == ["Pair this board first"], hints
        time.sleep(0.5)
        assert hand.look(lambda: len(self.app.stores.deployments)) == 0

    def wrong_code(self) -> None:
        """The dialog has the keyboard, says what is wrong, stays, and closes by itself when it holds."""
        hand = self.hand
        board = hand.wait("the board", self._board)
        hand.click(f"board-pair-{board.name}", within=self._is_ours)
        hand.wait("the dialog", lambda: hand.find("pairing-code").hasFocus())
        hand.type("1-WRONG-WRONG-WRONG")
        hand.key("Return")
        said = hand.wait("the refusal", lambda: self._refusal())
        hand.photograph(self.output / "wrong-code.png")
        assert said[0].isupper(), said
        assert "Traceback" not in said
        assert not hand.look(lambda: self._board().is_paired)
        code = hand.wait("the code on its screen", self._code)
        hand.key("ctrl+a")
        hand.type(code)
        hand.key("Return")
        hand.wait("the board to be paired", lambda: self._board().is_paired, timeout=40)
        hand.wait("the dialog to close by itself", lambda: not self._is_there("pairing-code"))

    def _refusal(self) -> str:
        """The answer once the code may be tried again."""
        answer = self.hand.find("pairing-answer")
        if not self.hand.find("pairing-pair").isEnabled() or answer.property("role") != "bad":
            return ""
        return str(answer.text())  # type: ignore[attr-defined]

    def _model(self) -> Any:
        return next((row for row in self.app.stores.models.rows() if row.graph_path), None)

    def _board(self) -> Any:
        rows = self.app.stores.boards.rows()
        return next((row for row in rows if row.is_local and row.is_simulated and row.screen), None)

    def _code(self) -> str:
        import re

        found = re.findall(r"pairing code: (\S+)", "\n".join(self._board().screen))
        return found[-1] if found else ""

    def _is_ours(self, widget: Any) -> bool:
        return getattr(getattr(widget, "row", None), "id", "") == self._board().id

    def _is_there(self, name: str) -> bool:
        try:
            return bool(self.hand.find(name).isVisible())
        except LookupError:
            return False

    @staticmethod
    def _middle(widget: Any) -> Any:
        return widget.mapToGlobal(widget.rect().center())


def main() -> int:
    """Run the application here, with the hand in a thread beside it."""
    output = Path(sys.argv[1])
    return perform(lambda app: Gestures(app, output))


if __name__ == "__main__":
    sys.exit(main())
