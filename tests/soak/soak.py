"""Many real agents under random faults: `python -m tests.soak.soak MINUTES [--boards N] [--seed S]`.

Held throughout: once a release was committed, the old or the new one is active and answers its golden input; no
telemetry sequence is lost or comes twice; a board's memory does not grow. What was seen is printed as one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import itertools
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.devices.deploy import deploy
from edgestudio.devices.known import KnownBoard
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire import api
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.identity import Identity
from edgestudio.wire.release import HealthLimits
from tests.agent import releases

LIMITS = HealthLimits(trial_s=1.0, trial_inferences=10, temperature_c=None, confidence_distance=None)
AT_ONCE = 4
BACK_S = 300.0
"""How long a board may take to serve again after a fault; generous, as twenty of them share two cores."""

MEMORY_GROWTH = 1.3
PAUSE_S = 2.0


@dataclasses.dataclass
class Seen:
    """What happened, for the report."""

    faults: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    wrong: list[str] = dataclasses.field(default_factory=list)
    answered: int = 0
    records: int = 0
    rss: list[tuple[str, float, float]] = dataclasses.field(default_factory=list)
    """(process of a board, its age in seconds, MiB)"""


class Agent:
    """One agent process at a time on one data folder and port."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.port, self.code, self.starts = folder, name, 0, "", 0
        self.process: asyncio.subprocess.Process | None = None
        self._screen: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edgestudio", "agent", "--name", self.name, "--host", "127.0.0.1", "--port",
            str(self.port), "--data", str(self.folder), "--simulate", "pi5",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.starts += 1
        said: list[str] = []
        while True:
            line = (await asyncio.wait_for(self.process.stdout.readline(), BACK_S)).decode()
            said.append(line)
            assert line, f"{self.name} ended: {said}"
            if found := re.search(r"pairing code: (\S+)", line):
                self.code = found[1]
            if found := re.search(r"ready on \S+:(\d+)", line):
                self.port = int(found[1])
            if self.port and "ready on" in "".join(said) and (self.code or self.starts > 1):
                break
        self._screen = asyncio.ensure_future(self._drain(self.process.stdout))

    async def _drain(self, stdout: asyncio.StreamReader) -> None:
        while await stdout.readline():
            pass

    def send(self, number: int) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is None:
            return
        self.send(signal.SIGCONT)
        self.send(number)
        try:
            await asyncio.wait_for(self.process.wait(), 30)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        if self._screen is not None:
            await self._screen


class Releases:
    """Releases that a board should take, and some that it must not."""

    def __init__(self, folder: Path) -> None:
        data = releases.digits()
        self.sample = data[0]
        golden, _ = releases.sample_golden(data[:4])
        self.label = int(np.argmax(next(iter(golden.outputs.values()))[0]))
        other, _ = releases.sample_golden(data[4:12], count=8)
        lie, _ = releases.sample_golden(data[:4])
        for array in lie.outputs.values():
            array[...] = array[..., ::-1]
        junk = folder / "junk.onnx"
        junk.write_bytes(os.urandom(50_000))
        self.good = [self._files(folder / "a", golden=golden), self._files(folder / "b", golden=other)]
        self.bad = [
            self._files(folder / "c", golden=lie),
            self._files(folder / "d", model=junk, golden=golden),
        ]

    @staticmethod
    def _files(folder: Path, **how: Any) -> dict[str, Path]:
        made = releases.make_release(folder, **how)
        return {role: made.paths[file.sha256] for role, file in made.manifest.files.items()}


