"""Named points at which a test may end the agent, as a power cut would; without the variable they do nothing."""

from __future__ import annotations

import os
import signal

VARIABLE = "EDGESTUDIO_KILL_AT"
_seen: dict[str, int] = {}


def reach(point: str) -> None:
    """SIGKILL to this process when the variable is `point`, or `point#n` at the n-th time."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    name, _, times = wanted.partition("#")
    if name == point:
        _seen[point] = _seen.get(point, 0) + 1
        if _seen[point] >= int(times or 1):
            os.kill(os.getpid(), signal.SIGKILL)
