"""What only a person at the board can do: forget everyone, and pair it from a file before anybody sees it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgestudio.agent.trust.provision import place
from edgestudio.devices.known import KnownBoard
from edgestudio.devices.pairing import pair
from edgestudio.devices.provisioning import provision_file
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire.errors import InputError, TrustError
from edgestudio.wire.identity import Identity
from tests.agent.test_process import CODE, running


def agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgestudio", "agent", *arguments], capture_output=True, text=True
    )


def test_a_lost_owner_is_forgotten_at_the_board_alone(tmp_path: Path) -> None:
    desk = Identity.load_or_create(tmp_path / "desk", "desk")
    data = tmp_path / "board"

    async def scenario(port: int, code: str) -> None:
        paired = await pair(desk, "lost desk", "127.0.0.1", port, code)
        async with BoardSession(desk, paired.board) as session:
            records = session.records(after=("", 0))
            assert (await anext(records))["boot"]
            refused = await asyncio.to_thread(agent, "pair", "--data", str(data))
            assert refused.returncode == 3
            assert "owner" in refused.stderr

            said = await asyncio.to_thread(agent, "pair", "--reset", "--data", str(data))
            assert "lost desk" in said.stdout
            with pytest.raises(TrustError):
                await session.info()
            fresh = Identity.load_or_create(tmp_path / "fresh", "fresh")
            found = CODE.search(said.stdout)
            assert found is not None
            again = await pair(fresh, "fresh desk", "127.0.0.1", port, found[1])
            assert again.board.role == "owner"
            async with BoardSession(fresh, again.board) as owner:
                assert [peer["name"] for peer in await owner.peers()] == ["fresh desk"]
                async for record in owner.records(after=("", 0)):
                    if record.get("name") == "peer.reset":
                        assert record["data"]["studios"] == ["lost desk"]
                        break
            await records.aclose()

    with running(data, "--simulate", "pi5") as board:
        asyncio.run(scenario(board.port, board.expect(CODE)[1]))


def test_a_headless_board_is_paired_by_one_file(tmp_path: Path) -> None:
    desk, publisher = Identity.load_or_create(tmp_path / "desk", "desk"), Publisher(tmp_path / "p")
    file, data = tmp_path / "roof.json", tmp_path / "board"
    known = provision_file(file, desk, "desk", publisher, board_name="roof", host="127.0.0.1")
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError):
        provision_file(file, desk, "desk", publisher, board_name="roof", host="127.0.0.1")
    said = agent("provision", str(file), "--data", str(data), "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["fingerprint"] == known.fingerprint

    async def scenario(port: int) -> None:
        async with BoardSession(desk, KnownBoard(**{**known.__dict__, "port": port})) as session:
            assert (await session.info())["role"] == "owner"

    with running(data, "--simulate", "pi5") as board:
        port = board.port
        asyncio.run(scenario(port))
        assert agent("provision", str(file), "--data", str(data)).returncode == 3, "the agent runs"
    refused = agent("provision", str(file), "--data", str(data))
    assert refused.returncode == 3
    assert "paired already" in refused.stderr


def test_an_agent_that_only_started_once_may_still_be_provisioned(tmp_path: Path) -> None:
    desk, publisher = Identity.load_or_create(tmp_path / "desk", "desk"), Publisher(tmp_path / "p")
    known = provision_file(tmp_path / "f", desk, "desk", publisher, board_name="roof", host="")
    Identity.load_or_create(tmp_path / "board" / "identity", "its own")
    assert place(tmp_path / "f", tmp_path / "board") == known.fingerprint
    assert Identity.load_or_create(tmp_path / "board" / "identity", "").fingerprint == known.fingerprint


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("identity"),
        lambda d: d["identity"].update(key="no key"),
        lambda d: d["peers"][0].update(role="viewer"),
        lambda d: d["peers"][0].update(certificate="nonsense"),
        lambda d: d.update(peers="none"),
    ],
)
def test_a_spoilt_file_changes_nothing(tmp_path: Path, spoil: Any) -> None:
    desk, publisher = Identity.load_or_create(tmp_path / "desk", "desk"), Publisher(tmp_path / "p")
    provision_file(tmp_path / "f", desk, "desk", publisher, board_name="roof", host="")
    document = json.loads((tmp_path / "f").read_bytes())
    spoil(document)
    (tmp_path / "f").write_text(json.dumps(document))
    own = Identity.load_or_create(tmp_path / "board" / "identity", "its own").fingerprint
    with pytest.raises(TrustError) as e:
        place(tmp_path / "f", tmp_path / "board")
    assert e.value.code == "bad-provision"
    assert Identity.load_or_create(tmp_path / "board" / "identity", "").fingerprint == own
    assert not (tmp_path / "board" / "provision.json").exists()
