"""No secret leaves the board in what it prints, records or answers, whatever goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire.identity import Identity
from tests.agent import releases
from tests.agent.test_process import CODE, push, running
from tests.agent.test_uplink_process import write
from tests.patience import PATIENCE

PASSWORD, TOKEN = "pa55-0f-the-br0ker", "t0ken-0f-the-webh00k"


def test_secrets_are_in_no_log_no_record_and_no_answer(tmp_path: Path) -> None:
    identity, publisher = (
        Identity.load_or_create(tmp_path / "desk", "desk"),
        Publisher(tmp_path / "publisher"),
    )
    data = tmp_path / "board"
    data.mkdir(mode=0o700)
    # Nobody listens at port 9: the uplink fails and says so.
    uplink = {"host": "127.0.0.1", "port": 9, "is_tls": False, "username": "board", "password": PASSWORD}
    write(data / "board.yaml", {"secrets": {"hook": TOKEN}, "uplink": uplink})
    answers: list[str] = []

    async def provoke(port: int, code: str) -> None:
        board = (await pair(identity, "desk", "127.0.0.1", port, code)).board
        async with BoardSession(identity, board) as session:
            assert (
                await push(session, publisher, releases.make_release(tmp_path / "r"), "1.0.0") == "committed"
            )
            host = (await session.state())["models"]["digits"]["host"]
            os.kill(host["pid"], signal.SIGSEGV)
            names: set[str] = set()

            async def told() -> bool:
                names.update(str(r.get("name")) for r in await session.history(0))
                return {"model.died", "uplink.failed"} <= names

            end = time.monotonic() + 20 * PATIENCE
            while not await told() and time.monotonic() < end:  # noqa: ASYNC110  the condition asks a board
                await asyncio.sleep(0.05)
            assert {"model.died", "uplink.failed", "pairing.paired"} <= names
            questions = (
                session.hello(),
                session.info(),
                session.state(),
                session.history(0),
                session.peers(),
            )
            answers.extend(json.dumps(answer) for answer in await asyncio.gather(*questions))

    with running(data, "--simulate", "pi5") as agent:
        port, code = agent.port, agent.expect(CODE)[1]
        asyncio.run(provoke(port, code))
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.stdout is not None
        shown = [*agent.lines, agent.process.stdout.read()]
        assert agent.end() == 0
    keys = [(data / "identity" / "key.pem").read_text().splitlines()[1], PASSWORD, TOKEN]
    spool = b"".join(path.read_bytes() for path in (data / "spool").iterdir())
    for secret in (*keys, code):
        assert secret.encode() not in spool
        assert not [answer for answer in answers if secret in answer]
    # The code is shown on the board's own screen, which is what it is for.
    assert not [line for line in shown if any(secret in line for secret in keys)]
    for path in data.rglob("*"):
        if path.is_file() and path.name != "cert.pem":  # which everybody is shown
            assert path.stat().st_mode & 0o077 == 0, f"others may read {path.name}"
