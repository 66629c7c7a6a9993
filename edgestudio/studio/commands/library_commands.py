"""The commands of the library, of examinations, of projects and of trust."""

from __future__ import annotations

from collections.abc import Iterable

from edgestudio.studio.commands.commands import Command, Selection
from edgestudio.studio.commands.library_actions import LibraryActions
from edgestudio.studio.commands.report_actions import ReportActions


def library_commands(actions: LibraryActions) -> Iterable[Command]:
    """Names, tags, versions, edits, registries."""
    yield Command("edit.undo", "Undo", actions.undo, "edit", "Ctrl+Z", actions.can_undo)
    yield Command("edit.redo", "Redo", actions.redo, "edit", "Ctrl+Shift+Z", actions.can_redo)
    yield Command("model.rename", "Rename…", actions.rename, "model", "F2", _has_model)
    yield Command("model.set_tags", "Tags…", actions.set_tags, "model", "", _has_model)
    yield Command("model.set_version", "Version…", actions.set_version, "model", "", _has_model)
    yield Command("model.note", "Note…", actions.note, "model", "", _has_model)
    yield Command("model.set_facts", "Training and metrics…", actions.set_facts, "model", "", _has_model)
    yield Command(
        "model.edit",
        "Edit the graph…",
        actions.edit,
        "model",
        "Ctrl+E",
        _is_onnx,
        "Rename, set dimensions, cut out a part, drop outputs, convert the opset: a new model under this one",
    )
    yield Command("model.reveal", "Show in the file manager", actions.reveal, "model", "", _has_model)
    yield Command("model.open_in_netron", "Open in Netron", actions.open_in_netron, "model", "", _has_model)
    yield Command("model.publish", "Publish to a registry…", actions.publish, "model", "", _has_model)
    yield Command("model.import_registry", "Import from a registry…", actions.import_registry, "file")
    yield Command("model.remove", "Remove from the library", actions.remove, "model", "", _has_model)


def report_commands(actions: ReportActions) -> Iterable[Command]:
    """Examinations, projects, keys, telemetry."""
    yield Command("model.check", "Check against a board…", actions.check, "model", "Ctrl+K", _has_model)
    yield Command(
        "model.export_failing",
        "Export what fails the check…",
        actions.export_failing,
        "model",
        "",
        actions.has_failing,
        "The smallest parts that do not run on the target, as models of their own",
    )
    yield Command("model.diff", "Compare with its parent", actions.diff, "model", "", _has_model)
    yield Command("optimize.doctor", "Examine the data", actions.doctor, "model", "", _has_data)
    yield Command(
        "optimize.sensitivity",
        "Sensitivity of layers",
        actions.sensitivity,
        "model",
        "",
        _has_onnx_and_data,
        "Quantises one layer at a time and says which ones are better kept in float",
    )
    yield Command("project.open", "Open project…", actions.open_project, "file")
    yield Command("project.save", "Save project", actions.save_project, "file", "Ctrl+S")
    yield Command(
        "project.restore",
        "Restore the project's state",
        actions.restore_project,
        "file",
        "",
        actions.has_project,
        "Puts back names, tags, notes and what is missing as the project's file says; nothing is deleted",
    )
    yield Command("board.invite", "Invite another studio…", actions.invite, "board", "", _has_paired)
    yield Command("keys.rotate", "Replace the signing keys", actions.rotate_keys, "board")
    yield Command("keys.export", "Write a recovery kit…", actions.export_kit, "board")
    yield Command("keys.import", "Read a recovery kit…", actions.import_kit, "board")
    yield Command(
        "dashboard.export", "Export telemetry as CSV…", actions.export_telemetry, "board", "", _has_board
    )


def _has_model(selection: Selection) -> bool:
    return selection.model is not None


def _is_onnx(selection: Selection) -> bool:
    return selection.model is not None and selection.model.format == "onnx"


def _has_data(selection: Selection) -> bool:
    model = selection.model
    return model is not None and (model.data_path is not None or model.calibration_path is not None)


def _has_onnx_and_data(selection: Selection) -> bool:
    return _is_onnx(selection) and _has_data(selection)


def _has_board(selection: Selection) -> bool:
    return selection.board is not None


def _has_paired(selection: Selection) -> bool:
    return selection.board is not None and selection.board.is_paired