class Board:
    """One board's life: faults, and after each the question whether it still serves."""

    def __init__(self, folder: Path, number: int, made: Releases, seen: Seen, seed: int) -> None:
        self.made, self.seen = made, seen
        self.name = f"soak-{os.getpid()}-{number}"
        self.agent = Agent(folder / "board", self.name)
        self.identity = Identity.load_or_create(folder / "desk", "desk")
        self.publisher = Publisher(folder / "publisher")
        self.random = random.Random(seed * 1000 + number)
        self.session: BoardSession | None = None
        self.listening: asyncio.Task[None] | None = None
        self.numbers: dict[str, set[int]] = collections.defaultdict(set)
        self.gaps: list[tuple[int, int]] = []
        self.allowed: set[str] = set()
        self.version = 0
        self.born = 0.0

    async def begin(self) -> None:
        """Start, pair, and have something that serves."""
        await self.agent.start()
        self.born = time.monotonic()
        paired = await pair(self.identity, "desk", "127.0.0.1", self.agent.port, self.agent.code)
        self.session = BoardSession(self.identity, paired.board)
        self.listening = asyncio.ensure_future(self._listen(paired.board))
        assert await self._push(self.made.good[0]) == "committed"
        await self.check("start")

    async def live(self, until: float) -> None:
        """Faults until then; what was wrong is in `seen`."""
        assert self.session is not None
        assert self.listening is not None
        try:
            try:
                while time.monotonic() < until:
                    fault = self.random.choice(FAULTS)
                    self.seen.faults[fault.__name__] += 1
                    await fault(self)
                    await self.check(fault.__name__)
                    await asyncio.sleep(self.random.uniform(0, PAUSE_S))
                await asyncio.sleep(1.0)
            finally:
                self.listening.cancel()
                await asyncio.gather(self.listening, return_exceptions=True)
                await self.session.close()
            self.judge_records()
        finally:
            await self.agent.end()

    async def _listen(self, known: KnownBoard) -> None:
        async with BoardSession(self.identity, known) as session:
            async with contextlib.aclosing(session.records(acknowledge=True)) as records:
                async for record in records:
                    self.seen.records += 1
                    if record["k"] == "gap":
                        self.gaps.append((record["from"], record["to"]))
                    elif record["seq"] in self.numbers[record["boot"]]:
                        self.seen.wrong.append(f"{self.name}: record {record['seq']} came twice")
                    else:
                        self.numbers[record["boot"]].add(record["seq"])

    def judge_records(self) -> None:
        """One sequence over all boots: none twice, none missing but those that a gap names."""
        every = sorted(number for numbers in self.numbers.values() for number in numbers)
        for before, after in itertools.pairwise(every):
            if after == before:
                self.seen.wrong.append(f"{self.name}: record {after} was used by two boots")
            lost = [n for n in range(before + 1, after) if not any(a <= n <= b for a, b in self.gaps)]
            if lost:
                self.seen.wrong.append(f"{self.name}: records {lost[0]} to {lost[-1]} were lost")

    async def check(self, after: str) -> None:
        """The board serves an allowed release, which answers; it may need time to come back."""
        assert self.session is not None
        deadline, problem = time.monotonic() + BACK_S, ""
        while time.monotonic() < deadline:
            try:
                state = await self.session.state()
                model = state["models"]["digits"]
                if state["safe_mode"]:
                    self.seen.outcomes["safe mode, resumed"] += 1
                    await self.session.resume("digits")
                elif state["phase"] not in (
                    "IDLE",
                    "OFFERED",
                    "RECEIVING",
                ):  # what hung up may be taken up again
                    problem = f"still {state['phase']}"
                elif model["active"] is None:
                    problem = "nothing is active"
                    break
                elif model["active"]["version"] not in self.allowed:
                    problem = f"{model['active']['version']} is active, not one of {sorted(self.allowed)}"
                    break
                else:
                    answer = await self.session.infer("digits", {"input": self.made.sample})
                    got = int(np.argmax(next(iter(answer["outputs"].values()))))
                    assert got == self.made.label, f"answered {got}"
                    self.seen.answered += 1
                    self.allowed = {row["version"] for row in (model["active"], model["previous"]) if row}
                    rss = (await self.session.info())["rss_bytes"] / 2**20
                    age_s = time.monotonic() - self.born
                    self.seen.rss.append((f"{self.name}#{self.agent.starts}", age_s, rss))
                    return
            except EdgeStudioError as error:
                problem = f"{error.code}: {error.message}"
            await asyncio.sleep(0.3)
        self.seen.wrong.append(f"{self.name} after {after}: {problem}")

    async def _push(self, files: dict[str, Path]) -> str:
        assert self.session is not None
        self.version += 1
        version = f"{self.version}.0"
        self.allowed.add(version)
        try:
            release = await asyncio.to_thread(
                self.publisher.publish, "digits", version=version, files=files, limits=LIMITS
            )
            last = "none"
            async with contextlib.aclosing(deploy(self.session, self.publisher, release)) as states:
                async for state in states:
                    last = state.name
        except EdgeStudioError as error:
            last = error.code
        self.seen.outcomes[last] += 1
        return last

    async def _restart(self) -> None:
        await self.agent.end(signal.SIGKILL)
        await self.agent.start()
        self.born = time.monotonic()

    # -- faults

    async def push_good(self) -> None:
        await self._push(self.random.choice(self.made.good))

    async def push_bad(self) -> None:
        before = set(self.allowed)
        last = await self._push(self.random.choice(self.made.bad))
        if last == "committed":
            self.seen.wrong.append(f"{self.name}: a hostile release was committed")
        self.allowed = before

    async def push_twice_at_once(self) -> None:
        await asyncio.gather(*(self._push(files) for files in self.made.good))

    async def push_and_kill(self) -> None:
        push = asyncio.ensure_future(self._push(self.random.choice(self.made.good)))
        await asyncio.sleep(self.random.uniform(0, 3.0))
        await self._restart()
        await push

    async def push_and_hang_up(self) -> None:
        push = asyncio.ensure_future(self._push(self.random.choice(self.made.good)))
        await asyncio.sleep(self.random.uniform(0, 2.0))
        push.cancel()
        await asyncio.gather(push, return_exceptions=True)
        assert self.session is not None
        await self.session.close()
        with contextlib.suppress(EdgeStudioError):
            for row in (await self.session.state())["installs"]:
                await self.session.abort(row["id"])

    async def kill(self) -> None:
        await self._restart()

    async def stand_still(self) -> None:
        self.agent.send(signal.SIGSTOP)
        await asyncio.sleep(self.random.uniform(0.5, 3.0))
        self.agent.send(signal.SIGCONT)

    async def drop_connections(self) -> None:
        assert self.session is not None
        for _ in range(3):
            asking = asyncio.ensure_future(self.session.infer("digits", {"input": self.made.sample}))
            await asyncio.sleep(self.random.uniform(0, 0.02))
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await self.session.close()

    async def jump_the_clock(self) -> None:
        assert self.session is not None
        offered = time.time() + self.random.choice([-1e9, -3600.0, 3600.0, 1e7])
        with contextlib.suppress(EdgeStudioError):
            await self.session._post(api.CLOCK, {"time": offered})

    async def go_back(self) -> None:
        assert self.session is not None
        try:
            await self.session.rollback("digits")
            self.seen.outcomes["rollback"] += 1
        except EdgeStudioError as error:
            self.seen.outcomes[f"rollback {error.code}"] += 1


