"""What travels and what is stored keeps its form: the bytes of today are read for ever, and newer ones understood.

The files in `golden/` were written once and are not written again: where one of these tests fails, boards and studios
in the field would not understand each other, or a board that was updated would lose its state.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from spake2 import SPAKE2_A, SPAKE2_B

from edgestudio.agent.store import state
from edgestudio.agent.store.fsops import DiskOps
from edgestudio.wire import pairing
from edgestudio.wire.errors import EdgeStudioError, InputError
from edgestudio.wire.records import Event, Window, kind_of
from edgestudio.wire.release import ReleaseManifest
from edgestudio.wire.uplink import Acknowledgement, Batch

GOLDEN = Path(__file__).parent / "golden"
READERS: dict[str, Callable[[object], Any]] = {
    "window": Window.from_dict,
    "event": Event.from_dict,
    "manifest": ReleaseManifest.from_dict,
    "batch": Batch.from_dict,
    "acknowledgement": Acknowledgement.from_dict,
}
NEEDED = {
    "window": {"boot", "seq", "t", "dur", "m"},
    "event": {"boot", "seq", "t", "name"},
    "manifest": {"v", "model", "counter", "created", "files"},
    "batch": {"v", "boot", "boots", "first", "after", "records"},
    "acknowledgement": {"v", "upto"},
}
"""Fields that a reader insists on; one more would shut out boards and studios that are a version older."""


def golden(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    return value


@pytest.mark.parametrize("name", READERS)
def test_a_message_reads_and_writes_as_it_always_did(name: str) -> None:
    assert READERS[name](golden(name)).to_dict() == golden(name)


@pytest.mark.parametrize("name", READERS)
def test_the_version_before_is_understood(name: str) -> None:
    """An older writer leaves fields out: each may be absent, but those that were there from the first."""
    refused = set()
    for field in golden(name):
        message = golden(name)
        del message[field]
        try:
            READERS[name](message)
        except InputError:
            refused.add(field)
    assert refused <= NEEDED[name]


@pytest.mark.parametrize("name", READERS)
def test_the_version_after_is_understood(name: str) -> None:
    """A newer writer adds fields, at any place."""

    def grown(value: Any) -> Any:
        if isinstance(value, dict) and "v" in value:
            return {**{key: grown(item) for key, item in value.items()}, "invented_later": {"x": [1]}}
        return [grown(item) for item in value] if isinstance(value, list) else value

    message = grown(golden(name))
    assert message["invented_later"]
    read = READERS[name](message).to_dict()
    if name != "batch":  # which carries its records as they are
        assert read == golden(name)


@pytest.mark.parametrize("name", ["manifest", "batch", "acknowledgement"])
def test_another_form_is_refused_and_not_guessed(name: str) -> None:
    with pytest.raises(EdgeStudioError):
        READERS[name]({**golden(name), "v": 2})


def test_a_record_of_another_form_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        kind_of({**golden("window"), "v": 2})
    assert refused.value.code == "bad-version"


def test_what_is_signed_of_a_release_keeps_its_bytes() -> None:
    manifest = ReleaseManifest.from_dict(golden("manifest"))
    digest = "6d1de4ea9ef406ec2127c9f47fc5cd5684671690a62adc9de66592a2c277da1a"
    assert hashlib.sha256(manifest.to_bytes()).hexdigest() == digest


def test_the_transcript_of_a_pairing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fixed randomness both sides say and prove exactly this."""

    def fixed(label: bytes) -> Callable[[int], bytes]:
        return lambda count: hashlib.shake_256(label).digest(count)

    monkeypatch.setattr(pairing, "SPAKE2_A", partial(SPAKE2_A, entropy_f=fixed(b"studio")))
    monkeypatch.setattr(pairing, "SPAKE2_B", partial(SPAKE2_B, entropy_f=fixed(b"board")))
    code = pairing.PairingCode.parse("42 copper lantern kettle")
    studio = pairing.Handshake("studio", code, "a" * 64, "b" * 64)
    board = pairing.Handshake("board", code, "a" * 64, "b" * 64)
    assert studio.message == "41340cbe685312de1ce778a9285db72baf5f99bf3808c5eb11c95b70ae786747e9"
    assert board.message == "42400c7a43d3e5ec63fc8b73f894b8e9c4334f6eef35616b659ecc8d51b99e4110"
    for agreed in (studio.agree(board.message), board.agree(studio.message)):
        assert agreed.key.hex() == "b9834897b34fa2afd32a05b660af0dab4127781a74f5576aa3242bca600a55c1"
        assert agreed.proof("studio") == "15a86409bc3d50d7f706b551936a409fe19d8c2726aa6d5b732e2367c6b7111a"
        assert agreed.proof("board") == "f1964cd3af3036e20539c8625ed91cdda94f4889620e91e199d3fd4bcad659bb"
        assert agreed.number == "2409 7270"


# ---------------------------------------------------------------------- the board's state file


def test_the_state_of_the_first_agents_is_read() -> None:
    """An upgrade of the agent keeps everything that the one before wrote down."""
    data = (GOLDEN / "state-1.json").read_bytes()
    read = state.decode(data)
    assert read is not None
    model, install = read.models["digits"], read.installs["i1"]
    assert (model.active, model.previous, model.floor, model.paused) == ("3-a", "2-b", 3, True)
    assert list(model.quarantine.values()) == ["it answered wrongly"]
    assert (install.state, install.tries, install.transitions) == ("TRIAL", {"TRIAL": 2}, 7)
    assert (read.boots, read.generation) == (9, 41)
    body = json.loads(json.loads(data)["body"])
    assert _holds(dataclasses.asdict(read), body)


def _holds(new: Any, old: Any) -> bool:
    """Whether all that `old` has is in `new`, which may have more."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and _holds(new[key], value) for key, value in old.items())
    return bool(new == old)


def _sealed(body: dict[str, Any], schema: int) -> bytes:
    text = json.dumps(body)
    return json.dumps(
        {"schema": schema, "sha256": hashlib.sha256(text.encode()).hexdigest(), "body": text}
    ).encode()


def test_a_downgraded_agent_reads_what_a_newer_one_wrote(tmp_path: Path) -> None:
    """Fields it does not know are dropped; a form that it does not know is never taken for its own."""
    body = json.loads(json.loads((GOLDEN / "state-1.json").read_bytes())["body"])
    body["invented_later"] = {"x": 1}
    for row in (body["models"]["digits"], body["installs"]["i1"], body["releases"]["3-a"]):
        row["invented_later"] = 1
    read = state.decode(_sealed(body, 1))
    assert read is not None
    assert read.models["digits"].floor == 3
    assert state.decode(_sealed(body, 2)) is None
    # One generation of the newer form: the one before it is used. Both: the board says that its state is lost.
    (tmp_path / "state.json").write_bytes(_sealed(body, 2))
    (tmp_path / "state.json.1").write_bytes(_sealed(body, 1))
    file = state.StateFile(DiskOps(), tmp_path)
    assert file.load() == "previous"
    assert file.state.models["digits"].active == "3-a"
    (tmp_path / "state.json").write_bytes(_sealed(body, 2))
    (tmp_path / "state.json.1").write_bytes(_sealed(body, 2))
    assert state.StateFile(DiskOps(), tmp_path).load() == "lost"
