"""Small releases made on the spot from the sample model, as the desk would sign them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.agent.settings import AgentSettings
from edgestudio.agent.store.gc import FINISHED
from edgestudio.agent.supervisor import Supervisor
from edgestudio.assets import resource
from edgestudio.runtime.backend import open_session
from edgestudio.runtime.pipeline.pipeline import Runner, load_pipeline
from edgestudio.wire import api
from edgestudio.wire.baseline import baseline_of
from edgestudio.wire.golden import Golden
from edgestudio.wire.release import HealthLimits, ReleaseFile, ReleaseManifest, Requirements
from tests.digits import digits
from tests.patience import PATIENCE

MODEL = resource("sample", "digits.onnx")
PIPELINE = resource("sample", "digits.pipeline.yaml")
SHORT = HealthLimits(trial_s=1.0, trial_inferences=10)


@dataclass(frozen=True)
class LocalRelease:
    """A manifest with the files behind it."""

    manifest: ReleaseManifest
    paths: Mapping[str, Path]
    """Digest -> file."""

    def chunk(self, digest: str, index: int) -> bytes:
        with self.paths[digest].open("rb") as file:
            file.seek(index * api.CHUNK_BYTES)
            return file.read(api.CHUNK_BYTES)


def make_release(
    folder: Path,
    *,
    model: Path = MODEL,
    name: str = "digits",
    version: str = "1.0.0",
    counter: int = 1,
    limits: HealthLimits = SHORT,
    requires: Requirements | None = None,
    golden: Golden | None = None,
    pipeline: bool = True,
    with_golden: bool = True,
    extra: Mapping[str, Path] | None = None,
    created: float | None = None,
) -> LocalRelease:
    """A release of the sample model, or of `model`, with golden answers, samples and a baseline."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {"model": model, **(extra or {})}
    data = digits()[:24]
    if pipeline:
        files["pipeline"] = PIPELINE
        samples = folder / "samples.npz"
        np.savez(samples, x=data)
        files["samples"] = samples
    if golden is None and with_golden:
        golden, confidences = sample_golden(data)
        baseline = folder / "baseline.json"
        baseline.write_text(json.dumps(baseline_of(confidences).to_dict()))
        files["baseline"] = baseline
    if golden is not None:
        files["golden"] = folder / "golden.npz"
        golden.save(files["golden"])
    entries = {role: ReleaseFile.of(path, path.name.lower()) for role, path in files.items()}
    manifest = ReleaseManifest(
        model=name, version=version, counter=counter, files=entries,
        created=time.time() if created is None else created,
        requires=requires or Requirements(), limits=limits,
    )  # fmt: skip
    return LocalRelease(manifest, {entries[role].sha256: path for role, path in files.items()})


def sample_golden(data: np.ndarray[Any, Any], count: int = 4) -> tuple[Golden, list[float]]:
    """What the sample model answers, and its confidences."""
    session = open_session(MODEL)
    runner = Runner(session, load_pipeline(PIPELINE))
    feeds = [runner.prepare(item) for item in data]
    results = [runner.process(item) for item in data]
    session.close()
    inputs = {name: np.stack([feed[name] for feed in feeds[:count]]) for name in feeds[0]}
    outputs = {
        name: np.stack([result.outputs[name] for result in results[:count]]) for name in results[0].outputs
    }
    return Golden(inputs, outputs), [float(result.confidence or 0.0) for result in results]


def supervisor(folder: Path, **more: Any) -> Supervisor:
    """A supervisor with simulated sensors on `folder`."""
    settings = AgentSettings(data_dir=folder, name="board", host="127.0.0.1", port=0, simulate="pi5")
    return Supervisor(settings, **more)


async def offer(board: Supervisor, release: LocalRelease, key: str = "") -> dict[str, Any]:
    """Offer `release` as if its signature had been checked."""
    return await board.offer(release.manifest.target, release.manifest.to_dict(), key, "peer")


async def send(board: Supervisor, release: LocalRelease, need: Mapping[str, list[int]]) -> int:
    """Send what the board asked for; returns the bytes sent."""
    sent = 0
    for digest, indices in need.items():
        for index in indices:
            data = release.chunk(digest, index)
            await board.receive_chunk(digest, index, data)
            sent += len(data)
    return sent


async def push(board: Supervisor, release: LocalRelease, key: str = "") -> dict[str, Any]:
    """Offer, send, finish, and wait for the end."""
    offered = await offer(board, release, key)
    await send(board, release, offered["need"])
    await board.finish(offered["id"])
    return await ended(board, offered["id"])


async def ended(board: Supervisor, install_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
    """The install's view once it is finished."""
    until = time.monotonic() + timeout_s * PATIENCE
    while board.install(install_id)["state"] not in FINISHED:
        assert time.monotonic() < until, board.install(install_id)
        await asyncio.sleep(0.05)
    await board.machine.wait()
    return board.install(install_id)
