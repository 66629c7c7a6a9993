"""The HTTP manners that the registries on the network share: time limits, streaming, and errors as sentences."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp

from edgestudio.studio.registry.artifact import RegistryError

_CHUNK_BYTES = 1 << 20
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=15, sock_read=60)
MOST_DOCUMENT_BYTES = 8 << 20


class Web:
    """One session with one server. `token` is sent as a bearer; nothing else identifies the user."""

    def __init__(self, base: str, token: str | None = None) -> None:
        self.base = base.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, headers=self._headers)
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._session is not None
        await self._session.close()

    @asynccontextmanager
    async def request(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request to `path` below the base, or to an address of the same server that it named itself."""
        assert self._session is not None
        address = path if path.startswith(("http://", "https://")) else self.base + path
        try:
            async with self._session.request(method, address, **options) as response:
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise RegistryError(
                f"{self.base} does not answer: {error or type(error).__name__}",
                hint="Is the address right, and the server running?",
            ) from error

    async def document(self, method: str, path: str, **options: Any) -> Any:
        """The JSON answer of a request that must succeed."""
        async with self.request(method, path, **options) as response:
            await self.expect(response, 200, 201)
            body = await response.content.read(MOST_DOCUMENT_BYTES + 1)
            if len(body) > MOST_DOCUMENT_BYTES:
                raise RegistryError(f"{self.base} answered with more than a list or manifest can be")
            try:
                return json.loads(body or b"{}")
            except (ValueError, RecursionError) as error:
                raise RegistryError(f"{self.base} answered with something that is not JSON") from error

    async def expect(self, response: aiohttp.ClientResponse, *statuses: int) -> None:
        """Raise a RegistryError unless the answer has one of these statuses."""
        if response.status in statuses:
            return
        said = " ".join((await response.content.read(2000)).decode("utf-8", "replace").split())[:300]
        hints = {401: "A token is needed.", 403: "This token may not do that.", 404: "It is not there."}
        raise RegistryError(
            f"{self.base} answered {response.status} {response.reason}: {said}",
            hint=hints.get(response.status, "Look into the server's log."),
            code="not-found" if response.status == 404 else None,
        )

    async def download(self, path: str, target: Path, *, size_bytes: int | None, sha256: str | None) -> None:
        """Stream a file to `target`; more bytes than announced, or another digest, is refused."""
        digest, received = hashlib.sha256(), 0
        target.parent.mkdir(parents=True, exist_ok=True)
        async with self.request("GET", path) as response:
            await self.expect(response, 200)
            with target.open("wb") as file:
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    received += len(chunk)
                    if size_bytes is not None and received > size_bytes:
                        break
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
        if (size_bytes is not None and received != size_bytes) or (sha256 and digest.hexdigest() != sha256):
            target.unlink()
            raise RegistryError(
                f"{target.name} is not what {self.base} announced", hint="Do not use it; publish it again."
            )


async def file_chunks(path: Path) -> AsyncIterator[bytes]:
    """A file's content for the body of a request, a chunk at a time."""
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
