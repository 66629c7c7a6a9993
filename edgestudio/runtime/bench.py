"""Measures a model on this machine: loading, first answer, latency, stages, memory, and how it holds over time."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from edgestudio.runtime import environment
from edgestudio.runtime.backend import BACKENDS, Array, Session, SessionOptions, open_session
from edgestudio.runtime.made_up import MadeUp, made_up, settled
from edgestudio.runtime.pipeline.pipeline import Pipeline, Runner, load_pipeline
from edgestudio.runtime.pipeline.preprocess import AudioInput, ImageInput, image_layout, image_size
from edgestudio.runtime.pipeline.sources import open_source
from edgestudio.runtime.scan.scan import scan_model
from edgestudio.runtime.statistics import summary
from edgestudio.wire.errors import ModelError, RecipeError, UsageError
from edgestudio.wire.progress import Progress

MIN_RUNS, MAX_RUNS = 100, 5000
MAX_SECONDS = 60.0
WARM_UP_RUNS, WARM_UP_SECONDS = 10, 0.5
PROFILE_RUNS = 20
SOAK_WINDOW_S = 5.0
MAX_OPERATORS = 500
DATA_ITEMS = 16


@dataclass(frozen=True)
class BenchOptions:
    """What to measure. `seconds` is for the measured runs; slow models still get what 60 s allow."""

    threads: int = 1
    seconds: float = 3.0
    soak_minutes: float = 0.0
    profile: bool = False
    backend: str | None = None
    providers: tuple[str, ...] = ()
    optimization: str = "all"

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 3600:
            raise UsageError("a benchmark measures for more than 0 and at most 3600 seconds")
        if not 0 <= self.soak_minutes <= 60 * 24 * 7:
            raise UsageError("a soak lasts from 0 minutes to a week")


def bench_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Worker's entry: {path, profile, soak_minutes, threads, seconds, pipeline, data, backend, providers}."""
    options = BenchOptions(
        threads=int(params.get("threads") or 1),
        seconds=float(params.get("seconds") or 3.0),
        soak_minutes=float(params.get("soak_minutes") or 0.0),
        profile=bool(params.get("profile")),
        backend=params.get("backend") or None,
        providers=tuple(params.get("providers") or ()),
        optimization=str(params.get("optimization") or "all"),
    )
    pipeline = load_pipeline(params["pipeline"]) if params.get("pipeline") else None
    data = Path(params["data"]) if params.get("data") else None
    return bench(Path(params["path"]), options, progress, pipeline=pipeline, data=data, scratch=out_dir)


