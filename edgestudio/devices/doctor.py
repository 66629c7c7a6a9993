"""Why is my board missing? Looks at this desk's network the way a board's announcement would have to pass it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from typing import Any

from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from edgestudio.devices.discovery import Found, survey
from edgestudio.devices.interfaces import Interface, interfaces
from edgestudio.wire import api
from edgestudio.wire.errors import DeviceError

Check = dict[str, Any]

LOOK_FOR_S = 1.5
_CHECK_TYPE = "_escheck._tcp.local."
_MDNS_PORT = 5353
_FIREWALLS = ("ufw", "firewall-cmd", "nft", "iptables")


async def examine(*, wanted: Sequence[str] | None = None, look_for_s: float = LOOK_FOR_S) -> list[Check]:
    """The checks, each `name, ok, detail, remedy`; `ok` is None for what is neither good nor bad.

    `wanted` are the interfaces that the settings choose. Sends a few announcements of its own; changes nothing.
    """
    found = interfaces(wanted)
    used = [i for i in found if not i.why_skipped]
    checks = [_network(used), *_skipped(found)]
    if used:
        heard = await asyncio.gather(*(_multicast(i) for i in used))
        checks += [_mdns_port(), *heard, await _boards(wanted, look_for_s)]
        checks.append(_firewall(any_deaf=any(check["ok"] is False for check in heard)))
    checks.append(_agent_port())
    return checks


def _network(used: list[Interface]) -> Check:
    beyond = [i for i in used if not i.is_loopback]
    detail = ", ".join(f"{i.name} {i.address} ({i.network})" for i in used) or "no interface is up"
    if not beyond:
        remedy = (
            "Connect this computer to the boards' network; only boards on this computer can be found now."
        )
        return _check("interfaces used", ok=None if used else False, detail=detail, remedy=remedy)
    remedy = "A board on another subnet is not heard: add it by its address."
    return _check("interfaces used", ok=True, detail=detail, remedy=remedy)


def _skipped(found: list[Interface]) -> list[Check]:
    skipped = [i for i in found if i.why_skipped]
    if not skipped:
        return []
    detail = "; ".join(f"{i.name} {i.address}: {i.why_skipped}" for i in skipped)
    remedy = "Choose the interfaces in the settings if the boards are behind one of these."
    return [_check("interfaces skipped", ok=None, detail=detail, remedy=remedy)]


def _mdns_port() -> Check:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            with contextlib.suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind(("", _MDNS_PORT))
        except OSError as e:
            detail = "another program holds it for itself" if e.errno == errno.EADDRINUSE else str(e)
            remedy = "End the other mDNS program, or let it share the port (avahi: disallow-other-stacks=no)."
            return _check("UDP port 5353", ok=False, detail=detail, remedy=remedy)
    return _check("UDP port 5353", ok=True, detail="can be shared")


async def _multicast(interface: Interface) -> Check:
    """Announce on one interface and listen for it with a second socket, as a board's announcement would arrive."""
    name = f"{secrets.token_hex(6)}.{_CHECK_TYPE}"
    title = f"announcements on {interface.name}"
    try:
        speaker = AsyncZeroconf(interfaces=[interface.address], ip_version=IPVersion.V4Only)
        listener = AsyncZeroconf(interfaces=[interface.address], ip_version=IPVersion.V4Only)
    except (OSError, ZeroconfError) as e:
        return _check(title, ok=False, detail=f"multicast is not possible: {e}", remedy=_remedy(interface))
    try:
        address = socket.inet_aton(interface.address)
        service = AsyncServiceInfo(
            _CHECK_TYPE, name, port=1, addresses=[address], server=f"{name[:12]}.local."
        )
        await (await speaker.async_register_service(service))
        heard = await AsyncServiceInfo(_CHECK_TYPE, name).async_request(listener.zeroconf, 2000)
    except (OSError, ZeroconfError) as e:
        return _check(title, ok=False, detail=str(e), remedy=_remedy(interface))
    finally:
        with contextlib.suppress(OSError, ZeroconfError):
            await speaker.async_unregister_all_services()
        await asyncio.gather(speaker.async_close(), listener.async_close())
    detail = "are heard" if heard else "are sent and not heard"
    return _check(title, ok=bool(heard), detail=detail, remedy="" if heard else _remedy(interface))


async def _boards(wanted: Sequence[str] | None, look_for_s: float) -> Check:
    found: list[Found] = []
    with contextlib.suppress(DeviceError):
        found = await survey(look_for_s, interfaces=wanted)
    if not found:
        remedy = (
            "Is the board on, and does `edgestudio agent status` there say that it listens? Try its address."
        )
        return _check("boards heard", ok=None, detail=f"none within {look_for_s:g} s", remedy=remedy)
    names = ", ".join(f"{f.name} at {f.host}:{f.port}{_kind(f)}" for f in found)
    return _check("boards heard", ok=True, detail=names)


def _kind(found: Found) -> str:
    words = ["simulated"] if found.is_simulated else []
    words += ["listed only by the studio that started it"] if found.desk else []
    return f" ({', '.join(words)})" if words else ""


def _firewall(*, any_deaf: bool) -> Check:
    present = [name for name in _FIREWALLS if shutil.which(name)]
    if sys.platform == "win32":
        present, remedy = ["Windows Defender Firewall"], "Allow EdgeStudio on private networks (UDP 5353)."
    elif "ufw" in present:
        remedy = "sudo ufw allow 5353/udp"
    elif "firewall-cmd" in present:
        remedy = "sudo firewall-cmd --add-service=mdns --permanent && sudo firewall-cmd --reload"
    else:
        remedy = "Let UDP port 5353 in, and on boards the agent's TCP port."
    detail = f"{', '.join(present) or 'no firewall program'} found; its rules are not readable from here"
    return _check("firewall", ok=None, detail=detail, remedy=remedy if any_deaf or present else "")


def _agent_port() -> Check:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        taken = probe.connect_ex(("127.0.0.1", api.DEFAULT_PORT)) == 0
    name, port = "agent's port", api.DEFAULT_PORT
    if taken:
        return _check(
            name, ok=None, detail=f"{port} is in use here", remedy="Another agent here needs --port."
        )
    return _check(name, ok=True, detail=f"{port} is free here")


def _remedy(interface: Interface) -> str:
    if interface.is_loopback:
        return (
            "Boards of this computer can be added by their address, 127.0.0.1 and the port that they print."
        )
    return (
        "A firewall or the access point (client isolation) keeps multicast out; add boards by their address."
    )


def _check(name: str, *, ok: bool | None, detail: str, remedy: str = "") -> Check:
    return {"name": name, "ok": ok, "detail": detail, "remedy": remedy}
