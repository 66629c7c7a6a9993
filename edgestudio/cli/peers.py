"""`edgestudio peers`: the studios that a board trusts; as its owner, give one another role or remove it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from edgestudio.cli.console import Console, table
from edgestudio.studio.app import Studio
from edgestudio.wire import api


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DEVICE [--remove PEER | --role PEER ROLE]."""
    parser.add_argument("device", metavar="DEVICE", help="a name, an id prefix, or host:port")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--remove", metavar="PEER", help="the board forgets this studio at once (its name or fingerprint)"
    )
    what.add_argument(
        "--role", nargs=2, metavar=("PEER", "ROLE"), help=f"what it may do: {', '.join(api.ROLES)}"
    )


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Change what was asked for, then print who is trusted."""
    board = await studio.boards.locate(options.device)
    said = ""
    if options.remove:
        gone = await studio.trust.remove(board.id, options.remove)
        said = f"{board.name} does not trust {gone['name']} any more.\n"
        if gone["you"]:
            console.result({"board": board.id, "removed": gone, "peers": []}, said.strip())
            return 0
    elif options.role:
        changed = await studio.trust.set_role(board.id, *options.role)
        said = f"{changed['name']} is {changed['role']} of {board.name} now.\n"
    peers = await studio.trust.peers(board.id)
    console.result({"board": board.id, "peers": peers}, said + _text(peers))
    return 0


def _text(peers: list[dict[str, Any]]) -> str:
    return table(("id", "name", "role", "since"), [_row(peer) for peer in peers])


def _row(peer: Mapping[str, Any]) -> tuple[str, str, str, str]:
    since = peer["since"]
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(since)) if isinstance(since, (int, float)) else ""
    return peer["short_id"], f"{peer['name']}{' (this desk)' if peer['you'] else ''}", peer["role"], when
