"""The door on the board itself: a Unix socket in the data folder, for whoever may read that folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgestudio.wire.errors import DeviceError, EdgeStudioError

SOCKET = "control.sock"
MAX_REQUEST_BYTES = 4096
MAX_ANSWER_BYTES = 4 << 20
TIMEOUT_S = 10.0

Command = Callable[[Mapping[str, Any]], dict[str, Any]]


class ControlSocket:
    """Answers one JSON line per connection with one JSON line: {"do": name, ...} -> {...} or {"error": {...}}."""

    def __init__(self, folder: Path, commands: Mapping[str, Command]) -> None:
        self._folder = folder
        self._commands = commands
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Listen; only the owner of the data folder can connect."""
        path = self._folder / SOCKET
        path.unlink(missing_ok=True)
        ours = _bound(path)
        path.chmod(0o600)
        self._server = await asyncio.start_unix_server(self._serve, sock=ours, limit=MAX_REQUEST_BYTES)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        (self._folder / SOCKET).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.TimeoutError, ValueError):
            line = await asyncio.wait_for(reader.readline(), TIMEOUT_S)
            writer.write(json.dumps(self._answer(line)).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = self._commands[request["do"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {
                "error": {"code": "usage", "message": "The agent does not know this command.", "hint": ""}
            }
        try:
            return command(request)
        except EdgeStudioError as error:
            return {"error": error.as_dict()}


def ask_agent(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the agent that uses the data folder `folder`; DeviceError when there is none, or what it answers."""
    try:
        with _connected(folder / SOCKET) as channel:
            channel.sendall(json.dumps(request).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n") and len(data) < MAX_ANSWER_BYTES:
                part = channel.recv(65536)
                if not part:
                    break
                data += part
        answer = json.loads(data)
    except PermissionError:
        raise DeviceError(
            f"The agent's folder {folder} belongs to another user.",
            hint="Run the command as that user, for example with sudo.",
            code="not-allowed",
        ) from None
    except (OSError, ValueError):
        raise DeviceError(
            f"No agent is running with the data folder {folder}.",
            hint="Start one with `edgestudio agent`, or name its folder with --data.",
            code="no-agent",
        ) from None
    if isinstance(answer, dict) and "error" in answer:
        error = answer["error"]
        raise DeviceError(str(error["message"]), hint=str(error["hint"]), code=str(error["code"]))
    return dict(answer)


def _bound(path: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _near(path) as name:
            channel.bind(name)
    except BaseException:
        channel.close()
        raise
    return channel


def _connected(path: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(TIMEOUT_S)
    try:
        with _near(path) as name:
            channel.connect(name)
    except BaseException:
        channel.close()
        raise
    return channel


@contextlib.contextmanager
def _near(path: Path) -> Iterator[str]:
    """A name for `path` that fits: a socket's path has at most 107 bytes, a data folder's may have more."""
    if len(str(path).encode()) < 100:
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as short:
        link = Path(short) / "d"
        link.symlink_to(path.parent)
        yield str(link / path.name)
