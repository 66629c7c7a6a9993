"""`edgestudio agent`: reads the arguments, keeps a second agent out, runs until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestudio.agent.control import ControlSocket, ask_agent
from edgestudio.agent.heap import give_back_large_blocks
from edgestudio.agent.notify import tell_systemd
from edgestudio.agent.settings import AgentSettings
from edgestudio.wire.api import DEFAULT_PORT, DESK_MARK_CHARS, PAIRING_WINDOW_S
from edgestudio.wire.errors import DeviceError, EdgeStudioError, UsageError

if TYPE_CHECKING:
    from edgestudio.agent.supervisor import Supervisor

LOCK = "lock"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb in `argv`; returns the exit status: 0 done, 2 wrong arguments, 3 refused, 130 interrupted."""
    parser = _parser()
    options = parser.parse_args(list(sys.argv[1:] if argv is None else argv))
    try:
        if options.verb == "pair":
            return _pair(options)
        if options.verb == "status":
            return _status(options)
        if options.verb == "provision":
            return _provision(options)
        return _run(options)
    except EdgeStudioError as error:
        _refuse(error, as_json=options.json)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def default_data_dir() -> Path:
    """Where an agent keeps things when nobody says: systemd's folder, root's, or the user's own."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if given := os.environ.get("EDGESTUDIO_AGENT_DATA"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/edgestudio")
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "edgestudio-agent"


def _parser() -> argparse.ArgumentParser:
    from edgestudio.agent.simulate import PROFILES

    parser = argparse.ArgumentParser(
        prog="edgestudio agent", description="Run the board's side of EdgeStudio on this computer."
    )
    parser.add_argument(
        "verb", nargs="?", choices=("run", "pair", "status", "provision"), default="run",
        help="run the agent (the default), show a new pairing code, say what the running agent does, "
        "or take over a provisioning file before the first start",
    )  # fmt: skip
    parser.add_argument("file", nargs="?", type=Path, help="the studio's file, for `provision`")
    parser.add_argument(
        "--reset", action="store_true", help="with `pair`: forget every studio first, such as a lost owner"
    )
    parser.add_argument("--name", default="", help="what studios call this board (default: the host's name)")
    parser.add_argument(
        "--host", default="", help="address to listen on (default: all; simulated: 127.0.0.1)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=None,
        help=f"port to listen on, 0 for any free one (default: {DEFAULT_PORT})",
    )
    parser.add_argument("--data", type=Path, default=None, help="folder for identity, models and telemetry")
    parser.add_argument(
        "--simulate", default=None, metavar="PROFILE",
        help=f"simulate the sensors of a board: {', '.join(PROFILES)}; everything else stays real",
    )  # fmt: skip
    parser.add_argument(
        "--sysroot", type=Path, default=Path("/"), help="where sensors look for /sys and /proc"
    )
    parser.add_argument("--desk", default="", help=argparse.SUPPRESS)  # which studio started it for itself
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    return parser


# ---------------------------------------------------------------------- verbs


def _pair(options: argparse.Namespace) -> int:
    answer = ask_agent(_data_dir(options), {"do": "reset" if options.reset else "pair"})
    text = f"pairing code: {answer['code']} (expires in {answer['expires_in_s'] / 60:.0f} min)"
    if options.reset:
        text = f"forgotten studios: {', '.join(answer['forgotten']) or 'none'}\n{text}"
    _say(answer, text, options)
    return 0


def _provision(options: argparse.Namespace) -> int:
    from edgestudio.agent.trust.provision import is_open, place

    if options.file is None:
        raise UsageError("Say which file.", hint="edgestudio agent provision FILE")
    os.umask(0o077)
    with _alone(folder := _data_dir(options)):
        fingerprint = place(options.file, folder)
    answer, text = {"fingerprint": fingerprint}, "The board is paired from its next start on."
    if is_open(options.file):
        answer["warning"] = f"Others here can read {options.file}, which holds the board's key: remove it."
        text = f"{text}\n{answer['warning']}"
    _say(answer, text, options)
    return 0


def _status(options: argparse.Namespace) -> int:
    answer = ask_agent(_data_dir(options), {"do": "status"})
    lines = [f"{answer['name']} ({answer['hardware']}) on port {answer['port']}"]
    if answer["simulated"]:
        lines[0] += ", simulated sensors"
    for name, model in answer["models"].items():
        active = (model["active"] or {}).get("version") or "nothing"
        lines.append(f"  {name}: {active}{'' if model['serving'] else ', not serving'}")
    lines.append(f"  install: {answer['phase'].lower()}, paired studios: {answer['peers']}")
    if answer["safe_mode"]:
        lines.append(f"  SAFE MODE: {answer['safe_mode']}")
    _say(answer, "\n".join(lines), options)
    return 0


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    os.umask(0o077)
    give_back_large_blocks()
    with _alone(settings.data_dir):
        try:
            return asyncio.run(_serve(settings, as_json=options.json))
        except KeyboardInterrupt:
            return 0


async def _serve(settings: AgentSettings, *, as_json: bool) -> int:
    from edgestudio.agent.net.server import AgentServer
    from edgestudio.agent.supervisor import Supervisor

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    supervisor = Supervisor(settings)
    server = AgentServer(supervisor)
    control = ControlSocket(settings.data_dir, _commands(supervisor, server))
    async with contextlib.AsyncExitStack() as stack:
        await supervisor.start()
        stack.push_async_callback(supervisor.stop)
        await server.start()
        stack.push_async_callback(server.stop)
        await control.start()
        stack.push_async_callback(control.stop)
        _print({"event": "ready", "host": settings.host, "port": server.port},
               f"ready on {settings.host}:{server.port}", as_json=as_json)  # fmt: skip
        if not len(supervisor.peers):
            code = supervisor.open_pairing()
            await server.refresh_announcement()
            _print({"event": "pairing", "code": code}, _pairing_line(code), as_json=as_json)
        tell_systemd("READY=1")
        await stopping.wait()
        tell_systemd("STOPPING=1")
    return 0


def _commands(supervisor: Supervisor, server: Any) -> Mapping[str, Any]:
    tasks: set[asyncio.Task[None]] = set()

    def pair(_: Mapping[str, Any]) -> dict[str, Any]:
        opened = supervisor.pairing.open()
        print(_pairing_line(opened.code), flush=True)  # noqa: T201 - the board's own screen
        task = asyncio.get_running_loop().create_task(server.refresh_announcement())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return {"code": opened.code, "role": opened.role, "expires_in_s": opened.expires_in_s}

    def reset(request: Mapping[str, Any]) -> dict[str, Any]:
        # Whoever can open the control socket holds the board: that is all that a lost owner leaves to ask.
        forgotten = [peer.name for peer in supervisor.peers.all()]
        supervisor.peers.clear()
        said = f"All studios were forgotten at the board itself ({len(forgotten)})."
        supervisor.emit_event("peer.reset", text=said, level="warning", studios=forgotten)
        return {**pair(request), "forgotten": forgotten}

    def status(_: Mapping[str, Any]) -> dict[str, Any]:
        body = {**supervisor.hello(), **supervisor.state(), "port": server.port, "pid": os.getpid()}
        return {**body, "peers": len(supervisor.peers), "uptime_s": supervisor.info()["uptime_s"]}

    return {"pair": pair, "reset": reset, "status": status}


# ---------------------------------------------------------------------- arguments


def _settings(options: argparse.Namespace) -> AgentSettings:
    if options.simulate is not None:
        from edgestudio.agent.simulate import profile

        profile(options.simulate)
    port = options.port if options.port is not None else (0 if options.simulate else DEFAULT_PORT)
    if not 0 <= port <= 65535:
        raise UsageError(f"{port} is no port.", hint="Ports are 0 to 65535.")
    name = options.name or (f"simulated-{options.simulate}" if options.simulate else socket.gethostname())
    host = options.host or ("127.0.0.1" if options.simulate else "0.0.0.0")  # noqa: S104 - a board serves its LAN
    if not options.sysroot.is_dir():
        raise UsageError(
            f"There is no folder {options.sysroot} for --sysroot.", hint="Leave it out, or check it."
        )
    return AgentSettings(
        data_dir=_data_dir(options), name=name[:60], host=host, port=port,
        simulate=options.simulate, sysroot=options.sysroot, desk=options.desk[:DESK_MARK_CHARS],
    )  # fmt: skip


def _data_dir(options: argparse.Namespace) -> Path:
    return Path(options.data if options.data is not None else default_data_dir()).absolute()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the data folder's lock for as long as the agent runs; the kernel lets go of it when the agent dies."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        raise DeviceError(
            f"The data folder {folder} cannot be written: {failure.strerror}.",
            hint="Name another one with --data, or change its owner.",
            code="data-dir",
        ) from failure
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failure:
            raise DeviceError(
                f"Another agent already uses the data folder {folder}.",
                hint="Stop it first, or name another folder with --data.",
                code="already-running",
            ) from failure
        yield
    finally:
        os.close(handle)


# ---------------------------------------------------------------------- console


def _pairing_line(code: str) -> str:
    return f"pairing code: {code} (expires in {PAIRING_WINDOW_S / 60:.0f} min)"


def _say(answer: Mapping[str, Any], text: str, options: argparse.Namespace) -> None:
    _print(answer, text, as_json=options.json)


def _print(answer: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    print(json.dumps(answer) if as_json else text, flush=True)  # noqa: T201 - the board's own screen


def _refuse(error: EdgeStudioError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": error.as_dict()}), flush=True)  # noqa: T201 - the board's own screen
        return
    print(f"edgestudio agent: {error.sentence}", file=sys.stderr)  # noqa: T201 - the board's own screen
    if error.hint:
        print(error.hint, file=sys.stderr)  # noqa: T201 - the board's own screen


if __name__ == "__main__":
    sys.exit(main())
