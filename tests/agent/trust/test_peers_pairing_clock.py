from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from edgestudio.agent.trust import pairing
from edgestudio.agent.trust.clock import BUILT_UNIX_S, FAR_AHEAD_S, TrustClock
from edgestudio.agent.trust.pairing import PairingWindow
from edgestudio.agent.trust.peers import Peer, PeerStore
from edgestudio.wire import api
from edgestudio.wire.errors import InputError, InstallError, TrustError
from edgestudio.wire.identity import Identity
from edgestudio.wire.pairing import Handshake, PairingCode

BOARD = "b" * 64
DAY_S = 86_400.0


@pytest.fixture
def peers(tmp_path: Path) -> PeerStore:
    return PeerStore(tmp_path / "peers.json")


def studio(tmp_path: Path, name: str = "desk") -> Identity:
    return Identity.load_or_create(tmp_path / name, name)


def test_peers_are_kept_and_told(tmp_path: Path, peers: PeerStore) -> None:
    told: list[tuple[str, bool]] = []
    peers.listen(lambda peer, is_trusted: told.append((peer.name, is_trusted)))
    desk = peers.add("desk \x1b[1m\u202e", "owner", studio(tmp_path).cert_pem)
    assert desk.name == "desk [1m"
    peers.add("", "viewer", studio(tmp_path, "two").cert_pem)
    assert [p.name for p in PeerStore(tmp_path / "peers.json").all()] == ["desk [1m", "studio"]
    assert stat.S_IMODE((tmp_path / "peers.json").stat().st_mode) == 0o600
    peers.remove(studio(tmp_path, "two").fingerprint)
    assert told == [("desk [1m", True), ("studio", True), ("studio", False)]
    with pytest.raises(TrustError):
        peers.remove("0" * 64)


def test_a_board_keeps_an_owner_while_others_are_paired(tmp_path: Path, peers: PeerStore) -> None:
    owner = peers.add("desk", "owner", studio(tmp_path).cert_pem)
    second = peers.add("two", "viewer", studio(tmp_path, "two").cert_pem)
    for attempt in (
        lambda: peers.remove(owner.fingerprint),
        lambda: peers.set_role(owner.fingerprint, "viewer"),
    ):
        with pytest.raises(TrustError) as e:
            attempt()
        assert e.value.code == "last-owner"
    assert peers.add("desk", "viewer", studio(tmp_path).cert_pem).role == "owner"
    peers.set_role(second.fingerprint, "owner")
    peers.set_role(owner.fingerprint, "viewer")
    peers.remove(owner.fingerprint)
    peers.remove(second.fingerprint)
    assert len(peers) == 0


@pytest.mark.parametrize("damage", [b"", b"{", b'{"peers":[{}]}', b'{"peers":[{"role":"god"}]}', b"\xff"])
def test_a_damaged_list_trusts_nobody_and_says_so(tmp_path: Path, peers: PeerStore, damage: bytes) -> None:
    peers.add("desk", "owner", studio(tmp_path).cert_pem)
    (tmp_path / "peers.json").write_bytes(damage)
    again = PeerStore(tmp_path / "peers.json")
    assert again.all() == []
    assert again.damage


def test_a_peer_cannot_carry_another_fingerprint(tmp_path: Path) -> None:
    value = Peer("0" * 64, "desk", "owner", studio(tmp_path).cert_pem).to_dict()
    with pytest.raises(InputError):
        Peer.from_dict(value)


class Hours:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def window(peers: PeerStore, clock: Hours, events: list[str]) -> PairingWindow:
    def report(name: str, **fields: Any) -> None:
        events.append(name)

    return PairingWindow(BOARD, peers, report, clock)


def first(identity: Identity, code: str, board: str = BOARD) -> tuple[Handshake, dict[str, Any]]:
    handshake = Handshake("studio", PairingCode(code), identity.fingerprint, board)
    return handshake, {"certificate": identity.cert_pem, "message": handshake.message, "name": "desk"}


async def attempt(opened: PairingWindow, identity: Identity, code: str) -> tuple[Peer, dict[str, Any]]:
    handshake, body = first(identity, code)
    answer = await opened.start(body)
    agreement = handshake.agree(answer["message"])
    peer, told = await opened.confirm({"pairing": answer["pairing"], "proof": agreement.proof("studio")})
    assert agreement.check("board", told["proof"])
    assert agreement.number == told["number"]
    return peer, told


def test_the_first_studio_owns_and_a_second_needs_the_owner(tmp_path: Path, peers: PeerStore) -> None:
    events: list[str] = []
    opened = window(peers, Hours(), events)
    peer, _ = asyncio.run(attempt(opened, studio(tmp_path), opened.open().code))
    assert peer.role == "owner"
    assert not opened.is_open
    with pytest.raises(TrustError) as e:
        opened.open()
    assert e.value.code == "owner-needed"
    peer, _ = asyncio.run(attempt(opened, studio(tmp_path, "two"), opened.open("operator").code))
    assert peer.role == "operator"
    assert events == ["pairing.opened", "pairing.closed", "pairing.paired"] * 2


def test_the_window_closes_by_itself(tmp_path: Path, peers: PeerStore) -> None:
    clock, events = Hours(), []
    opened = window(peers, clock, events)
    code = opened.open().code
    clock.s = api.PAIRING_WINDOW_S
    with pytest.raises(TrustError) as e:
        asyncio.run(attempt(opened, studio(tmp_path), code))
    assert e.value.code == "pairing-closed"
    assert events == ["pairing.opened", "pairing.closed"]


