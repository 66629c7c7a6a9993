"""What TUF's conformance suite asks of a client, asked of a board; the departures are in docs/threat-model.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile

from edgestudio.wire.errors import TrustError
from tests.agent.trust.tuf_repository import OTHERS, Board, Repository, day


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def board(tmp_path: Path, repository: Repository) -> Board:
    return Board(tmp_path / "tuf", repository)


@pytest.fixture(scope="module")
def keys() -> list[CryptoSigner]:
    return [CryptoSigner.generate_ed25519() for _ in range(10)]


# ---------------------------------------------------------------------- basics


def test_a_first_list_is_taken_and_an_unknown_target_changes_nothing_of_that(board: Board) -> None:
    assert board.refresh(target="nothing/1.json") == "not-released"
    assert board.has() == (1, 1, 1, 1)
    assert board.refresh() == ""


@pytest.mark.parametrize("names", [True, False], ids=["names with versions", "plain names"])
def test_both_forms_of_names_are_taken(tmp_path: Path, repository: Repository, names: bool) -> None:
    repository.root.consistent_snapshot = names
    repository.next_root()
    board = Board(tmp_path / "tuf", repository)
    repository.targets.version += 1
    repository.list_anew()
    assert board.refresh() == ""
    assert board.has() == (2, 2, 2, 2)


def test_a_first_root_without_version_or_signature_is_none(tmp_path: Path, repository: Repository) -> None:
    bare = json.loads(repository.roots[0])
    del bare["signed"]["version"]
    unsigned = json.loads(repository.roots[0])
    unsigned["signatures"][0]["sig"] = "00" * 64
    for number, root in enumerate((bare, unsigned)):
        with pytest.raises(TrustError):
            Board(tmp_path / str(number), repository, json.dumps(root).encode())


def test_other_content_under_the_same_version_is_not_taken(board: Board, repository: Repository) -> None:
    assert board.refresh() == ""
    before = board.kept("timestamp")
    repository.timestamp.snapshot_meta.version = 100
    board.refresh()
    assert board.kept("timestamp") == before


def test_fields_that_nobody_knows_are_part_of_what_is_signed(board: Board, repository: Repository) -> None:
    assert board.refresh() == ""
    role = repository.root.roles["root"]
    repository.root.unrecognized_fields["more"] = "value"
    repository.root.keys[role.keyids[0]].unrecognized_fields["extra"] = {"a": 1}
    repository.next_root()
    assert board.refresh() == ""
    assert board.has()[0] == 2


def test_targets_that_are_not_those_of_the_snapshot(board: Board, repository: Repository) -> None:
    repository.hashes = True
    repository.list_anew()
    assert board.refresh() == ""
    listed = repository.snapshot.meta["targets.json"]
    repository.targets.version += 1
    repository.list_anew()
    listed.version = repository.targets.version
    repository.snapshot.meta["targets.json"] = listed  # the new version, with the hash of the old one
    repository.stamp(bump=False)
    assert board.refresh() == "bad-signature"
    assert board.has()[3] == 1


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_a_version_that_is_not_listed(board: Board, repository: Repository, role: str) -> None:
    getattr(repository, role).version += 1
    assert board.refresh() == "replayed"
    assert board.has() == ((1, 1, 0, 0) if role == "snapshot" else (1, 1, 1, 0))


# ---------------------------------------------------------------------- going back


def test_an_older_timestamp_is_refused(board: Board, repository: Repository) -> None:
    repository.stamp()
    assert board.refresh() == ""
    repository.timestamp.version = 1
    assert board.refresh() == "replayed"
    assert board.has()[1] == 2


@pytest.mark.parametrize("hashes", [False, True])
@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_an_older_list_under_a_newer_timestamp_is_refused(
    board: Board, repository: Repository, role: str, hashes: bool
) -> None:
    repository.hashes = hashes
    repository.targets.version = 3
    repository.list_anew()
    assert board.refresh() == ""
    if role == "snapshot":
        repository.snapshot.version = 1
        repository.stamp()
        assert board.refresh() == "replayed"
        assert board.has() == (1, 2, 2, 3)
    else:
        repository.targets.version = 1
        repository.list_anew()
        assert board.refresh() == "replayed"
        assert board.has() == (1, 3, 2, 3), "as the specification has it, what was verified before it stays"


def test_an_older_snapshot_that_the_timestamp_does_not_name_is_not_even_looked_at(
    board: Board, repository: Repository
) -> None:
    repository.list_anew()
    assert board.refresh() == ""
    repository.snapshot.version = 1
    assert board.refresh() == ""
    assert board.has()[2] == 2


@pytest.mark.parametrize("role", OTHERS)
def test_numbers_run_up_by_a_thief_are_left_behind_by_new_keys(
    board: Board, repository: Repository, role: str
) -> None:
    getattr(repository, role).version = 99_999
    repository.list_anew(bump=False)
    assert board.refresh() == ""
    assert max(board.has()) == 99_999
    # Below the role, whoever lists it must forget too: that is the key above it.
    for changed in {
        "targets": ("snapshot",),
        "snapshot": ("snapshot", "timestamp"),
        "timestamp": ("timestamp",),
    }[role]:
        repository.rekey(changed, [CryptoSigner.generate_ed25519()])
    repository.next_root()
    getattr(repository, role).version = 1
    if role == "targets":
        repository.snapshot.version += 1
    repository.list_anew(bump=False)
    if role != "timestamp":
        repository.timestamp.version += 1
    assert board.refresh() == ""
    assert board.has()[1 + OTHERS.index(role)] == 1


# ---------------------------------------------------------------------- time


def test_an_expired_root_is_kept_and_nothing_below_it_is_taken(board: Board, repository: Repository) -> None:
    assert board.refresh() == ""
    repository.root.expires = day(-1)
    repository.next_root()
    repository.targets.version += 1
    repository.list_anew()
    assert board.refresh() == "expired"
    assert board.has() == (2, 1, 1, 1)


@pytest.mark.parametrize("role", OTHERS)
def test_what_has_expired_is_not_taken(board: Board, repository: Repository, role: str) -> None:
    assert board.refresh() == ""
    getattr(repository, role).expires = day(-5)
    repository.targets.version += 1
    repository.list_anew()
    assert board.refresh() == "expired"
    assert board.has()[1 + OTHERS.index(role)] == 1


def test_a_list_that_expired_here_is_no_obstacle_to_the_next(board: Board, repository: Repository) -> None:
    repository.timestamp.expires = day(7)
    assert board.refresh() == ""
    repository.timestamp.expires = day(21)
    repository.targets.version += 1
    repository.list_anew()
    assert board.refresh(after_days=18) == ""
    assert board.has() == (1, 2, 2, 2)


# ---------------------------------------------------------------------- keys and thresholds

FIVE = [0, 1, 2, 3, 4]
ROOTS: dict[str, list[tuple[list[int], int, list[int], bool]]] = {
    # each root: its keys, how many of them must sign, who signs, whether it is taken
    "another key": [([1], 1, [1], True), ([2], 1, [2, 1], True), ([2], 1, [2], True)],
    "strangers' signatures beside": [([1], 1, [3, 1, 4], True), ([2], 1, [3, 2, 1, 4], True), ([2], 1, [3, 2], True)],
    "any three of five": [
        (FIVE, 3, [0, 2, 4], True), (FIVE, 3, [0, 4, 1], True), (FIVE, 3, [1, 2, 3], True),
    ],
    "one of five changes": [(FIVE, 3, [0, 2, 4], True), ([0, 1, 3, 4, 5], 3, [0, 4, 1], True)],
    "one of five changes, with a step between": [
        (FIVE, 3, [0, 2, 4], True),
        ([0, 1, 3, 4, 5], 3, [0, 2, 4, 5], True), ([0, 1, 3, 4, 5], 3, [0, 4, 5], True),
    ],
    "all five change": [
        (FIVE, 3, [0, 2, 4], True),
        ([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7], True), ([5, 6, 7, 8, 9], 3, [5, 6, 7], True),
    ],
    "more must sign": [([1, 2, 3], 1, [1], True), ([1, 2, 3], 2, [1, 2], True)],
    "fewer must sign": [([1, 2, 3], 2, [1, 2], True), ([1, 2, 3], 1, [1, 2], True), ([1, 2, 3], 1, [1], True)],
    "a key is added": [([1], 1, [1], True), ([1, 2], 2, [1, 2], True)],
    "without the old key": [([1], 1, [1], True), ([2], 1, [2, 3, 4], False)],
    "without the new key": [([1], 1, [1], True), ([2], 1, [1, 3, 4], False)],
    "too few of the new": [(FIVE, 3, [0, 2, 4], True), ([0, 1, 3, 4, 5], 3, [0, 2, 4], False)],
    "too few of the old": [(FIVE, 3, [0, 2, 4], True), ([0, 1, 3, 4, 5], 3, [0, 4, 5], False)],
    "its own higher threshold": [([1, 2, 3], 1, [1], True), ([1, 2, 3], 2, [2], False)],
    "the old higher threshold": [([1, 2, 3], 2, [1, 2], True), ([1, 2, 3], 1, [1], False)],
}  # fmt: skip


@pytest.mark.parametrize("case", ROOTS)
def test_roots_follow_each_other(tmp_path: Path, keys: list[CryptoSigner], case: str) -> None:
    repository = Repository()
    repository.roots.clear()
    for who, threshold, signs, _ in ROOTS[case]:
        repository.rekey("root", [keys[n] for n in who], threshold, [keys[n] for n in signs])
        repository.next_root()
    board = Board(tmp_path / "tuf", repository)
    is_taken = ROOTS[case][-1][3]
    assert (board.refresh() == "") == is_taken
    assert board.kept("root") == repository.roots[-1 if is_taken else -2]


@pytest.mark.parametrize("role", OTHERS)
@pytest.mark.parametrize(
    ("who", "threshold", "signs", "is_taken"),
    [
        ([2], 1, [2], True),
        ([1], 1, [3, 1, 4], True),
        (FIVE, 3, [0, 2, 4], True),
        (FIVE, 3, [3, 1, 2], True),
        ([2], 1, [1, 3, 4], False),
        ([0, 1, 3, 4, 5], 3, [0, 2, 4], False),
        ([0, 1, 3, 4, 5], 3, [0, 4], False),
        ([0, 1], 3, [0, 1], False),
    ],
)
def test_the_other_roles_need_their_keys(
    board: Board, repository: Repository, keys: list[CryptoSigner], role: str,
    who: list[int], threshold: int, signs: list[int], is_taken: bool,
) -> None:  # fmt: skip
    assert board.refresh() == ""
    repository.rekey(role, [keys[n] for n in who], threshold, [keys[n] for n in signs])
    repository.next_root()
    repository.targets.version += 1
    repository.list_anew()
    assert board.refresh() == ("" if is_taken else "bad-signature")
    assert board.has()[0] == 2, "the new root holds, whatever comes of the rest"
    assert (board.has()[1 + OTHERS.index(role)] == 2) == is_taken


def test_one_key_counts_once_however_often_it_signs_or_is_listed(
    board: Board, repository: Repository
) -> None:
    assert board.refresh() == ""
    signer = CryptoSigner.generate_ed25519()
    for _ in range(9):
        repository.root.add_key(signer.public_key, "snapshot")
    repository.root.roles["snapshot"].threshold = 3
    repository.signers["snapshot"] += [signer] * 3
    repository.next_root()
    repository.list_anew()
    assert board.refresh() == "bad-signature"
    assert board.has() == (2, 2, 1, 1)


def test_a_key_in_the_root_signs_nothing_by_being_there(board: Board, repository: Repository) -> None:
    repository.root.add_key(CryptoSigner.generate_ecdsa().public_key, "snapshot")
    repository.root.roles["snapshot"].threshold = 2
    repository.next_root()
    assert board.refresh() == "bad-signature"
    assert board.has() == (2, 1, 0, 0)


def test_algorithms_that_a_key_says_it_was_named_by_do_not_matter(
    board: Board, repository: Repository
) -> None:
    keyid = repository.root.roles["snapshot"].keyids[0]
    repository.root.keys[keyid].unrecognized_fields["keyid_hash_algorithms"] = ["md5"]
    repository.next_root()
    assert board.refresh() == ""
    assert board.has() == (2, 1, 1, 1)


# ---------------------------------------------------------------------- departures


@pytest.mark.parametrize("name", ["other", "?", "#", "/other", "../other", "release", "1.root"])
def test_no_release_comes_by_delegation(board: Board, repository: Repository, name: str) -> None:
    """A studio signs its releases itself; a list that leaves that to others is taken, its delegations are not."""
    signer = CryptoSigner.generate_ed25519()
    role = DelegatedRole(name, [signer.public_key.keyid], 1, terminating=False, paths=["*", "*/*"])
    repository.targets.delegations = Delegations({signer.public_key.keyid: signer.public_key}, {name: role})
    repository.targets.targets["digits/1.json"] = TargetFile.from_data("digits/1.json", b"{}", ["sha256"])
    repository.targets.version += 1
    repository.list_anew()
    assert board.refresh(target="digits/2.json") in ("incomplete-metadata", "bad-metadata", "not-released")
    assert board.has() == (1, 2, 2, 2)
    assert sorted(path.name for path in board.folder.parent.iterdir()) == ["tuf"]
