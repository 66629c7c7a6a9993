"""Asks a model on a server that speaks the Open Inference Protocol v2; behind a breaker and an hourly budget."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from edgestudio.runtime.backend import Array
from edgestudio.runtime.board_policy import FILE_NAME, BoardPolicy
from edgestudio.runtime.pipeline.actions import public_url
from edgestudio.runtime.pipeline.fallback import RemoteModel
from edgestudio.runtime.pipeline.payload import json_bytes
from edgestudio.wire.errors import DeviceError, EdgeStudioError, InputError, RecipeError
from edgestudio.wire.fields import Fields, parse_json

MAX_ANSWER_BYTES = 32 << 20
_DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in _DATATYPES.items()}
Clock = Callable[[], float]


NOT_ASKED = frozenset({"not-allowed", "breaker-open", "over-budget"})
"""Codes of the errors with which nothing was sent."""


class Breaker:
    """Leaves a failing server alone: closed, open after failures in a row, then one careful try at a time."""

    def __init__(self, failures: int, retry_after_s: float, clock: Clock = time.monotonic) -> None:
        self._limit, self._retry_after_s, self._clock = failures, retry_after_s, clock
        self._failures = 0
        self._opened_at: float | None = None
        self._is_trying = False

    @property
    def state(self) -> str:
        """ "closed", "open" or "half-open"."""
        if self._opened_at is None:
            return "closed"
        return "open" if self._clock() - self._opened_at < self._retry_after_s else "half-open"

    def enter(self) -> bool:
        """Whether a question may be asked now; if so, `succeeded` or `failed` must follow."""
        state = self.state
        if state == "open" or (state == "half-open" and self._is_trying):
            return False
        self._is_trying = state == "half-open"
        return True

    def succeeded(self) -> None:
        """The server answered."""
        self._failures, self._opened_at, self._is_trying = 0, None, False

    def failed(self) -> None:
        """The server did not answer properly."""
        self._failures += 1
        self._is_trying = False
        if self._opened_at is not None or self._failures >= self._limit:
            self._opened_at = self._clock()

    def left(self) -> None:
        """The question was given up for a reason that says nothing about the server."""
        self._is_trying = False


class HourlyBudget:
    """At most so many in any hour."""

    def __init__(self, per_hour: int, clock: Clock = time.monotonic) -> None:
        self._per_hour, self._clock = per_hour, clock
        self._spent: deque[float] = deque()

    def spend(self) -> bool:
        """Take one; False when none is left."""
        now = self._clock()
        while self._spent and now - self._spent[0] >= 3600:
            self._spent.popleft()
        if len(self._spent) >= self._per_hour:
            return False
        self._spent.append(now)
        return True


class RemoteAsker:
    """One remote model. `ask` never waits longer than the document allows."""

    def __init__(self, document: RemoteModel, policy: BoardPolicy, clock: Clock = time.monotonic) -> None:
        self._document = document
        self._policy = policy
        self._session: Any = None
        self.breaker = Breaker(document.failures_to_open, document.retry_after_s, clock)
        self.budget = HourlyBudget(document.max_per_hour, clock)

    @property
    def url(self) -> str:
        """Where questions go."""
        version = f"/versions/{self._document.version}" if self._document.version else ""
        return f"{self._document.url}/v2/models/{self._document.model}{version}/infer"

    async def ask(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The server's outputs for prepared `feeds`.

        RecipeError `not-allowed` when the board's owner forbids it; DeviceError `breaker-open`, `over-budget` or
        `remote-failed`.
        """
        self._check_allowed()
        body = await asyncio.to_thread(lambda: json_bytes(request_of(feeds)))
        if not self.breaker.enter():
            raise DeviceError("the remote model failed lately and is left alone", code="breaker-open")
        if not self.budget.spend():
            self.breaker.left()
            raise DeviceError("this hour's questions to the remote model are used up", code="over-budget")
        try:
            outputs = await asyncio.to_thread(outputs_of, await self._post(body))
        except EdgeStudioError as error:
            self.breaker.failed()
            raise DeviceError(f"the remote model failed: {error.message}", code="remote-failed") from error
        except BaseException:
            self.breaker.left()
            raise
        self.breaker.succeeded()
        return outputs

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _check_allowed(self) -> None:
        remote, host = self._policy.remote, urlsplit(self._document.url).hostname
        if not remote.is_allowed or (remote.hosts and host not in remote.hosts):
            raise RecipeError(
                "the board's owner does not allow inputs to leave the board",
                hint=f"Set remote.is_allowed in {FILE_NAME}, and name the host.",
                code="not-allowed",
            )

    async def _post(self, body: bytes) -> bytes:
        import aiohttp

        headers = {"Content-Type": "application/json"}
        if self._document.secret:
            headers["Authorization"] = f"Bearer {self._policy.secret(self._document.secret)}"
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._document.timeout_ms / 1e3), trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )  # fmt: skip
        where = public_url(self.url)
        try:
            async with self._session.post(
                self.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise DeviceError(f"{where} answered with status {answer.status}")
                parts, size = [], 0
                async for part in answer.content.iter_any():
                    size += len(part)
                    if size > MAX_ANSWER_BYTES:
                        raise DeviceError(f"{where} answers with more than {MAX_ANSWER_BYTES >> 20} MiB")
                    parts.append(part)
                return b"".join(parts)
        except asyncio.TimeoutError as error:
            raise DeviceError(f"{where} did not answer within {self._document.timeout_ms:g} ms") from error
        except (aiohttp.ClientError, OSError) as error:
            raise DeviceError(f"{where} cannot be reached: {type(error).__name__}") from error


def request_of(feeds: Mapping[str, Array]) -> dict[str, Any]:
    """`feeds` as the body of an inference request; InputError for what JSON cannot carry."""
    inputs = []
    for name, array in feeds.items():
        if array.dtype.name not in _DATATYPES:
            raise InputError(
                f"the input '{name}' of {array.dtype} cannot be sent to a server", code="bad-item"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"the input '{name}' holds NaN or infinity", code="bad-item")
        inputs.append(
            {
                "name": name, "shape": list(array.shape), "datatype": _DATATYPES[array.dtype.name],
                "data": array.ravel().tolist(),
            }
        )  # fmt: skip
    return {"inputs": inputs}


def outputs_of(data: bytes) -> dict[str, Array]:
    """The arrays in an inference response; InputError for what does not fit together."""
    outputs: dict[str, Array] = {}
    for item in Fields(parse_json(data, where="the answer"), "the answer").items("outputs", limit=64):
        f = Fields(item, "an output")
        name, datatype = f.text("name", limit=512), f.text("datatype", limit=16)
        shape = f.items("shape", limit=16)
        if datatype not in _DTYPES or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
            raise InputError(f"the output '{name}' has an unknown datatype or shape", code="bad-field")
        try:
            values = np.asarray(f.items("data", limit=MAX_ANSWER_BYTES), dtype=_DTYPES[datatype])
            outputs[name] = values.reshape(shape)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"the data of the output '{name}' does not fit", code="bad-field") from error
    if not outputs:
        raise InputError("the answer has no outputs", code="bad-field")
    return outputs
