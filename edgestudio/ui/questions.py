"""What commands need to know first, asked without blocking anything: files, a place to save, an address, a code."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QWidget

from edgestudio.ui.ask import Question, ask_one
from edgestudio.ui.desk import Desk
from edgestudio.ui.panels.pairing import PairingDialog
from edgestudio.ui.requests import Requests

PATTERN = (
    "Models (*.onnx *.ort *.tflite *.pb *.pbtxt *.h5 *.hdf5 *.keras *.mlmodel *.pt *.pt2 *.pth *.safetensors *.xml "
    "*.caffemodel *.prototxt *.param *.pte *.gguf *.npz);;All files (*)"
)


class Questions:
    """Makes `desk.dialogs`."""

    def __init__(self, desk: Desk, requests: Requests, window: QWidget) -> None:
        self._desk, self._requests, self._window = desk, requests, window
        desk.dialogs.update(
            {
                "model.open": self.open_models,
                "model.export": self.export_model,
                "board.add_address": self.add_address,
                "board.pair": self.pair,
            }
        )

    def open_models(self) -> None:
        """Which files to open."""
        dialog = QFileDialog(self._window, "Open model", "", PATTERN)
        dialog.setObjectName("open-dialog")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        # The list of suffixes is wider than many a screen.
        dialog.setOption(QFileDialog.Option.HideNameFilterDetails)
        dialog.filesSelected.connect(
            lambda names: self._desk.run("model.open", paths=[Path(name) for name in names])
        )
        self._open(dialog)

    def export_model(self) -> None:
        """Where to copy the selected model."""
        row = self._desk.stores.models.get(self._desk.selected.model)
        if row is None:
            return
        dialog = QFileDialog(self._window, f"Export {row.name}")
        dialog.setObjectName("export-dialog")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.selectFile(f"{row.name}{Path(row.path).suffix}" if not Path(row.name).suffix else row.name)
        dialog.fileSelected.connect(
            lambda name: self._desk.run("model.export", model=row.sha256, to=Path(name))
        )
        self._open(dialog)

    def add_address(self) -> None:
        """Where a board is."""
        ask_one(
            "address-dialog", "Add a board by address", self._window,
            Question("answer", "Address", hint="As host or host:port."),
            lambda text: self._desk.run("board.add_address", address=text), accept="Add",
        )  # fmt: skip

    def pair(self) -> None:
        """The code that the selected board shows."""
        board = self._desk.selected.board
        if board is None:
            return
        dialog = PairingDialog(board, self._desk.stores.boards, self._requests.pair, self._window)
        dialog.show()

    def _open(self, dialog: QFileDialog) -> None:
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
