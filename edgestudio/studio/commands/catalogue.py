"""The commands of the studio, built from its services and what the window offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from edgestudio.studio.app import Studio
from edgestudio.studio.commands.actions import Actions, is_target
from edgestudio.studio.commands.commands import Command, CommandSet, Group, Selection, Window
from edgestudio.studio.commands.context import Submit
from edgestudio.studio.commands.library_actions import LibraryActions
from edgestudio.studio.commands.library_commands import library_commands, report_commands
from edgestudio.studio.commands.report_actions import ReportActions


def build_commands(
    studio: Studio, submit: Submit, window: Window, selection: Callable[[], Selection]
) -> CommandSet:
    """All commands; `submit` starts a coroutine on the loop thread (LoopThread.submit)."""
    actions = Actions(studio, submit, window, selection)
    commands = [
        *_file_commands(actions, window),
        *_model_commands(actions),
        *library_commands(LibraryActions(studio, submit, window, selection)),
        *report_commands(ReportActions(studio, submit, window, selection)),
        *_board_commands(actions),
        *_job_commands(actions),
        *_view_commands(window),
    ]
    return CommandSet(commands, selection)


def _file_commands(actions: Actions, window: Window) -> Iterable[Command]:
    yield Command("model.open", "Open model…", actions.open_models, "file", "Ctrl+O")
    yield Command("model.open_sample", "Open the sample model", actions.open_sample, "file")
    yield Command("model.export", "Export model…", actions.export_model, "file", "Ctrl+Shift+E", _has_model)
    yield _window_command("app.settings", "Settings…", "file", "Ctrl+,", lambda: window.show("settings"))
    yield _window_command("app.quit", "Quit", "file", "Ctrl+Q", window.close)
    yield _window_command(
        "app.palette", "Command palette…", "edit", "Ctrl+Shift+P", lambda: window.show("palette")
    )


def _model_commands(actions: Actions) -> Iterable[Command]:
    yield Command("optimize.run", "Run recipe", actions.optimize, "model", "Ctrl+R", _has_model)
    yield Command("model.evaluate", "Evaluate on its data", actions.evaluate, "model", "", _has_data)
    yield Command("model.bench", "Benchmark here", actions.bench, "model", "Ctrl+B", _has_model)
    yield Command("model.reload", "Inspect again", actions.reload, "model", "F5", _has_model)


def _board_commands(actions: Actions) -> Iterable[Command]:
    yield Command(
        "board.add_simulated", "Add a simulated board", actions.add_simulated, "board", "Ctrl+Shift+B"
    )
    yield Command(
        "board.add_this_computer", "Use this computer as a board", actions.add_this_computer, "board"
    )
    yield Command("board.add_address", "Add a board by address…", actions.add_address, "board")
    yield Command("board.pair", "Pair…", actions.pair, "board", "", _has_unpaired)
    yield Command("board.unpair", "Unpair", actions.unpair, "board", "", _has_paired)
    yield Command(
        "board.push", "Push the model to the board", actions.push, "board", "Ctrl+Shift+U", _can_push
    )
    yield Command("board.rollback", "Roll back", actions.rollback, "board", "", _can_roll_back)
    yield Command("board.start", "Start this board again", actions.start_board, "board", "", _can_start)
    yield Command("board.stop", "Stop this board", actions.stop_board, "board", "", _has_local)
    yield Command("board.forget", "Forget this board", actions.forget, "board", "", _has_board)


def _job_commands(actions: Actions) -> Iterable[Command]:
    yield Command("job.cancel", "Cancel job", actions.cancel_job, "job", "", _has_live_job)
    yield Command("job.retry", "Start job again", actions.retry_job, "job", "", actions.has_retryable_job)
    yield Command("job.clear", "Clear ended jobs", actions.clear_jobs, "job")
    yield Command("deployment.cancel", "Cancel deployment", actions.cancel_deployment, "job", "", _never)
    yield Command("notice.clear", "Clear notices", actions.clear_notices, "job")


def _view_commands(window: Window) -> Iterable[Command]:
    for panel in ("library", "graph", "recipe", "devices", "dashboard", "jobs", "notices"):
        title = panel.capitalize()
        yield _window_command(f"view.{panel}", title, "view", "", partial(window.show, panel))
    yield _window_command("view.welcome", "Welcome page", "view", "", lambda: window.show("welcome"))
    yield _window_command("view.reset", "Reset the layout", "view", "", lambda: window.view("reset"))
    yield _window_command(
        "view.full_screen", "Full screen", "view", "F11", lambda: window.view("full-screen")
    )
    for theme in ("system", "light", "dark"):
        title = {"system": "Follow the system's colours", "light": "Light", "dark": "Dark"}[theme]
        yield _window_command(
            f"view.theme_{theme}", title, "view", "", partial(window.view, f"theme-{theme}")
        )
    yield _window_command("help.contents", "Help", "help", "F1", lambda: window.show("help"))
    yield _window_command("help.keys", "Keyboard shortcuts", "help", "Ctrl+F1", lambda: window.show("keys"))
    yield _window_command(
        "help.doctor", "Why is my board missing?", "help", "", lambda: window.show("doctor")
    )
    yield _window_command("help.about", "About EdgeStudio", "help", "", lambda: window.show("about"))


def _window_command(
    command_id: str, title: str, group: Group, shortcut: str, act: Callable[[], None]
) -> Command:
    def run() -> None:
        act()

    return Command(command_id, title, run, group, shortcut)


def _never(selection: Selection) -> bool:
    return False


def _has_model(selection: Selection) -> bool:
    return selection.model is not None


def _has_data(selection: Selection) -> bool:
    return selection.model is not None and selection.model.data_path is not None


def _has_board(selection: Selection) -> bool:
    return selection.board is not None


def _can_start(selection: Selection) -> bool:
    return selection.board is not None and selection.board.can_start


def _has_local(selection: Selection) -> bool:
    return selection.board is not None and selection.board.is_local


def _has_unpaired(selection: Selection) -> bool:
    return selection.board is not None and not selection.board.is_paired


def _has_paired(selection: Selection) -> bool:
    return selection.board is not None and selection.board.is_paired


def _can_push(selection: Selection) -> bool:
    return selection.model is not None and any(is_target(board) for board in selection.boards)


def _can_roll_back(selection: Selection) -> bool:
    return selection.board is not None and is_target(selection.board) and bool(selection.board.active)


def _has_live_job(selection: Selection) -> bool:
    return selection.job is not None and not selection.job.is_over
