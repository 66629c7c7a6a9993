"""What a board never throws away: what serves, the release before, what arrives, and two that were committed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgestudio.agent.store.board import BoardStore
from edgestudio.agent.store.gc import Needed, forget_releases, releases_to_keep
from edgestudio.agent.store.state import BoardState, InstallRow, ModelRow, ReleaseRow
from tests.agent import releases


def a_release(name: str, at: float | None) -> ReleaseRow:
    return ReleaseRow(name, "1", 1, "a" * 64, "b" * 64, at)


@given(
    st.dictionaries(
        st.sampled_from(["1-a", "2-b", "3-c", "4-d", "5-e", "6-f"]),
        st.none() | st.floats(0, 2e9),
        max_size=6,
    ),
    st.lists(st.sampled_from(["1-a", "2-b", "3-c", "4-d", "5-e", "6-f"]), min_size=4, max_size=4),
    st.sampled_from(["RECEIVING", "TRIAL", "FAILED", "COMMITTED"]),
)
@settings(max_examples=300)
def test_two_committed_releases_and_all_in_use_stay(
    commits: dict[str, float | None], chosen: list[str], installing: str
) -> None:
    state = BoardState()
    state.releases = {release: a_release("m", at) for release, at in commits.items()}
    there = [release if release in commits else None for release in chosen]
    active, previous, candidate, arriving = there
    state.models["m"] = ModelRow(active=active, previous=previous, candidate=candidate)
    if arriving is not None:
        state.installs["i"] = InstallRow("i", "m", arriving, "1", "", "", "", installing, 1.0)
    keep = releases_to_keep(state)
    assert {active, previous, candidate} - {None} <= keep
    if arriving is not None and installing in ("RECEIVING", "TRIAL"):
        assert arriving in keep
    committed = {release for release, at in commits.items() if at is not None}
    assert len(keep & committed) >= min(2, len(committed))
    forget_releases(state)
    assert set(state.releases) == keep & set(commits)


def test_models_do_not_push_each_other_out() -> None:
    state = BoardState(models={"old": ModelRow(), "new": ModelRow()})
    for number in range(5):
        state.releases[f"{number}-x"] = a_release("old", float(number))
        state.releases[f"{number}-y"] = a_release("new", 1e9 + number)
    assert releases_to_keep(state) == {"3-x", "4-x", "3-y", "4-y"}


def test_an_offer_waits_until_what_is_removed_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest of an offer has no row yet: removing what no row needs at the same time would take it along."""
    removing, may_go_on, saved_by = threading.Event(), threading.Event(), set[int]()
    remove, save = BoardStore.remove_others, BoardStore.save

    def slowly(store: BoardStore, kept: Needed) -> int:
        removing.set()
        assert may_go_on.wait(30)
        return remove(store, kept)

    def noted(store: BoardStore) -> None:
        saved_by.add(threading.get_ident())
        save(store)

    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        monkeypatch.setattr(BoardStore, "remove_others", slowly)
        monkeypatch.setattr(BoardStore, "save", noted)
        try:
            first, second = (
                releases.make_release(tmp_path / f"{counter}", version=f"{counter}", counter=counter)
                for counter in (1, 2)
            )
            pushing = asyncio.create_task(releases.push(board, first))
            await asyncio.to_thread(removing.wait, 60)
            offering = asyncio.create_task(releases.offer(board, second))
            board.pause("digits")  # whoever changes the state meanwhile is not disturbed
            board.resume("digits")
            await asyncio.sleep(0.2)
            assert not offering.done()
            may_go_on.set()
            offered = await offering
            assert (await pushing)["state"] == "COMMITTED"
            await releases.send(board, second, offered["need"])
            await board.finish(offered["id"])
            assert (await releases.ended(board, offered["id"]))["state"] == "COMMITTED"
            assert saved_by == {threading.get_ident()}, "the state is written by one thread alone"
        finally:
            may_go_on.set()
            await board.stop()

    asyncio.run(scenario())
