"""Parses a verb, runs it on the studio's services, and ends with 0, 2, 3 or 130."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from edgestudio import __version__
from edgestudio.cli.console import Console
from edgestudio.cli.verbs import OTHER_VERBS, VERBS
from edgestudio.wire.errors import EdgeStudioError, RefusedError, UsageError

INTERRUPTED = 130
# Errors whose details are worth a log file: nobody can act on them, somebody may want to read them.
_WITH_DETAILS = frozenset({"bug", "job-crashed", "agent-start"})


class _Parser(argparse.ArgumentParser):
    """Reports a wrong call as an error of the tree, so that `--json` holds for it too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", hint=f"See {self.prog} --help.")


def main(argv: Sequence[str]) -> int:
    """Run one verb; never raises for what a user, a file or a board did."""
    try:
        return _guarded(argv)
    except BrokenPipeError:
        # Whoever read our stdout has gone (`| head`): nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED


def _guarded(argv: Sequence[str]) -> int:
    arguments = list(argv)
    console = Console(is_json="--json" in arguments)
    try:
        with _terminated_as_interrupted():
            return _main(arguments, console)
    except EdgeStudioError as error:
        if error.code in _WITH_DETAILS and error.details:
            error.hint = f"{error.hint} {_kept(error.details)}".strip()
        console.error(error)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.error(RefusedError("Interrupted; nothing was left half done.", code="interrupted"))
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  what nobody expected is a bug and says so
        console.error(_bug(error))
        return 3


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends a verb as Ctrl+C does, from its first import on; once a loop runs, `_run` takes it over."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _main(arguments: list[str], console: Console) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_overview())
        return 0
    name = arguments[0]
    if name not in VERBS:
        raise UsageError(f"There is no verb and no file {name!r}.", hint="edgestudio --help lists the verbs.")
    verb = VERBS[name]
    module = importlib.import_module(verb.module)
    parser = _Parser(prog=f"edgestudio {name}", description=f"{verb.summary[:1].upper()}{verb.summary[1:]}.")
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON alone on stdout")
    options = parser.parse_args(arguments[1:])
    return asyncio.run(_run(module, options, console))


async def _run(module: Any, options: argparse.Namespace, console: Console) -> int:
    from edgestudio.studio.app import Studio

    studio = Studio()
    studio.bus.subscribe(console.on_event)
    task = asyncio.current_task()
    assert task is not None
    with contextlib.suppress(NotImplementedError, RuntimeError):  # not on Windows, not off the main thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        status: int = await module.run(studio, options, console)
        return status
    finally:
        await studio.stop()
        console.clear()


def _overview() -> str:
    everything = {**{name: verb.summary for name, verb in VERBS.items()}, **OTHER_VERBS}
    width = max(map(len, everything))
    lines = [
        f"edgestudio {__version__}: drop a model on a board, and see it run there.",
        "",
        "  edgestudio [MODEL...]      open the window, with these models",
        "  edgestudio VERB ...        use the command line; edgestudio VERB --help says more",
        "  edgestudio --version",
        "",
        "verbs:",
        *(f"  {name.ljust(width)}  {summary}" for name, summary in everything.items()),
        "",
        "Every verb takes --json. It ends with 0 (done), 2 (bad input), 3 (refused or failed), 130 (interrupted).",
        "EDGESTUDIO_HOME moves everything that the studio keeps.",
    ]
    return "\n".join(lines)


def _bug(error: BaseException) -> EdgeStudioError:
    trace = "".join(traceback.format_exception(error))
    message = f"This is a bug: {type(error).__name__}: {error}"
    return RefusedError(message, hint=f"Please report it. {_kept(trace)}", code="bug")


def _kept(details: str) -> str:
    """Write details to a log of their own; returns the sentence that says where."""
    from edgestudio.studio.paths import default_paths

    log = default_paths().logs / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"edgestudio {__version__}, Python {sys.version}\n\n{details}", encoding="utf-8")
    except OSError:
        return "The details could not be written to a log."
    return f"The details are in {log}"
