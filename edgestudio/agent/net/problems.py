"""Errors as a board answers them: problem+json with a stable code, what happened and what to do."""

from __future__ import annotations

import json
import logging

from aiohttp import web

from edgestudio.wire.errors import EdgeStudioError, InputError, TrustError

log = logging.getLogger(__name__)

_STATUS = {
    "body-too-slow": 408,
    "no-length": 411,
    "too-big": 413,
    "wrong-size": 413,
    "metadata-too-big": 413,
    "encoded-body": 415,
    "wrong-media-type": 415,
    "wrong-hash": 422,
    "who-are-you": 401,
    "not-found": 404,
    "unknown-install": 404,
    "unknown-model": 404,
    "no-capture": 404,
    "no-such-method": 405,
    "too-often": 429,
    "no-space": 507,
}


SERVER = "edgestudio"
"""All that answers say about the program that made them."""


class ProtocolError(EdgeStudioError):
    """A request that this board answers with an error of the protocol itself."""


def status_of(error: EdgeStudioError) -> int:
    """The HTTP status for an error: 4xx for everything that the caller or the board's state is the reason for."""
    if error.code in _STATUS:
        return _STATUS[error.code]
    if isinstance(error, InputError):
        return 400
    return 403 if isinstance(error, TrustError) else 409


def response(error: EdgeStudioError, status: int | None = None) -> web.Response:
    """The answer for an error; see docs/protocol.md."""
    status = status if status is not None else status_of(error)
    # What it went through is told nobody, and holds all that those functions had in hand, such as a body of 32 MiB,
    # until the collector comes by.
    error.__traceback__ = error.__context__ = error.__cause__ = None
    body = {
        "type": "about:blank",
        "status": status,
        "code": error.code,
        "title": error.sentence,
        "hint": error.hint,
    }
    return web.Response(text=json.dumps(body), status=status, content_type="application/problem+json")


def of_http(status: int) -> ProtocolError:
    """What the HTTP library refuses by itself, as a ProtocolError."""
    texts = {
        404: ("not-found", "There is nothing at this address."),
        405: ("no-such-method", "This address does not take this method."),
        413: ("too-big", "The body is too big."),
    }
    code, text = texts.get(status, ("bad-request", "The request cannot be understood."))
    return ProtocolError(text, code=code)


def bug(failure: Exception) -> web.Response:
    """The answer where the agent itself is at fault; the trace goes to its log, never to the caller."""
    log.error("a request failed unexpectedly", exc_info=failure)
    error = ProtocolError(
        "The agent made a mistake while answering.",
        hint="The running model is not affected. The agent's log has the details.",
        code="bug",
    )
    return response(error, 500)