FAULTS: list[Callable[[Board], Any]] = [
    Board.push_good, Board.push_bad, Board.push_twice_at_once, Board.push_and_kill, Board.push_and_hang_up,
    Board.kill, Board.stand_still, Board.drop_connections, Board.jump_the_clock, Board.go_back,
]  # fmt: skip


@contextlib.asynccontextmanager
async def _boards(folder: Path, count: int, seen: Seen, seed: int) -> AsyncIterator[list[Board]]:
    made = await asyncio.to_thread(Releases, folder)
    for number in range(count):
        (folder / str(number)).mkdir()
    yield [Board(folder / str(number), number, made, seen, seed) for number in range(count)]


async def soak(seconds: float, count: int, seed: int) -> Seen:
    """Let `count` boards live for `seconds`; what was seen, with `wrong` empty when all held."""
    seen = Seen()
    with tempfile.TemporaryDirectory() as name:
        async with _boards(Path(name), count, seen, seed) as boards:
            # The time begins when all serve: how long twenty agents take to start is the machine's affair.
            gate = asyncio.Semaphore(AT_ONCE)

            async def begin(board: Board) -> None:
                async with gate:
                    await board.begin()

            try:
                await asyncio.gather(*(begin(board) for board in boards))
                until = time.monotonic() + seconds
                ends = await asyncio.gather(*(board.live(until) for board in boards), return_exceptions=True)
            finally:
                await asyncio.gather(*(board.agent.end() for board in boards))
    for board, end in zip(boards, ends, strict=True):
        if isinstance(end, BaseException):
            seen.wrong.append(f"{board.name}: {type(end).__name__}: {end}")
    _judge_memory(seen)
    return seen


def _judge_memory(seen: Seen) -> None:
    """Each process that lived for a while: its second half is no larger than its first."""
    by_process: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
    for process, age_s, rss in seen.rss:
        by_process[process].append((age_s, rss))
    for process, points in by_process.items():
        if len(points) >= 6 and points[-1][0] > 60:
            half = len(points) // 2
            first, second = max(rss for _, rss in points[:half]), max(rss for _, rss in points[half:])
            if second > first * MEMORY_GROWTH:
                seen.wrong.append(f"{process}: grew from {first:.0f} to {second:.0f} MiB")


def report(seen: Seen) -> dict[str, Any]:
    """As one JSON object."""
    rss = sorted(rss for _, _, rss in seen.rss)
    return {
        "faults": dict(seen.faults), "outcomes": dict(seen.outcomes), "answered": seen.answered,
        "records": seen.records, "rss_mib": [round(rss[0]), round(rss[-1])] if rss else [], "wrong": seen.wrong,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--boards", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    seen = asyncio.run(soak(options.minutes * 60, options.boards, options.seed))
    sys.stdout.write(json.dumps(report(seen), indent=1) + "\n")
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
