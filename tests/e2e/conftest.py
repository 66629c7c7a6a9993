"""What the end-to-end tests share: a desk, boards that end with their test, variants made once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.parts import CALIBRATION, MODEL, PIPELINE, Board, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "home")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Callable[..., Board]]:
    """Makes boards; all of them end with the test."""
    made: list[Board] = []

    def make(**options) -> Board:
        # Other boards may announce themselves on this computer: the name is this test's own.
        name = f"bench-{uuid.uuid4().hex[:8]}"
        made.append(Board(options.pop("data", tmp_path / name), name, **options))
        return made[-1]

    yield make
    for each in made:
        print("\n".join([f"--- screen of {each.name}:", *each.everything]))  # noqa: T201  shown when a test fails
        each.stop()


@pytest.fixture(scope="session")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as INT8, made once by the real recipe."""
    folder = tmp_path_factory.mktemp("variant")
    answer = Desk(folder / "home").run(
        "optimize", MODEL, "--recipe", "int8-static", "--data", CALIBRATION, "--pipeline", PIPELINE,
        "--out", folder / "out",
    )  # fmt: skip
    assert answer.status == 0, answer.said()
    return Path(answer.json["artifact"])
