"""The outside of a model host's process: what it inherits, what walls hold here, and what its end means."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import edgestudio
from edgestudio.agent.run import isolation, landlock, memory_wall
from edgestudio.agent.run.limits import OPEN_FILES
from edgestudio.wire.processes import start_process

PROBE_S = 10.0
_PACKAGE_PARENT = Path(edgestudio.__file__).resolve().parent.parent


async def walls() -> dict[str, Any]:
    """What confines a model on this board: {network_cut, network_reason, memory_limited, open_files, ...}.

    Network, files and memory are tried in processes of their own: what a system allows is known only by asking it.
    """
    programs = (isolation.__file__, landlock.__file__, memory_wall.__file__)
    network, files, memory = await asyncio.gather(*map(_tried, programs))
    return {
        "process": "a child of its own, killed at its deadline",
        "network_cut": not network, "network_reason": network, "files_hidden": not files, "files_reason": files,
        "open_files": OPEN_FILES,
        "memory_limited": not memory, "memory_reason": memory,
        "cpu_time_limited": True, "no_new_privileges": sys.platform == "linux",
    }  # fmt: skip


async def _tried(program: str) -> str:
    """Why the wall that the module at `program` builds does not hold here, "" when it does."""
    with contextlib.suppress(OSError, ValueError, KeyError, asyncio.TimeoutError):
        probe = await start_process(
            sys.executable, "-I", "-S", program,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, env=environment(),
        )  # fmt: skip
        said, _ = await asyncio.wait_for(probe.communicate(), PROBE_S)
        return str(json.loads(said)["reason"])
    return "it could not be tried"


def cause_of_death(code: int, because: str) -> tuple[str, str]:
    """A short word for telemetry and a sentence, from the exit status `code` and why it was killed."""
    if because:
        return "timeout" if "did not answer" in because else "killed", (
            f"The model's process was killed because {because}."
        )
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        word = "memory" if name == "SIGKILL" else "crash"
        return word, f"The model's process crashed with {name}."
    return "exit", f"The model's process ended by itself with code {code}."


def environment() -> dict[str, str]:
    """Nothing of the agent's own environment but what finding Python and its libraries needs."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment["PYTHONPATH"] = str(_PACKAGE_PARENT)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment["HOME"] = "/nonexistent"
    return environment
