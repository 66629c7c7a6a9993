"""HTTP over pinned TLS to one board: requests that may be repeated, and answers turned into values or errors."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Any

import aiohttp

from edgestudio.wire import api, tls
from edgestudio.wire.errors import DeviceError, EdgeStudioError, InputError, InstallError, TrustError
from edgestudio.wire.fields import clean_text, parse_json

TIMEOUT_S = 15.0
KEEPALIVE_S = 10.0  # below the board's own, so that no request meets a door that is just closing
SILENT_S = 45.0
"""A connection whose data nobody acknowledges for so long is lost, however much time its request has left."""

MAX_ANSWER_BYTES = 48 * 1024 * 1024
PIECE_BYTES = 512 * 1024
_INSTALL_CODES = frozenset(
    {"wrong-device", "downgrade", "quarantined", "clock-ahead", "install-failed", "safe-mode"}
)


class Link:
    """Connections to one board; use as an async context manager. Raises the errors of `wire.errors` only."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, name: str = "") -> None:
        self.host, self.port = host, port
        self.name = name or f"{host}:{port}"
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Link:  # noqa: PYI034  the agent's tests use it on 3.10, which has no Self
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def url(self, path: str) -> str:
        """The address of `path` on this board."""
        return f"https://{_bracketed(self.host)}:{self.port}{path}"

    async def get(self, path: str, **query: str | int) -> Any:
        """The JSON at `path`."""
        return await self.request("GET", path, query={k: str(v) for k, v in query.items()})

    async def post(self, path: str, body: object, *, timeout_s: float = TIMEOUT_S) -> Any:
        """Post `body`; sent again under the same request id when the answer is lost, and done once."""
        headers = {api.REQUEST_ID_HEADER: secrets.token_hex(16)}
        return await self.request("POST", path, body=body, headers=headers, timeout_s=timeout_s)

    async def put(self, path: str, data: bytes, *, timeout_s: float = TIMEOUT_S) -> Any:
        """Put raw bytes; doing so twice is the same as once."""
        headers = {"Content-Length": str(len(data)), "Content-Type": "application/octet-stream"}
        return await self.request("PUT", path, data=data, headers=headers, timeout_s=timeout_s)

    async def download(self, path: str, *, timeout_s: float = TIMEOUT_S) -> bytes:
        """The raw bytes at `path`, at most `MAX_ANSWER_BYTES`."""
        data: bytes = await self.request("GET", path, timeout_s=timeout_s, is_raw=True)
        return data

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        is_raw: bool = False,
    ) -> Any:
        """One request; a connection that had gone stale is replaced once."""
        for attempt in (1, 2):
            try:
                return await self._once(method, path, body, data, headers, query, timeout_s, is_raw=is_raw)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError) as e:  # noqa: PERF203 - two rounds at most
                if attempt == 2:
                    raise self.explain(e) from e
            except (asyncio.TimeoutError, aiohttp.ClientError, OSError) as e:
                raise self.explain(e) from e
        raise AssertionError("unreachable")

    async def open_stream(self) -> aiohttp.ClientWebSocketResponse:
        """The record stream, with the heartbeat that presence is known by."""
        try:
            return await self._connected().ws_connect(
                self.url(api.STREAM),
                heartbeat=api.HEARTBEAT_S,
                max_msg_size=8 * 1024 * 1024,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
            )
        except aiohttp.WSServerHandshakeError as e:
            if e.status in (401, 403):
                raise _not_paired(self.name) from e
            raise DeviceError(f"{self.name} refuses its record stream ({e.status}).", code="no-stream") from e
        except (asyncio.TimeoutError, aiohttp.ClientError, OSError) as e:
            raise self.explain(e) from e

    async def texts(self, stream: aiohttp.ClientWebSocketResponse) -> AsyncGenerator[str, None]:
        """The messages of a record stream, until the board closes it."""
        try:
            async for message in stream:
                if message.type == aiohttp.WSMsgType.TEXT:
                    yield message.data
        except (aiohttp.ClientError, OSError) as e:
            raise self.explain(e) from e

    def explain(self, failure: BaseException) -> EdgeStudioError:
        """A failed connection as people and programs read it."""
        if isinstance(failure, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
            return tls.wrong_pin(self.name)
        if isinstance(failure, aiohttp.ClientConnectorSSLError):
            return tls.unreachable(self.host, self.port, ssl.SSLError())
        if isinstance(failure, aiohttp.ClientConnectorError):
            return tls.unreachable(self.host, self.port, failure.os_error)
        if isinstance(failure, (asyncio.TimeoutError, ConnectionRefusedError)):
            return tls.unreachable(self.host, self.port, failure)
        return DeviceError(
            f"The connection to {self.name} was lost.",
            hint="Is the board still on, and on the network?",
            code="connection-lost",
            details=f"{type(failure).__name__}: {failure}",
        )

    async def _once(
        self,
        method: str,
        path: str,
        body: object,
        data: bytes | None,
        headers: dict[str, str] | None,
        query: dict[str, str] | None,
        timeout_s: float,
        *,
        is_raw: bool,
    ) -> Any:
        payload = _pieces(data) if data is not None else None
        async with self._connected().request(
            method,
            self.url(path),
            json=body,
            data=payload,
            headers=headers,
            params=query,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as response:
            answer = await _limited(response)
            if response.status >= 300:
                raise _refusal(self.name, response.status, answer)
        if is_raw:
            return answer
        return parse_json(answer, where=f"the answer of {self.name}") if answer else {}

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._context, limit=8, keepalive_timeout=KEEPALIVE_S, use_dns_cache=False,
                socket_factory=_socket,
            )  # fmt: skip
            timeout = aiohttp.ClientTimeout(sock_connect=tls.CONNECT_TIMEOUT_S)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        return self._session


def _socket(address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(*address[:3])
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; elsewhere a request's own time is the limit
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * SILENT_S))
    return made


async def _pieces(data: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            response.close()
            raise DeviceError("The board's answer is too big to be one.", code="bad-answer")
        parts.append(part)
    return b"".join(parts)


def _refusal(name: str, status: int, answer: bytes) -> EdgeStudioError:
    """What a board refused, as the error that it stands for; its text is a stranger's until cleaned."""
    try:
        problem = parse_json(answer, where="the answer")
    except InputError:
        problem = None
    given = problem if isinstance(problem, dict) else {}
    code = clean_text(str(given.get("code", "")), 64) or f"http-{status}"
    text = clean_text(str(given.get("title", "")), 500) or f"{name} refused the request ({status})."
    hint = clean_text(str(given.get("hint", "")), 500)
    if code in _INSTALL_CODES:
        return InstallError(text, hint=hint, code=code)
    if status in (401, 403):
        return TrustError(text, hint=hint, code=code)
    return DeviceError(text, hint=hint, code=code)


def _not_paired(name: str) -> TrustError:
    return TrustError(
        f"{name} does not know this studio any more.", hint="Pair with the board again.", code="not-paired"
    )


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host.partition("%")[0]).version == 6 else host
    except ValueError:
        return host
