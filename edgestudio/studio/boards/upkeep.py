"""What a person does about the models that a board has: pause and resume them, give a failed release another chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgestudio.devices.session import BoardSession
from edgestudio.studio.boards.boards import BoardService
from edgestudio.wire.errors import DeviceError


class UpkeepService:
    """Asks the boards; what comes of it is in their state and their events."""

    def __init__(self, boards: BoardService) -> None:
        self._boards = boards

    async def pause(self, board_id: str, model: str | None = None) -> dict[str, Any]:
        """Stop inferring on the release's own source, kept over restarts; requests are still answered.

        Returns `model, paused`. Raises DeviceError when the board has several models and none is named.
        """
        session, models, _ = await self._asked(board_id)
        return await session.pause(_chosen(session, models, model))

    async def resume(self, board_id: str, model: str | None = None) -> dict[str, Any]:
        """Go on after a pause; also ends safe mode, in which the board serves nothing. As `pause`, and `safe_mode`."""
        session, models, safe_mode = await self._asked(board_id)
        if not safe_mode:
            return {**await session.resume(_chosen(session, models, model)), "safe_mode": ""}
        answer = await session.resume(model or next(iter(models), ""))
        return {**answer, "safe_mode": safe_mode}

    async def quarantined(self, board_id: str) -> list[dict[str, Any]]:
        """What the board refuses because it failed there: `model, manifest, version, release, reason`."""
        _, models, _ = await self._asked(board_id)
        return [
            {"model": name, **entry}
            for name, model in models.items()
            for entry in (model.get("quarantined") or ())
            if isinstance(entry, Mapping)
        ]

    async def let_go(self, board_id: str, manifest: str) -> dict[str, Any]:
        """Let the release whose manifest begins so be offered again: `model, manifest, reason`.

        Raises DeviceError when none in quarantine begins so, or several do.
        """
        kept = await self.quarantined(board_id)
        fitting = [entry for entry in kept if str(entry.get("manifest", "")).startswith(manifest.lower())]
        if len(fitting) != 1 or not manifest:
            what = "Several releases" if len(fitting) > 1 else "No release"
            raise DeviceError(
                f"{what} in quarantine there {'begin' if len(fitting) > 1 else 'begins'} with {manifest[:64]!r}.",
                hint="List them without --release; give enough of the digest.",
                code="not-quarantined",
            )
        session = await self._boards.session(board_id)
        return await session.let_go(fitting[0]["model"], str(fitting[0]["manifest"]))

    async def _asked(self, board_id: str) -> tuple[BoardSession, dict[str, Mapping[str, Any]], str]:
        session = await self._boards.session(board_id)
        state = await session.state()
        given = state.get("models")
        models = (
            {str(k): v for k, v in given.items() if isinstance(v, Mapping)} if isinstance(given, dict) else {}
        )
        return session, models, str(state.get("safe_mode") or "")


def _chosen(session: BoardSession, models: Mapping[str, Mapping[str, Any]], wanted: str | None) -> str:
    running = [name for name, model in models.items() if model.get("active")]
    if wanted is not None:
        return wanted
    if len(running) != 1:
        said = f"it runs {', '.join(running)}" if running else "it runs nothing"
        raise DeviceError(f"Say which model of {session.board.name} is meant: {said}.", code="which-model")
    return running[0]
