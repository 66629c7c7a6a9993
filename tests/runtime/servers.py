"""Real parts that the live pipeline's tests talk to: a web server, a server with a model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

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
