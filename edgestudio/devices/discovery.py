"""Finds boards by what they announce over mDNS; an announcement is a hint, and everything in it is a stranger's."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from edgestudio.devices.interfaces import used_addresses
from edgestudio.wire import api
from edgestudio.wire.errors import DeviceError
from edgestudio.wire.fields import clean_text

log = logging.getLogger(__name__)

MAX_FOUND = 1000
RESOLVE_TIMEOUTS_MS = (3000, 6000, 12000)
"""A record is heard once: a busy board or desk that does not answer in time is asked again."""

LOOK_EVERY_S = 5.0
"""How often this computer's own addresses are looked at."""


@dataclass(frozen=True)
class Found:
    """A board that announced itself. `fingerprint` is what it claims; pairing and the pin prove it.

    `host` is the address to try first; `addresses` are all of them. `desk` marks a board that a studio started for
    itself, by the beginning of that studio's fingerprint; `is_here` one that runs on this computer.
    """

    fingerprint: str
    name: str
    host: str
    port: int
    addresses: tuple[str, ...] = ()
    is_simulated: bool = False
    pairing_open: bool = False
    hardware: str = ""
    arch: str = ""
    api_version: int = 0
    desk: str = ""
    is_here: bool = False


class Discovery:
    """Listens for service records. `on_found` is told of new and changed boards, `on_gone` of goodbyes.

    A board that loses power says no goodbye: presence comes from its session. Callbacks run on the loop.
    """

    def __init__(
        self,
        on_found: Callable[[Found], None] | None = None,
        on_gone: Callable[[Found], None] | None = None,
        *,
        interfaces: Sequence[str] | None = None,
    ) -> None:
        self._on_found = on_found
        self._on_gone = on_gone
        self._interfaces = interfaces
        self._found: dict[str, Found] = {}
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._resolving: set[asyncio.Task[None]] = set()
        self._addresses: list[str] = []
        self._follower: asyncio.Task[None] | None = None

    @property
    def found(self) -> list[Found]:
        """The boards that are announced now, by name."""
        return sorted(self._found.values(), key=lambda f: (f.name, f.fingerprint))

    async def start(self) -> None:
        """Begin to listen; raises DeviceError (`no-network`) where there is no interface to listen on.

        From then on it follows this computer from network to network.
        """
        self._listen()
        self._follower = asyncio.create_task(self._follow(), name="discovery")

    def _listen(self) -> None:
        self._addresses = addresses = used_addresses(self._interfaces)
        if not addresses:
            raise DeviceError(
                "No network interface is up, so no boards can be found.",
                hint="Connect to the boards' network. Boards can also be added by their address.",
                code="no-network",
            )
        try:
            self._zeroconf = AsyncZeroconf(interfaces=addresses, ip_version=IPVersion.V4Only)
        except (OSError, ZeroconfError) as e:
            raise DeviceError(
                f"Listening for announcements failed: {e}.",
                hint="Another program may hold UDP port 5353 for itself; boards can also be added by address.",
                code="no-mdns",
            ) from e
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, api.SERVICE_TYPE, handlers=[self._heard])

    async def stop(self) -> None:
        """Stop listening; what was found stays."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
            self._follower = None
        await self._close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if await asyncio.to_thread(used_addresses, self._interfaces) != self._addresses:
                await self._close()
                with contextlib.suppress(DeviceError):  # without any network now; looked at again
                    self._listen()

    async def _close(self) -> None:
        resolving = list(self._resolving)
        for task in resolving:
            task.cancel()
        await asyncio.gather(*resolving, return_exceptions=True)
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            await self._zeroconf.async_close()
        self._browser = self._zeroconf = None

    def _heard(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Removed:
            gone = self._found.pop(name, None)
            if gone is not None and self._on_gone is not None:
                self._on_gone(gone)
        elif name in self._found or len(self._found) + len(self._resolving) < MAX_FOUND:
            task = asyncio.ensure_future(self._resolve(zeroconf, service_type, name))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        info = AsyncServiceInfo(service_type, name)
        with contextlib.suppress(ZeroconfError, OSError):
            for timeout_ms in RESOLVE_TIMEOUTS_MS:
                if await info.async_request(zeroconf, timeout_ms):
                    break
            else:
                return
            board = read_announcement(
                info.properties,
                info.parsed_addresses(IPVersion.V4Only),
                info.port or 0,
                set(used_addresses()),
            )
            if board is not None and self._found.get(name) != board:
                self._found[name] = board
                if self._on_found is not None:
                    self._on_found(board)


def read_announcement(
    properties: Mapping[bytes, bytes | None], addresses: Sequence[str], port: int, own: set[str] | None = None
) -> Found | None:
    """What a service record says, checked and cleaned; None for one that cannot be a board's.

    `own` are this computer's addresses: a board that announces one of them is reached over loopback's side of it.
    """
    fingerprint = _text(properties, b"id", 64).lower()
    usable = [a for a in addresses[:16] if _is_usable(a)]
    if api.DIGEST.fullmatch(fingerprint) is None or not usable or not 0 < port < 65536:
        return None
    version = _text(properties, b"v", 6)
    best = min(usable, key=lambda a: (a not in (own or ()), ipaddress.ip_address(a).is_link_local))
    return Found(
        fingerprint=fingerprint,
        name=_text(properties, b"name", 60) or f"board {fingerprint[:8]}",
        host=best,
        port=port,
        addresses=tuple(usable),
        is_simulated=_text(properties, b"sim", 4) == "1",
        pairing_open=_text(properties, b"pair", 10) == "open",
        hardware=_text(properties, b"hw", 60),
        arch=_text(properties, b"arch", 20),
        is_here=best in (own or ()),
        desk=_text(properties, b"desk", api.DESK_MARK_CHARS),
        api_version=int(version) if version.isascii() and version.isdecimal() else 0,
    )


async def survey(wait_s: float, *, interfaces: Sequence[str] | None = None) -> list[Found]:
    """The boards that announce themselves within `wait_s` seconds; raises DeviceError as `Discovery.start`."""
    discovery = Discovery(interfaces=interfaces)
    await discovery.start()
    try:
        await asyncio.sleep(wait_s)
    finally:
        await discovery.stop()
    return discovery.found


def _text(properties: Mapping[bytes, bytes | None], key: bytes, limit: int) -> str:
    return clean_text((properties.get(key) or b"")[: 4 * limit].decode("utf-8", "replace"), limit)


def _is_usable(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_multicast or parsed.is_unspecified or parsed.is_reserved)
