"""Who else may use a board, and the keys that releases are signed with: invitations, new keys, the recovery kit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from edgestudio.devices.publisher import Publisher
from edgestudio.devices.signing import ROLES
from edgestudio.studio.boards.boards import BoardService
from edgestudio.studio.notices import NoticeService
from edgestudio.wire import api
from edgestudio.wire.errors import TrustError, UsageError
from edgestudio.wire.fields import clean_text
from edgestudio.wire.identity import short_id

_SHORTEST_PASSPHRASE = 8
_SHORTEST_PREFIX = 6


class TrustService:
    """Keys never leave this process but in a sealed kit."""

    def __init__(self, publisher: Publisher, boards: BoardService, notices: NoticeService) -> None:
        self._publisher = publisher
        self._boards = boards
        self._notices = notices

    async def invite(self, board_id: str, role: str = "operator") -> dict[str, Any]:
        """Open a board for another studio: `board, code, role, expires_in_s`; also said in a notice."""
        chosen = _role(role)
        session = await self._boards.session(board_id)
        answer = await session.invite(chosen)
        self._notices.add(
            "info",
            f"{session.board.name} takes another studio as {role} by the code {answer.get('code')}.",
            hint=f"The code holds for {int(answer.get('expires_in_s') or 0) // 60} minutes, and once.",
        )
        return {"board": board_id, **answer}

    async def peers(self, board_id: str) -> list[dict[str, Any]]:
        """The studios that a board trusts: `fingerprint, short_id, name, role, since, you`; `since` is Unix time."""
        session = await self._boards.session(board_id)
        return [
            {
                "fingerprint": str(peer.get("fingerprint", "")),
                "short_id": short_id(str(peer.get("fingerprint", ""))),
                "name": clean_text(str(peer.get("name", "")), 64),
                "role": str(peer.get("role", "")),
                "since": peer.get("since"),
                "you": bool(peer.get("you")),
            }
            for peer in await session.peers()
        ]

    async def set_role(self, board_id: str, peer: str, role: str) -> dict[str, Any]:
        """As its owner, give another studio of a board a role; `peer` as for `remove`. Returns its new row."""
        chosen = _role(role)
        found = await self._peer(board_id, peer)
        await (await self._boards.session(board_id)).set_role(found["fingerprint"], chosen)
        return {**found, "role": chosen}

    async def remove(self, board_id: str, peer: str) -> dict[str, Any]:
        """As its owner, make a board forget another studio: its connections close at once. Returns its row.

        `peer` is its name, its short id, or the beginning of its fingerprint. Raises TrustError `no-such-peer`.
        """
        found = await self._peer(board_id, peer)
        await (await self._boards.session(board_id)).unpair(found["fingerprint"])
        return found

    async def _peer(self, board_id: str, peer: str) -> dict[str, Any]:
        everyone, wanted = await self.peers(board_id), peer.strip()
        fitting = [each for each in everyone if _is_called(each, wanted)]
        if len(fitting) == 1:
            return fitting[0]
        known = ", ".join(f"{each['name']} ({each['short_id']})" for each in everyone)
        raise TrustError(
            f"{'Several studios are' if fitting else 'No studio is'} called {wanted[:64]!r} on that board.",
            hint=f"It trusts {known}." if known else "It trusts nobody.",
            code="no-such-peer",
        )

    async def rotate(self, role: str | None = None) -> dict[str, Any]:
        """Replace the signing key of a role, by default of all; boards learn it with the next push.

        Returns `roles, root_version`. Raises InputError for an unknown role.
        """
        roles = [role] if role else list(ROLES)
        version = 0
        for each in roles:
            version = await asyncio.to_thread(self._publisher.rotate, each)
        return {"roles": roles, "root_version": version}

    async def export_kit(self, path: Path, passphrase: str) -> Path:
        """Write what is needed to sign elsewhere or after a loss, sealed by a passphrase."""
        if len(passphrase) < _SHORTEST_PASSPHRASE:
            raise UsageError(
                f"A passphrase needs at least {_SHORTEST_PASSPHRASE} characters.",
                hint="Whoever has the kit and the passphrase can sign releases for your boards.",
                code="short-passphrase",
            )
        try:
            await asyncio.to_thread(self._publisher.export_kit, path.absolute(), passphrase)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}.",
                hint="Choose another place.",
                code="unwritable",
            ) from error
        return path

    async def import_kit(self, path: Path, passphrase: str, *, replace: bool = False) -> None:
        """Take over signing keys; raises InputError when the kit or passphrase is wrong, or keys are here already."""
        await asyncio.to_thread(lambda: self._publisher.import_kit(path, passphrase, replace=replace))


def _role(role: str) -> api.Role:
    try:
        return api.role(role)
    except ValueError as error:
        raise UsageError(f"There is no role {role!r}.", hint=f"Roles are {', '.join(api.ROLES)}.") from error


def _is_called(peer: dict[str, Any], wanted: str) -> bool:
    is_prefix = len(wanted) >= _SHORTEST_PREFIX and str(peer["fingerprint"]).startswith(wanted.lower())
    return is_prefix or wanted in (peer["name"], peer["short_id"])
