"""Announces a listening agent over mDNS: what a stranger may know, and nothing more."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import Iterable

import psutil
from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, NonUniqueNameException
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from edgestudio.agent.supervisor import Supervisor
from edgestudio.wire import api
from edgestudio.wire.fields import clean_text

log = logging.getLogger(__name__)

MAX_VALUE = 200


class Announcement:
    """One service record; `start` after the port listens, so that nobody finds a door that is still closed."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._zeroconf: AsyncZeroconf | None = None
        self._info: AsyncServiceInfo | None = None
        self._addresses: list[str] = []
        self._port = 0
        self.problem = ""
        """Why the agent is not announced, empty when it is."""

    async def start(self, port: int) -> None:
        """Announce; where there is no network to announce on, say so in the log and carry on."""
        self._port = port
        self._addresses = addresses = announced_addresses(self._supervisor.settings.host)
        if not addresses:
            self._failed("no network interface has an address")
            return
        try:
            self._zeroconf = AsyncZeroconf(interfaces=addresses, ip_version=IPVersion.V4Only)
            self._info = self._describe(addresses)
            await (await self._zeroconf.async_register_service(self._info, allow_name_change=True))
        except (OSError, ZeroconfError, NonUniqueNameException) as e:
            is_without = isinstance(e, OSError) and e.errno in (errno.ENODEV, errno.ENETUNREACH)
            self._failed("no network interface is up" if is_without else str(e) or type(e).__name__)
            await self.stop()
        else:
            self.problem = ""

    async def update(self) -> None:
        """Announce what has changed since; all anew where this board has other addresses than it had."""
        if self._port and announced_addresses(self._supervisor.settings.host) != self._addresses:
            await self.stop()
            await self.start(self._port)
            return
        if self._zeroconf is None or self._info is None:
            return
        fresh = self._describe(self._addresses, self._info.name)
        if fresh.properties != self._info.properties:
            self._info = fresh
            with contextlib.suppress(OSError, ZeroconfError):
                await (await self._zeroconf.async_update_service(fresh))

    async def stop(self) -> None:
        """Say goodbye."""
        zeroconf, self._zeroconf, self._info = self._zeroconf, None, None
        if zeroconf is not None:
            with contextlib.suppress(OSError, ZeroconfError):
                await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()

    def _describe(self, addresses: Iterable[str], name: str | None = None) -> AsyncServiceInfo:
        supervisor = self._supervisor
        hello = supervisor.hello()
        fingerprint = supervisor.identity.fingerprint
        shown = clean_text(supervisor.settings.name, 60)
        # A label of the record's name holds 63 bytes, and no dot.
        plain = shown.replace(".", " ").encode()[:50].decode("utf-8", "ignore").strip() or "board"
        properties = {
            "v": str(api.API_VERSION),
            "id": fingerprint,
            "name": shown,
            "pair": "open" if supervisor.pairing.is_open else "closed",
            "sim": "1" if supervisor.is_simulated else "0",
            "hw": str(hello.get("hardware", hello.get("hw", "")))[:60],
            "arch": str(hello.get("arch", ""))[:20],
        }
        if supervisor.settings.desk:
            properties["desk"] = supervisor.settings.desk
        return AsyncServiceInfo(
            api.SERVICE_TYPE,
            name or f"{plain}-{fingerprint[:8]}.{api.SERVICE_TYPE}",
            port=self._port,
            addresses=[socket.inet_aton(a) for a in addresses],
            properties={k: v[:MAX_VALUE] for k, v in properties.items()},
            server=f"edgestudio-{fingerprint[:12]}.local.",
        )

    def _failed(self, why: str) -> None:
        self.problem = why
        log.warning("not announced over mDNS (%s); studios can still add this board by its address", why)


def announced_addresses(host: str) -> list[str]:
    """The IPv4 addresses to announce an agent under that listens on `host`: loopback only for one that binds it."""
    with contextlib.suppress(ValueError):
        bound = ipaddress.ip_address(host)
        if not bound.is_unspecified:
            return [host] if bound.version == 4 else []
    if host == "localhost":
        return ["127.0.0.1"]
    found = [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET and not ipaddress.ip_address(entry.address).is_loopback
    ]
    return sorted(found) or ["127.0.0.1"]