def test_five_wrong_codes_close_the_window(
    tmp_path: Path, peers: PeerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing.api, "PAIRING_DELAY_S", 0.0)
    events: list[str] = []
    opened = window(peers, Hours(), events)
    code = opened.open().code
    for _ in range(api.PAIRING_TRIES):
        assert opened.is_open
        with pytest.raises(TrustError) as e:
            asyncio.run(attempt(opened, studio(tmp_path), "42-ACORN-ACTOR-ALBUM"))
        assert e.value.code == "wrong-code"
    with pytest.raises(TrustError) as e:
        asyncio.run(attempt(opened, studio(tmp_path), code))
    assert e.value.code == "pairing-closed"
    assert events.count("pairing.failed") == api.PAIRING_TRIES
    assert events[-1] == "pairing.closed"
    assert len(peers) == 0


def test_guesses_cannot_be_tried_side_by_side(tmp_path: Path, peers: PeerStore) -> None:
    events: list[str] = []
    opened = window(peers, Hours(), events)
    opened.open()

    async def guess() -> float:
        _, body = first(studio(tmp_path), "42-ACORN-ACTOR-ALBUM")
        keys = [(await opened.start(body))["pairing"] for _ in range(3)]
        started = asyncio.get_running_loop().time()
        wrong = [opened.confirm({"pairing": key, "proof": "0" * 64}) for key in keys]
        await asyncio.gather(*wrong, return_exceptions=True)
        return asyncio.get_running_loop().time() - started

    assert asyncio.run(guess()) >= 3 * api.PAIRING_DELAY_S - 0.1


def test_a_handshake_serves_once_and_few_are_kept(tmp_path: Path, peers: PeerStore) -> None:
    opened = window(peers, Hours(), [])
    code = opened.open().code

    async def scenario() -> None:
        handshake, body = first(studio(tmp_path), code)
        answer = await opened.start(body)
        for _ in range(pairing.MAX_PENDING):
            await opened.start(body)
        proof = handshake.agree(answer["message"]).proof("studio")
        with pytest.raises(TrustError) as e:
            await opened.confirm({"pairing": answer["pairing"], "proof": proof})
        assert e.value.code == "bad-pairing"

    asyncio.run(scenario())
    assert len(peers) == 0


@pytest.mark.parametrize("body", [None, [], {}, {"certificate": "x"}, {"certificate": 1, "message": 2}])
def test_malformed_pairing_is_refused(peers: PeerStore, body: object) -> None:
    opened = window(peers, Hours(), [])
    opened.open()
    with pytest.raises(InputError):
        asyncio.run(opened.start(body))
    with pytest.raises(InputError):
        asyncio.run(opened.confirm(body))


class Wall:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_board_without_a_clock_never_believes_it_is_1970(tmp_path: Path) -> None:
    clock = TrustClock(tmp_path / "clock", wall=Wall(5.0))
    assert clock.quality == "bad"
    assert clock.now() >= BUILT_UNIX_S
    clock.offer(BUILT_UNIX_S + 10 * DAY_S)
    assert clock.quality == "ok"
    assert clock.now() == pytest.approx(BUILT_UNIX_S + 10 * DAY_S)


def test_a_clock_that_is_set_after_a_studio_corrected_it_is_not_corrected_twice(tmp_path: Path) -> None:
    """As a board without a battery does: it wakes in 1970, is told the time, and then hears it from the network."""
    wall = Wall(5.0)
    clock = TrustClock(tmp_path / "clock", wall=wall)
    now = BUILT_UNIX_S + 10 * DAY_S
    clock.offer(now)
    wall.now = now + 60
    clock.keep()
    assert clock.now() == pytest.approx(now + 60)
    clock.offer(now + 60)
    clock.check_install()
    wall.now = 5.0
    assert clock.now() == clock.floor
    clock.offer(now + 120)
    assert clock.now() == pytest.approx(now + 120)


def test_time_is_kept_over_a_restart(tmp_path: Path) -> None:
    TrustClock(tmp_path / "clock", wall=Wall(BUILT_UNIX_S + 50 * DAY_S)).keep()
    again = TrustClock(tmp_path / "clock", wall=Wall(0.0))
    assert again.now() >= BUILT_UNIX_S + 49 * DAY_S
    assert again.quality == "bad"
    (tmp_path / "clock").write_text("1e400 nonsense")
    assert TrustClock(tmp_path / "clock", wall=Wall(0.0)).now() == BUILT_UNIX_S


def test_signed_time_raises_the_floor_but_not_for_ever(tmp_path: Path) -> None:
    clock = TrustClock(tmp_path / "clock", wall=Wall(0.0))
    clock.raise_floor(BUILT_UNIX_S + 20 * DAY_S)
    assert clock.now() == BUILT_UNIX_S + 20 * DAY_S
    clock.raise_floor(BUILT_UNIX_S + 4000 * DAY_S)
    assert clock.now() == BUILT_UNIX_S + 20 * DAY_S


def test_a_clock_far_ahead_refuses_installs(tmp_path: Path) -> None:
    clock = TrustClock(tmp_path / "clock", wall=Wall(BUILT_UNIX_S + 100 * DAY_S))
    clock.offer(BUILT_UNIX_S + 100 * DAY_S - FAR_AHEAD_S + 60)
    clock.check_install()
    clock.offer(BUILT_UNIX_S + 90 * DAY_S)
    with pytest.raises(InstallError, match="10 days ahead"):
        clock.check_install()
