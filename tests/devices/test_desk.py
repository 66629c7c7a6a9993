"""The desk's own state and eyes: known boards, the kit, profiles, announcements, doctor, provisioning."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgestudio.agent.net.server import AgentServer
from edgestudio.agent.settings import AgentSettings
from edgestudio.agent.trust.provision import is_open, place, provision
from edgestudio.devices import doctor, interfaces, profiles
from edgestudio.devices.deploy import deploy
from edgestudio.devices.discovery import Discovery, Found, read_announcement, survey
from edgestudio.devices.known import KnownBoard, KnownBoards
from edgestudio.devices.pairing import greet, pair
from edgestudio.devices.provisioning import provision_board, provision_file
from edgestudio.devices.publisher import Publisher, plain_name
from edgestudio.devices.session import BoardSession
from edgestudio.devices.vault import exclusive
from edgestudio.wire import api, tls
from edgestudio.wire.errors import DeviceError, InputError, TrustError
from edgestudio.wire.files import write_atomically
from edgestudio.wire.identity import Identity
from tests.agent.net.board import PlainSupervisor, running

LOOPBACK = ["127.0.0.1"]


def known(tmp_path: Path, name: str, port: int = 8743) -> KnownBoard:
    pem = Identity.load_or_create(tmp_path / name, name).cert_pem
    return KnownBoard.from_dict({"certificate_pem": pem, "name": name, "host": "10.0.0.1", "port": port})


def test_boards_are_kept_privately_and_found_by_what_people_call_them(tmp_path: Path) -> None:
    boards = KnownBoards(tmp_path / "boards.json")
    one, two = known(tmp_path, "one"), known(tmp_path, "two", 9000)
    boards.add(one)
    boards.add(two)
    assert stat.S_IMODE((tmp_path / "boards.json").stat().st_mode) == 0o600
    again = KnownBoards(tmp_path / "boards.json")
    for reference in ("one", one.fingerprint[:8], one.short_id, one.short_id.lower(), "10.0.0.1:8743"):
        assert again.find(reference).fingerprint == one.fingerprint
    again.seen(one.fingerprint, "10.0.0.7", 1234)
    assert again.find("one").host == "10.0.0.7"
    with pytest.raises(DeviceError) as e:
        again.find("three")
    assert e.value.code == "unknown-board"
    boards.add(known(tmp_path / "other", "one"))
    with pytest.raises(DeviceError) as e:
        again.find("one")
    assert e.value.code == "ambiguous"
    assert again.remove(two.fingerprint) is not None
    assert again.get(two.fingerprint) is None


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"boards":[{}]}', b"\xff"])
def test_a_damaged_list_is_never_overwritten(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "boards.json"
    path.write_bytes(damage)
    with pytest.raises(TrustError) as e:
        KnownBoards(path).add(known(tmp_path, "one"))
    assert e.value.code == "bad-list"
    assert path.read_bytes() == damage


_ADD_FIVE = """
import sys
from pathlib import Path
from edgestudio.devices.known import KnownBoards
from tests.devices.test_desk import known
folder, start = Path(sys.argv[1]), int(sys.argv[2])
for n in range(start, start + 5):
    KnownBoards(folder / "boards.json").add(known(folder, f"board{n}"))
