"""Every call of docs/protocol.md by every role, against a running board: the page, the routes and the answers agree."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest

from edgestudio.agent.net.server import AgentServer
from edgestudio.wire import api, tls
from edgestudio.wire.identity import Identity
from tests.agent.net.board import running

PAGE = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"
FILLED = {
    "role": "timestamp", "id": "i0", "digest": "0" * 64, "i": "0", "index": "0", "model": "m",
    "fingerprint": "0" * 64,
}  # fmt: skip
OPEN = {"/v1/hello", "/v1/pair/start", "/v1/pair/confirm"}


def documented() -> dict[tuple[str, str], str]:
    """(method, path) -> role, from the table of calls."""
    found: dict[tuple[str, str], str] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        calls = re.findall(r"`((?:(?:GET|POST|PUT|DELETE) )?/[^`]*)`", cells[0])
        if (
            not line.startswith("| `")
            or not calls
            or len(cells) < 2
            or not re.match(r"(GET|POST|PUT|DELETE) ", calls[0])
        ):
            continue
        method, first = calls[0].split(" ", 1)
        for number, call in enumerate(calls):
            path = first if number == 0 else first.rsplit("/", 1)[0] + call.split(" ")[-1]
            found[method, path.split("?")[0]] = cells[1].split(",")[0]
    return found


def routed(server: AgentServer) -> dict[tuple[str, str], str]:
    """(method, path) as the board's router has them."""
    table: dict[tuple[str, str], str] = {}
    for resource in server._runner.app.router.resources():
        for route in resource:
            path = re.sub(r"\{index\}", "{i}", resource.canonical)
            if route.method != "HEAD":
                table[route.method, path] = ""
    return table


def test_the_page_names_every_route_and_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path / "board") as (_, server):
            assert set(routed(server)) == set(documented())

    asyncio.run(scenario())


@pytest.mark.parametrize("role", api.ROLES)
def test_each_role_gets_what_the_page_says_and_nothing_more(tmp_path: Path, role: api.Role) -> None:
    async def scenario() -> None:
        desk = Identity.load_or_create(tmp_path / "desk", "desk")
        async with running(tmp_path / "board") as (board, server):
            board.peers.add("boss", "owner", Identity.load_or_create(tmp_path / "boss", "boss").cert_pem)
            board.peers.add("desk", role, desk.cert_pem)
            context = tls.client_context(desk, board.identity.cert_pem)
            async with aiohttp.ClientSession(
                f"https://127.0.0.1:{server.port}", connector=aiohttp.TCPConnector(ssl=context)
            ) as client:
                for (method, path), needed in documented().items():
                    if path in OPEN:
                        continue
                    # A viewer may reach DELETE of a peer, and may remove itself only.
                    needed = "owner" if method == "DELETE" and path == api.PEER else needed
                    async with client.request(method, path.format(**FILLED), data=b"") as answer:
                        body = await answer.json(content_type=None) if answer.status >= 400 else {}
                        refused = answer.status == 403 and body.get("code") == "role"
                        assert refused != api.may(role, api.role(needed)), (method, path, answer.status, body)
                        assert answer.status < 500, (method, path, body)
            assert len(board.peers) == 2, "nothing was changed by asking"

    asyncio.run(scenario())
