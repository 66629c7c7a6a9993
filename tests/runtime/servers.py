"""Real parts that the live pipeline's tests talk to: a web server, a broker, a server with a model."""

from __future__ import annotations

import contextlib
import getpass
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from edgestudio.runtime.backend import Session
from edgestudio.runtime.exchange.remote import outputs_of, request_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def web_server(routes: dict[str, Handler]) -> AsyncIterator[str]:
    """A server on loopback that posts go to; gives its address."""
    app = web.Application(client_max_size=32 << 20)
    for path, handler in routes.items():
        app.router.add_post(path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def model_server(session: Session, asked: list[dict[str, Any]], status: list[int]) -> Handler:
    """A handler that answers by the Open Inference Protocol with a real model; `status` [0] makes it fail."""

    async def infer(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body)
        if status and status[0] != 200:
            return web.Response(status=status[0])
        given = {"outputs": body["inputs"]}
        feeds = outputs_of(json.dumps(given).encode())
        outputs = session.run(feeds)
        return web.json_response({"model_name": "big", "outputs": request_of(outputs)["inputs"]})

    return infer


@contextmanager
def mosquitto(
    folder: Path, *, password: str | None = None, port: int = 0, more: Sequence[str] = ()
) -> Iterator[int]:
    """A real broker on loopback, with `more` lines in its configuration; gives its port. Skips where none is."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no mosquitto here")
    pytest.importorskip("aiomqtt")
    port = port or _free_port()
    lines = [f"listener {port} 127.0.0.1", "persistence false", f"user {getpass.getuser()}", *more]
    if password is None:
        lines.append("allow_anonymous true")
    else:
        file = folder / "passwords"
        maker = shutil.which("mosquitto_passwd")
        if maker is None:
            pytest.skip("no mosquitto_passwd here")
        subprocess.run([maker, "-b", "-c", str(file), "board", password], check=True, capture_output=True)
        file.chmod(0o644)
        lines += ["allow_anonymous false", f"password_file {file}"]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen(
        [program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