"""


def test_two_processes_do_not_lose_each_others_boards(tmp_path: Path) -> None:
    adding = [subprocess.Popen([sys.executable, "-c", _ADD_FIVE, str(tmp_path), str(n)]) for n in (0, 5)]
    assert [process.wait(60) for process in adding] == [0, 0]
    assert len(KnownBoards(tmp_path / "boards.json").all()) == 10


def test_a_lock_that_stays_taken_is_a_clear_error(tmp_path: Path) -> None:
    write_atomically(tmp_path / "x", b"1")
    with (
        exclusive(tmp_path / "lock"),
        pytest.raises(DeviceError) as e,
        exclusive(tmp_path / "lock", timeout_s=0.1),
    ):
        pass
    assert e.value.code == "locked"


def test_the_kit_brings_the_keys_back_and_nothing_else_opens_it(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"m")
    publisher = Publisher(tmp_path / "p")
    first = publisher.publish("digits", {"model": model})
    publisher.export_kit(tmp_path / "kit", "correct horse battery")
    assert stat.S_IMODE((tmp_path / "kit").stat().st_mode) == 0o600
    assert b"PRIVATE" not in (tmp_path / "kit").read_bytes()
    other = Publisher(tmp_path / "q")
    with pytest.raises(InputError) as e:
        other.import_kit(tmp_path / "kit", "another passphrase")
    assert e.value.code == "wrong-passphrase"
    other.import_kit(tmp_path / "kit", "correct horse battery")
    assert other.metadata({}) == publisher.metadata({})
    assert other.publish("digits", {"model": model}).manifest.counter == 2
    assert other.published(first.target, {"model": model}).manifest == first.manifest
    with pytest.raises(InputError) as e:
        other.import_kit(tmp_path / "kit", "correct horse battery")
    assert e.value.code == "keys-exist"
    with pytest.raises(InputError) as e:
        publisher.export_kit(tmp_path / "kit2", "short")
    assert e.value.code == "weak-passphrase"
    for junk in (
        b"",
        b"{}",
        b'{"kind":"edgestudio recovery kit","v":1}',
        (tmp_path / "kit").read_bytes()[:-40],
    ):
        (tmp_path / "junk").write_bytes(junk)
        with pytest.raises(InputError) as e:
            other.import_kit(tmp_path / "junk", "correct horse battery", replace=True)
        assert e.value.code == "bad-kit"


def test_a_publisher_names_what_it_cannot_do(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "p")
    with pytest.raises(InputError) as e:
        publisher.publish("digits", {"model": tmp_path / "absent.onnx"})
    assert e.value.code == "no-file"
    (tmp_path / "Weights Big.bin").write_bytes(b"")
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(InputError) as e:
        publisher.publish("digits", {"model": tmp_path / "m.onnx", "weights": tmp_path / "Weights Big.bin"})
    assert e.value.code == "bad-name"
    release = publisher.publish("digits", {"model": tmp_path / "m.onnx"})
    (tmp_path / "m.onnx").write_bytes(b"changed")
    with pytest.raises(InputError) as e:
        publisher.published(release.target, {"model": tmp_path / "m.onnx"})
    assert e.value.code == "file-changed"
    (tmp_path / "p" / "releases.json").write_bytes(b"{")
    with pytest.raises(TrustError) as lost:
        publisher.publish("digits", {"model": tmp_path / "m.onnx"})
    assert "recovery kit" in lost.value.hint


@given(st.text(max_size=150))
def test_any_text_becomes_a_name_that_travels(text: str) -> None:
    assert api.is_safe_name(plain_name(text))


def test_the_board_profiles_are_complete() -> None:
    known_ids = {p.id for p in profiles.profiles()}
    assert {"pi5", "pi4", "orin-nano", "x86-gateway", "mcu-class"} <= known_ids
    for profile in profiles.profiles():
        assert profile.facts
        assert all(fact.source.startswith("https://") for fact in profile.facts)
    assert profiles.profile("pi5").int8_activations == "signed"
    with pytest.raises(InputError, match="toaster"):
        profiles.profile("toaster")


def test_a_damaged_profile_says_where(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("schema_version: 1\nid: x1\n")
    with pytest.raises(InputError, match="title"):
        profiles.read_profile(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("{: [")
    with pytest.raises(InputError):
        profiles.read_profile(tmp_path / "x.yaml")


GOOD = {b"id": b"ab" * 32, b"name": b"kitchen", b"v": b"1", b"sim": b"1", b"pair": b"open"}


def test_an_announcement_is_read() -> None:
    found = read_announcement(GOOD, ["169.254.3.3", "10.0.0.2"], 99)
    assert found == Found(
        "ab" * 32, "kitchen", "10.0.0.2", 99, ("169.254.3.3", "10.0.0.2"), is_simulated=True, pairing_open=True,
        api_version=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "addresses", "port"),
    [
        ({b"id": b"x"}, ["10.0.0.2"], 99), ({b"id": None}, ["10.0.0.2"], 99), ({}, [], 99), ({}, ["10.0.0.2"], 0),
        ({}, ["10.0.0.2"], 70000), ({}, ["224.0.0.1"], 99), ({}, ["0.0.0.0"], 99), ({}, ["evil.example"], 99),
    ],
)  # fmt: skip
def test_what_cannot_be_a_board_is_ignored(
    change: dict[bytes, bytes | None], addresses: list[str], port: int
) -> None:
    assert read_announcement({**GOOD, **change}, addresses, port) is None


def test_hostile_names_are_fit_to_show() -> None:
    hostile = "\x1b[31m\u202eevil<b>\n" * 50
    found = read_announcement(
        {**GOOD, b"name": hostile.encode(), b"hw": b"\xff" * 500, b"v": b"9" * 9}, ["10.0.0.2"], 1
    )
    assert found is not None
    assert len(found.name) <= 60
    assert found.name.isprintable()
    assert len(found.hardware) <= 60


@given(
    st.dictionaries(st.binary(max_size=8) | st.sampled_from(list(GOOD)), st.none() | st.binary(max_size=80))
)
def test_no_announcement_makes_the_reader_fail(properties: dict[bytes, bytes | None]) -> None:
    read_announcement(properties, ["10.0.0.2"], 5)
    read_announcement({**GOOD, **properties, b"id": GOOD[b"id"]}, ["10.0.0.2"], 5)


def test_a_board_is_found_changes_and_says_goodbye(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = PlainSupervisor(AgentSettings(tmp_path / "b", "my\nboard \x1b[1m", "127.0.0.1", 0))
        server = AgentServer(board)
        heard: asyncio.Queue[Found] = asyncio.Queue()
        gone: asyncio.Queue[Found] = asyncio.Queue()
        discovery = Discovery(heard.put_nowait, gone.put_nowait, interfaces=LOOPBACK)
        await discovery.start()
        await server.start()
        try:
            async with asyncio.timeout(40):
                # Other boards may be on this loopback; so may this one before all of its record is known.
                while (found := await heard.get()).fingerprint != board.identity.fingerprint:
                    pass
                assert (found.host, found.port) == ("127.0.0.1", server.port)
                assert found.is_simulated
                assert not found.pairing_open
                assert found.name.isprintable()
                assert (await greet(found.host, found.port)).fingerprint == found.fingerprint
                board.pairing.open()
                await server.refresh_announcement()
                while not (found.pairing_open and found.fingerprint == board.identity.fingerprint):
                    found = await heard.get()
            async with asyncio.timeout(40):
                for wait_s in (2.0, 4.0, 8.0, 16.0):
                    seen = [f.fingerprint for f in await survey(wait_s, interfaces=LOOPBACK)]
                    if found.fingerprint in seen:
                        break
                assert found.fingerprint in seen
        finally:
            await server.stop()
        async with asyncio.timeout(30):
            while (await gone.get()).fingerprint != board.identity.fingerprint:
                pass
        await discovery.stop()

    asyncio.run(scenario())


def test_without_a_network_interface_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(interfaces.psutil, "net_if_addrs", dict)

    async def scenario() -> None:
        with pytest.raises(DeviceError) as e:
            await Discovery().start()
        assert e.value.code == "no-network"
        checks = {c["name"]: c for c in await doctor.examine()}
        assert checks["interfaces used"]["ok"] is False
        board = PlainSupervisor(AgentSettings(tmp_path / "b", "b", "0.0.0.0", 0))
        server = AgentServer(board)  # serves all the same, unannounced
        await server.start()
        assert (await greet("127.0.0.1", server.port)).fingerprint == board.identity.fingerprint
        await server.stop()

    asyncio.run(scenario())


def test_the_doctor_looks_at_every_interface_and_says_why_one_is_skipped() -> None:
    checks = asyncio.run(doctor.examine(wanted=LOOPBACK, look_for_s=0.2))
    assert all({"name", "ok", "detail", "remedy"} == set(c) for c in checks)
    by_name = {c["name"]: c for c in checks}
    assert "127.0.0.1" in by_name["interfaces used"]["detail"]
    assert any(name.startswith("announcements on ") for name in by_name)
    json.dumps(checks)
    others = [i for i in interfaces.interfaces(LOOPBACK) if not i.is_loopback]
    assert all(i.why_skipped for i in others)


@pytest.mark.parametrize(
    ("listen", "code"), [("nothing", "unreachable"), ("plain", "unreachable"), ("silent", "unreachable")]
)
def test_an_address_without_an_agent_is_a_clear_error(
    listen: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tls.presented_certificate.__kwdefaults__, "timeout_s", 0.5)

    async def scenario() -> None:
        def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if listen == "plain":
                writer.write(b"HTTP/1.0 200 OK\r\n\r\nhello")
                writer.close()
            else:
                writers.append(writer)

        writers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        if listen == "nothing":
            server.close()
            await server.wait_closed()
        with pytest.raises(DeviceError) as e:
            await greet("127.0.0.1", port)
        assert e.value.code == code
        assert e.value.hint
        server.close()
        for writer in writers:
            writer.close()

    asyncio.run(scenario())


def test_a_headless_board_starts_paired_from_a_file(tmp_path: Path) -> None:
    desk, publisher = Identity.load_or_create(tmp_path / "desk", "desk"), Publisher(tmp_path / "p")
    model = tmp_path / "m.onnx"
    model.write_bytes(b"m")
    board_known = provision_board(
        tmp_path / "card", desk, "desk", publisher, board_name="roof", host="127.0.0.1"
    )
    with pytest.raises(InputError):
        provision_board(tmp_path / "card", desk, "desk", publisher, board_name="roof", host="")

    async def scenario() -> None:
        async with running(tmp_path / "card") as (board, server):
            assert board.identity.fingerprint == board_known.fingerprint
            assert board.peers.owner is not None
            assert not (tmp_path / "card" / "provision.json").exists()
            at = KnownBoard(**{**board_known.__dict__, "port": server.port})
            async with BoardSession(desk, at) as session:
                assert (await session.info())["role"] == "owner"
                assert (await session.trusted_versions())["root"] == 1
                release = publisher.publish("digits", {"model": model})
                assert [s async for s in deploy(session, publisher, release)][-1].name == "committed"

    asyncio.run(scenario())


def _without_owner(value: dict[str, object]) -> None:
    value["peers"][0]["role"] = "viewer"  # type: ignore[index]


@pytest.mark.parametrize(
    "spoil",
    [
        _without_owner,
        lambda v: v["peers"][0].update(certificate="x"),
        lambda v: v["peers"][0].update(root="{}"),
        lambda v: v.update(v=9),
        lambda v: v.update(peers=[]),
        dict.clear,
    ],
)
def test_a_spoilt_provision_file_pairs_nobody(
    tmp_path: Path, spoil: Callable[[dict[str, object]], None]
) -> None:
    desk, publisher = Identity.load_or_create(tmp_path / "desk", "desk"), Publisher(tmp_path / "p")
    provision_board(tmp_path / "card", desk, "desk", publisher, board_name="roof", host="127.0.0.1")
    path = tmp_path / "card" / "provision.json"
    value = json.loads(path.read_bytes())
    spoil(value)
    path.write_text(json.dumps(value))
    board = PlainSupervisor(AgentSettings(tmp_path / "card", "roof", "127.0.0.1", 0))
    with pytest.raises(TrustError) as e:
        provision(tmp_path / "card", board.peers, board.trust)
    assert e.value.code == "bad-provision"
    assert len(board.peers) == 0


def test_a_file_for_a_board_is_judged_whole_before_anything_is_placed(tmp_path: Path) -> None:
    desk, publisher = Identity.load_or_create(tmp_path / "desk", "desk"), Publisher(tmp_path / "p")
    good, folder = tmp_path / "board.json", tmp_path / "data"
    provision_file(good, desk, "desk", publisher, board_name="roof", host="127.0.0.1")
    for number, spoil in enumerate(
        (
            _without_owner,
            lambda v: v["peers"][0].update(root="{}"),
            lambda v: v.update(v=9),
            lambda v: v.update(peers=[]),
            lambda v: v["identity"].update(key="x"),
            lambda v: v.pop("identity"),
        )
    ):
        value = json.loads(good.read_bytes())
        spoil(value)
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(value))
        with pytest.raises(TrustError) as e:
            place(file, folder)
        assert e.value.code == "bad-provision"
        assert not (folder / "provision.json").exists()
        assert not (folder / "identity" / "key.pem").exists()
    assert not is_open(good), "it is made for its owner's eyes"
    good.chmod(0o646)
    assert is_open(good)
    with pytest.raises(TrustError, match="may change it"):
        place(good, folder)
    good.chmod(0o644)
    place(good, folder)
    assert (folder / "provision.json").exists()


def test_a_paired_board_ignores_a_provision_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Identity.load_or_create(tmp_path / "desk", "desk")
        async with running(tmp_path / "board") as (board, server):
            await pair(desk, "desk", "127.0.0.1", server.port, board.pairing.open().code)
        thief = Identity.load_or_create(tmp_path / "thief", "thief")
        provision_board(
            tmp_path / "card", thief, "thief", Publisher(tmp_path / "p"), board_name="x", host="x"
        )
        (tmp_path / "card" / "provision.json").rename(tmp_path / "board" / "provision.json")
        async with running(tmp_path / "board") as (board, _):
            assert [p.fingerprint for p in board.peers.all()] == [desk.fingerprint]

    asyncio.run(scenario())
