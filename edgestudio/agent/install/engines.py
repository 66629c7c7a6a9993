"""Refuses an engine that was built elsewhere, unless it says that this is the board and the library that it is for."""

from __future__ import annotations

from pathlib import Path

from edgestudio.agent.install.ledger import UnfitError
from edgestudio.runtime.backend import BACKENDS, unavailable
from edgestudio.runtime.choice import version_of
from edgestudio.runtime.engine_header import engine_header
from edgestudio.wire.release import Requirements

_HINT = "Push the ONNX file instead: the board builds its own engine."


def refuse_foreign(model: Path, requires: Requirements) -> None:
    """UnfitError when the file is an engine of another library or version, or for nobody knows which GPU.

    That the GPUs which the release names are this board's was checked before it was sent.
    """
    header = engine_header(model)
    if header is None:
        return
    spec = next(spec for spec in BACKENDS if spec.name == header.backend)
    if not requires.gpu:
        raise UnfitError(
            f"{model.name} is an engine, and its release does not say for which GPU it was built.",
            hint=_HINT, code="foreign-engine",
        )  # fmt: skip
    installed = version_of(spec)
    if installed != "unknown" and not header.fits(installed):
        raise UnfitError(
            f"{model.name} was built with {spec.title} {header.version}, and this board has {installed}.",
            hint=_HINT, code="foreign-engine",
        )  # fmt: skip
    if reason := unavailable(spec):
        raise UnfitError(
            f"{model.name} is an engine for {spec.title}: {reason}.", hint=_HINT, code="foreign-engine"
        )
