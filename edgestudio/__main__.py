"""The one door: picks the worker, the agent, a verb or the window before importing anything heavy."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from edgestudio import __version__

# What a window needs from the system, as its loader names it when it is missing.
_QT = ("PySide6", "shiboken6", "pyqtgraph")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--end-with-stdin"]:
        _end_with_stdin()
        del arguments[0]
    first = arguments[0] if arguments else ""
    if first == "--worker":
        from edgestudio.worker import main as run_worker

        return run_worker(is_early="--ready" in arguments)
    if first == "-m" and len(arguments) > 1:
        return _module(arguments[1:])
    if first == "agent":
        from edgestudio.agent.main import main as run_agent

        return run_agent(arguments[1:])
    if first in ("--version", "-V"):
        print(f"edgestudio {__version__}")  # noqa: T201
        return 0
    from edgestudio.cli.verbs import VERBS, is_for_cli

    if first in VERBS or is_for_cli(arguments):
        from edgestudio.cli.main import main as run_verb

        return run_verb(arguments)
    return _window(arguments)


def _window(arguments: list[str]) -> int:
    is_linux = sys.platform.startswith("linux")
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
    if is_linux and not has_display:
        return _refuse(
            "There is no display for the window.",
            "Start it in a graphical session, or use the command line: edgestudio --help",
        )
    try:
        from edgestudio.ui.app import run
    except ImportError as error:
        if (error.name or "").startswith(_QT):
            return _refuse(
                "The window needs PySide6 and pyqtgraph, which are not installed here.",
                "Install PySide6-Essentials and pyqtgraph, or use the command line: edgestudio --help",
            )
        if "cannot open shared object" in str(error):
            return _refuse(
                f"The window needs a library of the system that is missing: {str(error).partition(':')[0]}.",
                "Install it (`make setup` does), or use the command line: edgestudio --help",
            )
        raise
    return run(arguments)


def _refuse(message: str, hint: str) -> int:
    print(f"{message}\n{hint}", file=sys.stderr)  # noqa: T201
    return 2


def _module(arguments: list[str]) -> int:
    """Answer `-m MODULE` for our own modules: a frozen program is its children's interpreter."""
    import runpy

    if not arguments[0].startswith("edgestudio."):
        return _refuse(f"{arguments[0]} is no part of EdgeStudio.", "See edgestudio --help.")
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    return 0


def _end_with_stdin() -> None:
    """End this process when its stdin closes: whoever started it is gone, however it went."""
    import signal
    import threading
    import time

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(3)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
