"""Looks for hostility in a model file in a confined process of its own, before any runtime opens it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from edgestudio.agent.run.host import HostDiedError, HostSpec, ModelFailedError, ModelHost
from edgestudio.wire.errors import EdgeStudioError


async def scan_in_child(
    path: Path, *, hidden: Path | None = None, deadline_s: float = 60.0, memory_bytes: int = 2 << 30
) -> None:
    """Scan the model file `path` in a confined child of its own; EdgeStudioError when it must not be opened."""
    host = ModelHost(HostSpec(model=path, memory_bytes=memory_bytes, hidden=hidden), lambda *_: None)
    try:
        await host.start()
        await host.ask({"do": "scan", "path": str(path)}, deadline_s)
    except HostDiedError as death:
        raise ModelFailedError(
            f"Looking at the model file ended the process that did it: {death.message}",
            hint="The file is damaged or hostile; export the model again.",
            code="hostile-model",
        ) from death
    finally:
        with contextlib.suppress(EdgeStudioError):
            await host.close()
