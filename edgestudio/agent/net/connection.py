"""One HTTP connection of the board: what the HTTP library cannot read is answered as everything else, or dropped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from edgestudio.agent.net import problems

log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """As aiohttp's, but no request leaves a connection behind that nobody serves, and no answer names versions."""

    async def start(self) -> None:
        """Serve requests one after the other until either side has enough."""
        try:
            await super().start()
        except asyncio.CancelledError:
            raise
        except Exception as failure:
            # Such as an address that the parser takes and the URL does not: it would stay open for ever, and asyncio
            # would write the trace into the log for whoever sent that.
            log.debug("a connection was given up", exc_info=failure)
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what cannot be parsed, or to a mistake of the agent; ends the connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        answer: web.Response
        if exc is None or isinstance(
            exc, (HttpProcessingError, ConnectionError)
        ):  # his nonsense; or he has hung up
            answer = problems.response(problems.of_http(status), status)
        else:
            answer = problems.bug(exc if isinstance(exc, Exception) else RuntimeError(repr(exc)))
        answer.headers["Server"] = problems.SERVER
        answer.force_close()
        return answer


def abort(transport: asyncio.Transport) -> None:
    """End a connection at once."""
    # What was closed twice is gone, and Debian 12's Python 3.11.2 then fails instead of doing nothing.
    with contextlib.suppress(AttributeError):
        transport.abort()


def connections_of(server: web.Server, **settings: Any) -> Any:
    """A factory of connections for a Listener; `settings` are aiohttp's own."""
    loop = asyncio.get_running_loop()
    return lambda: Connection(server, loop=loop, **settings)
