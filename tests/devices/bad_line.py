"""Two network namespaces and the line between them, on which packets are late, lost, overtaken, or stop for a while.

The line is a process of this test that carries packets between two TUN devices, so that TCP, TLS and mDNS really meet
what they meet on a bad radio link, whatever queueing disciplines the kernel was built with.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_TUNSETIFF, _TUN_WITHOUT_HEADERS = 0x400454CA, 0x1001
_PACKET_BYTES = 4096
Words = tuple[str, ...]


@dataclass
class Line:
    """What happens to packets, in both directions; `near` and `far` are the namespaces at its ends."""

    near: str
    far: str
    delay_s: float = 0.1
    jitter_s: float = 0.0
    """How much later a packet may come, which is how packets overtake each other."""
    lose: float = 0.0
    is_cut: bool = False
    carried_bytes: int = 0
    dropped: int = 0
    overtaken: int = 0
    _ends: list[int] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def carry(self) -> None:
        """Until it is told to stop."""
        chance, numbers = random.Random(7), itertools.count()
        waiting: list[tuple[float, int, int, bytes]] = []
        last_due = dict.fromkeys(self._ends, 0.0)
        while not self._stopping.is_set():
            pause_s = max(0.0, min(0.05, waiting[0][0] - time.monotonic())) if waiting else 0.05
            for end in select.select(self._ends, [], [], pause_s)[0]:
                with contextlib.suppress(OSError):  # the far end is down for a moment: its address changes
                    packet = os.read(end, _PACKET_BYTES)
                    if self.is_cut or chance.random() < self.lose:
                        self.dropped += 1
                        continue
                    due = time.monotonic() + self.delay_s + chance.random() * self.jitter_s
                    self.overtaken += due < last_due[end]
                    last_due[end] = max(due, last_due[end])
                    to = self._ends[1] if end == self._ends[0] else self._ends[0]
                    heapq.heappush(waiting, (due, next(numbers), to, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(waiting)
                self.carried_bytes += len(packet)
                with contextlib.suppress(OSError):
                    os.write(to, packet)

    def inside(self, namespace: str, *words: str) -> Words:
        """The command that runs `words` in one of the namespaces."""
        return ("ip", "netns", "exec", namespace, *words)

    def move_far_end(self, address: str) -> None:
        """The far machine gets another address, as from a DHCP server."""
        device = f"{self.far}0"
        _ip("-n", self.far, "addr", "flush", "dev", device)
        _ip("-n", self.far, "addr", "add", address, "dev", device)
        _ip("-n", self.far, "route", "add", "224.0.0.0/4", "dev", device)


@contextlib.contextmanager
def bad_line(near_address: str, far_address: str) -> Iterator[Line]:
    """A line as long as the block lasts; skips where namespaces or TUN devices cannot be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2 (apt install iproute2)")
    if not Path("/dev/net/tun").exists():
        pytest.skip("this kernel has no TUN devices")
    line = Line(f"esn{os.getpid()}", f"esf{os.getpid()}")
    with contextlib.ExitStack() as stack:
        for namespace, address in ((line.near, near_address), (line.far, far_address)):
            try:
                _ip("netns", "add", namespace)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
            stack.callback(_ip, "netns", "del", namespace)
            device = f"{namespace}0"
            try:
                end = _tun(device)
            except OSError as error:
                pytest.skip(f"no TUN device can be made here: {error.strerror}")
            stack.callback(os.close, end)
            line._ends.append(end)
            _ip("link", "set", device, "netns", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "addr", "add", address, "dev", device)
            _ip("-n", namespace, "link", "set", device, "up", "multicast", "on")
            _ip("-n", namespace, "route", "add", "224.0.0.0/4", "dev", device)
        carrier = threading.Thread(target=line.carry, name="bad line")
        carrier.start()
        stack.callback(carrier.join)
        stack.callback(line._stopping.set)
        yield line


def _tun(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_WITHOUT_HEADERS))
    except OSError:
        os.close(end)
        raise
    return end


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