def bench(
    path: Path,
    options: BenchOptions,
    progress: Progress,
    *,
    pipeline: Pipeline | None = None,
    data: Path | None = None,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Keys of `bench` of the command line; raises ModelError or RecipeError when the model or data cannot be used."""
    progress.phase("scan", 0.0)
    report = scan_model(path)
    surroundings = environment.describe(options.threads)
    before_bytes = environment.rss_bytes()
    import_ms = _import_library(report.format, options.backend)
    progress.phase("load", 0.05)
    config = SessionOptions(options.threads, options.optimization, options.providers, scratch)
    session, load_ms = _loaded(path, options, config)
    try:
        invented = None if data else settled(session.inputs)
        if data is None and invented is None:
            # Searched in a session of its own: what is measured has run nothing before its first run.
            invented = made_up(session)
            session.close()
            session, load_ms = _loaded(path, options, config)
        runner = Runner(session, pipeline or Pipeline.default_for(session.inputs, session.outputs))
        items = _invented(runner, invented) if invented else _given(runner, data)
        feeds = runner.prepare(items[0])
        first_ms = _first(session, feeds, is_random=data is None)
        loaded_bytes = environment.rss_bytes()
        _warm_up(session, feeds, progress)
        latencies = _measured(session, feeds, options.seconds, progress)
        result = {
            "model": path.name,
            "backend": session.backend,
            "import_ms": import_ms,
            "load_ms": load_ms,
            "first_ms": first_ms,
            "latency_ms": summary(latencies),
            "throughput_hz": len(latencies) / (sum(latencies) / 1000),
            "stages": _stages(runner, items, options.seconds / 2, progress),
            "model_rss_bytes": max(0, loaded_bytes - before_bytes),
            "placement": _placement(session, with_nodes=options.profile),
            "input": "data" if data else "random",
        }
        if options.profile:
            progress.phase("profile", 0.85)
            result["operators"] = session.profile(feeds, PROFILE_RUNS)[:MAX_OPERATORS]
        if options.soak_minutes:
            result["soak"] = _soak(session, feeds, options.soak_minutes * 60, progress)
    finally:
        session.close()
    surroundings["after"] = environment.moment()
    return {**result, "peak_rss_bytes": environment.peak_rss_bytes(), "environment": surroundings}


def _import_library(format_name: str, backend: str | None) -> float:
    """Milliseconds to import the library, so that loading the model is measured without it; 0 when it is there."""
    started = perf_counter()
    for spec in BACKENDS:
        if format_name in spec.formats and backend in (None, spec.name):
            try:
                importlib.import_module(spec.needs)
            except ImportError:
                continue  # open_session says what is missing
            break
    return (perf_counter() - started) * 1000


def _loaded(path: Path, options: BenchOptions, config: SessionOptions) -> tuple[Session, float]:
    """The model, and how long loading it took (ms)."""
    started = perf_counter()
    session = open_session(path, backend=options.backend, options=config, is_scanned=True)
    return session, (perf_counter() - started) * 1000


def _given(runner: Runner, data: Path | None) -> list[Any]:
    if data is None:
        return []
    source = open_source(
        data,
        labels=runner.pipeline.labels,
        raw=runner.pipeline.raw_layout(runner.session.inputs),
        inputs=runner.pipeline.fed(runner.session.inputs),
        limit=DATA_ITEMS,
    )
    return [item.item for item in source]


def _invented(runner: Runner, invented: MadeUp) -> list[Any]:
    try:
        return [_random_item(runner, invented, seed) for seed in range(4)]
    except RecipeError:
        raise
    except ValueError as error:
        raise RecipeError(
            f"no input can be made up for this pipeline: {error}", hint="Give --data."
        ) from error


def _random_item(runner: Runner, invented: MadeUp, seed: int) -> Any:
    """Raw input as the pipeline takes it: pixels for images, noise for sounds, else the model's own tensors."""
    rng = np.random.default_rng(seed)
    specs = {spec.name: spec for spec in runner.session.inputs}
    item: dict[str, Any] = dict(invented.feeds(seed))
    for document in runner.pipeline.preprocess:
        name = document.input or next(iter(specs))
        if isinstance(document, ImageInput):
            width, height = image_size(document, specs[name], image_layout(document, specs[name]))
            channels = 1 if document.colour == "grey" else 3
            shape = (height or 224, width or 224, channels)
            item[name] = rng.integers(0, 256, shape, dtype=np.uint8)
        elif isinstance(document, AudioInput):
            seconds = document.samples or document.sample_rate_hz
            item[name] = rng.uniform(-0.5, 0.5, seconds).astype(np.float32)
    return item


def _first(session: Session, feeds: Mapping[str, Array], *, is_random: bool) -> float:
    try:
        return _timed(session, feeds)
    except ModelError as error:
        if not is_random:
            raise
        raise ModelError(
            f"the model does not run on made-up input: {error.message}",
            hint="Give real input with --data, and a pipeline for open sizes.",
            code=error.code,
            details=error.details,
        ) from error


def _timed(session: Session, feeds: Mapping[str, Array]) -> float:
    started = perf_counter()
    session.run(feeds)
    return (perf_counter() - started) * 1000


def _warm_up(session: Session, feeds: Mapping[str, Array], progress: Progress) -> None:
    progress.phase("warm-up", 0.15)
    started, runs = perf_counter(), 0
    while runs < WARM_UP_RUNS or perf_counter() - started < WARM_UP_SECONDS:
        session.run(feeds)
        runs += 1
        if perf_counter() - started > MAX_SECONDS / 4:
            return


def _measured(
    session: Session, feeds: Mapping[str, Array], seconds: float, progress: Progress
) -> list[float]:
    """Latencies in ms: for `seconds` and at least 100 runs, at most 5000 runs, at most 60 s (or `seconds`)."""
    latencies: list[float] = []
    started = reported = perf_counter()
    while True:
        latencies.append(_timed(session, feeds))
        now = perf_counter()
        passed = now - started
        if passed >= max(seconds, MAX_SECONDS) or len(latencies) >= MAX_RUNS:
            return latencies
        if passed >= seconds and len(latencies) >= MIN_RUNS:
            return latencies
        if now - reported > 0.25:
            progress.phase("measure", 0.2 + 0.45 * min(1.0, max(passed / seconds, 0.01)))
            reported = now


def _stages(runner: Runner, items: list[Any], seconds: float, progress: Progress) -> dict[str, Any]:
    """Each stage of the whole pipeline, and their total, as percentiles in ms."""
    progress.phase("stages", 0.7)
    times: dict[str, list[float]] = {"pre": [], "infer": [], "post": [], "total": []}
    started = perf_counter()
    while len(times["total"]) < MIN_RUNS // 2 or perf_counter() - started < min(seconds, 1.0):
        result = runner.process(items[len(times["total"]) % len(items)])
        for stage in ("pre", "infer", "post"):
            times[stage].append(result.stages_ms[stage])
        times["total"].append(sum(result.stages_ms.values()))
        if len(times["total"]) >= MAX_RUNS or perf_counter() - started > MAX_SECONDS / 4:
            break
    return {stage: summary(values) for stage, values in times.items()}


def _placement(session: Session, *, with_nodes: bool) -> dict[str, Any]:
    placement = dict(session.placement())
    if not with_nodes:
        placement.pop("nodes", None)
    return placement


def _soak(session: Session, feeds: Mapping[str, Array], seconds: float, progress: Progress) -> dict[str, Any]:
    """Latency, temperature, clock and memory over time; `drift` is the last tenth's median over the first's."""
    series: list[dict[str, Any]] = []
    started = perf_counter()
    window = min(SOAK_WINDOW_S, seconds / 4)
    while (begun := perf_counter()) - started < seconds:
        latencies = _window(session, feeds, min(begun + window, started + seconds))
        numbers = summary(latencies)
        series.append(
            {
                "t_s": perf_counter() - started,
                **{key: numbers[key] for key in ("n", "p50", "p90", "p99", "max")},
                "rss_bytes": environment.rss_bytes(),
                **environment.moment(),
            }
        )
        progress.partial("soak", series[-1])
        progress.phase("soak", min(1.0, (perf_counter() - started) / seconds))
    tenth = max(1, len(series) // 10)
    return {"series": series, "drift": _ratio(series, tenth, "p50"), "rss_growth_bytes": _growth(series)}


def _window(session: Session, feeds: Mapping[str, Array], until: float) -> list[float]:
    latencies: list[float] = []
    clock: Callable[[], float] = perf_counter
    while not latencies or clock() < until:
        latencies.append(_timed(session, feeds))
    return latencies


def _ratio(series: list[dict[str, Any]], tenth: int, key: str) -> float | None:
    first = float(np.median([entry[key] for entry in series[:tenth]]))
    last = float(np.median([entry[key] for entry in series[-tenth:]]))
    return last / first if first > 0 else None


def _growth(series: list[dict[str, Any]]) -> int:
    return int(series[-1]["rss_bytes"] - series[0]["rss_bytes"])
