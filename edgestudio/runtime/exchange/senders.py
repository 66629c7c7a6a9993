"""How a result leaves the pipeline: HTTP POST, MQTT publish, a program from the board's allow-list."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

from edgestudio.runtime.board_policy import FILE_NAME, BoardPolicy
from edgestudio.runtime.exchange.broker import connected, mqtt_library
from edgestudio.runtime.pipeline.actions import CommandAction, MqttAction, WebhookAction, public_url
from edgestudio.runtime.pipeline.payload import json_bytes
from edgestudio.wire.errors import DeviceError, RecipeError
from edgestudio.wire.processes import start_process


class WebhookSender:
    """Posts results as JSON; follows no redirect, reads no answer, uses no proxy of the environment."""

    def __init__(self, action: WebhookAction, policy: BoardPolicy) -> None:
        self._action = action
        self._policy = policy
        self._session: Any = None

    async def send(self, outcome: Mapping[str, Any]) -> None:
        """Post `outcome`; DeviceError for any answer but 2xx."""
        import aiohttp

        headers = {"Content-Type": "application/json"}
        if self._action.secret:
            headers["Authorization"] = f"Bearer {self._policy.secret(self._action.secret)}"
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._action.timeout_ms / 1e3)
            self._session = aiohttp.ClientSession(
                timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        where = public_url(self._action.url)
        try:
            async with self._session.post(
                self._action.url, data=json_bytes(outcome), headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except asyncio.TimeoutError as error:
            raise DeviceError(
                f"{where} did not answer within {self._action.timeout_ms:g} ms", code="webhook"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise DeviceError(f"{where} cannot be reached: {type(error).__name__}", code="webhook") from error
        if not 200 <= status < 300:
            why = "a redirect, which is not followed" if 300 <= status < 400 else f"status {status}"
            raise DeviceError(f"{where} answered with {why}", code="webhook")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class MqttSender:
    """Publishes results as JSON over one connection that is made again when it breaks."""

    def __init__(self, action: MqttAction, policy: BoardPolicy) -> None:
        self._action = action
        self._policy = policy
        self._client: Any = None
        self._stack = AsyncExitStack()

    async def send(self, outcome: Mapping[str, Any]) -> None:
        """Publish `outcome`; DeviceError when the broker does not take it."""
        if await self._publish(outcome) is None:
            return
        # A connection that broke while it was idle is noticed only now: made anew, once.
        trouble = await self._publish(outcome)
        if trouble is not None:
            raise DeviceError(
                f"the broker at {self._action.broker.host} did not take the message: {str(trouble)[:200]}",
                code="no-broker",
            ) from trouble

    async def _publish(self, outcome: Mapping[str, Any]) -> Exception | None:
        library = mqtt_library()
        timeout_s = self._action.timeout_ms / 1e3
        try:
            if self._client is None:
                entering = connected(self._action.broker, self._policy, timeout_s)
                self._client = await self._stack.enter_async_context(entering)
            await self._client.publish(
                self._action.topic, json_bytes(outcome), qos=self._action.qos,
                retain=self._action.is_retained, timeout=timeout_s,
            )  # fmt: skip
        except (library.MqttError, OSError, asyncio.TimeoutError) as error:
            await self.close()
            return cast("Exception", error)
        return None

    async def close(self) -> None:
        """Disconnect."""
        self._client = None
        stack, self._stack = self._stack, AsyncExitStack()
        with contextlib.suppress(DeviceError):
            await stack.aclose()


class CommandSender:
    """Starts a program that the board's owner allowed; the result is its standard input, never its arguments."""

    def __init__(self, action: CommandAction, policy: BoardPolicy) -> None:
        self._action = action
        self._policy = policy

    async def send(self, outcome: Mapping[str, Any]) -> None:
        """Run it to its end; RecipeError when it is not allowed, DeviceError when it fails or takes too long."""
        allowed = self._policy.commands.get(self._action.name)
        if allowed is None:
            raise RecipeError(
                f"the board allows no command '{self._action.name}'",
                hint=f"Its owner can add it to {FILE_NAME}.",
                code="not-allowed",
            )
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
        try:
            process = await start_process(
                *allowed.argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL, start_new_session=True, cwd="/", env=environment,
            )  # fmt: skip
        except OSError as error:
            raise DeviceError(
                f"the command '{self._action.name}' cannot be started: {error.strerror}", code="command"
            ) from error
        try:
            await asyncio.wait_for(process.communicate(json_bytes(outcome)), allowed.timeout_s)
        except asyncio.TimeoutError as error:
            raise DeviceError(
                f"the command '{self._action.name}' took more than {allowed.timeout_s:g} s and was ended",
                code="command",
            ) from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            raise DeviceError(
                f"the command '{self._action.name}' ended with {process.returncode}", code="command"
            )

    async def close(self) -> None:
        """Nothing to let go of."""
