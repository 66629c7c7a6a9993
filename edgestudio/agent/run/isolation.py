"""Takes the network away from this process: an empty network namespace, where the kernel gives one without rights.

Nothing of EdgeStudio is imported here, so that the walls stand before anything else runs. Run as a program it tries
on itself and prints what held, as JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from pathlib import Path

_NEWUSER = 0x10000000
_NEWNET = 0x40000000
_PR_CAPBSET_DROP = 24
_CAPABILITY_VERSION_3 = 0x20080522


def cut_network() -> str:
    """Leave this process without any network; "" when that holds, else why it does not.

    Must be called while the process has one thread. No privilege is gained: the capabilities that a new user
    namespace brings are dropped again at once, and what an agent run by root had is given up with it.
    """
    if sys.platform != "linux":
        return "this system has no network namespaces"
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEWUSER | _NEWNET) == 0:
        _keep_names(user, group)
        _drop_capabilities(libc)
        return ""
    refused = os.strerror(ctypes.get_errno())
    if libc.unshare(_NEWNET) == 0:  # root in a container without user namespaces
        _drop_capabilities(libc)  # with them it could go back
        return ""
    return f"this kernel gives no network namespace to the agent's user ({refused})"


def _keep_names(user: int, group: int) -> None:
    """Map the own user and group to themselves; without that they would be called nobody."""
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    for number in range(64):
        if libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    libc.capset(ctypes.byref(header), ctypes.byref(nothing))


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"reason": cut_network()}))
