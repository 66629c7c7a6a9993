"""Which of this computer's network interfaces boards are looked for on, and why others are not."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

_VIRTUAL = ("docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "cni", "flannel", "podman")
_TUNNELS = ("tun", "tap", "wg", "tailscale", "ppp", "utun")


@dataclass(frozen=True)
class Interface:
    """One IPv4 address of this computer; `why_skipped` is empty for one that is used."""

    name: str
    address: str
    network: str
    why_skipped: str = ""

    @property
    def is_loopback(self) -> bool:
        """True for the address that only this computer reaches."""
        return ipaddress.ip_address(self.address).is_loopback


def interfaces(wanted: Sequence[str] | None = None) -> list[Interface]:
    """Every IPv4 interface, used ones first. `wanted` (names or addresses) uses those and skips all others."""
    stats = psutil.net_if_stats()
    found = []
    for name, entries in psutil.net_if_addrs().items():
        is_up = name in stats and stats[name].isup
        for entry in entries:
            if entry.family != socket.AF_INET:
                continue
            why = _why_skipped(name, entry.address, wanted, is_up=is_up)
            found.append(Interface(name, entry.address, _network(entry.address, entry.netmask), why))
    return sorted(found, key=lambda i: (bool(i.why_skipped), not i.is_loopback, i.name))


def used_addresses(wanted: Sequence[str] | None = None) -> list[str]:
    """The addresses that boards are looked for on, loopback (boards of this computer) first."""
    return [i.address for i in interfaces(wanted) if not i.why_skipped]


def _why_skipped(name: str, address: str, wanted: Sequence[str] | None, *, is_up: bool) -> str:
    if not is_up:
        return "it is down"
    if wanted is not None:
        return "" if name in wanted or address in wanted else "the settings choose others"
    if name.startswith(_VIRTUAL):
        return "it belongs to containers or virtual machines"
    if name.startswith(_TUNNELS):
        return "it is a tunnel, and announcements do not pass tunnels; add its boards by address"
    return ""


def _network(address: str, netmask: str | None) -> str:
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_interface(f"{address}/{netmask or 32}").network)
    return address
