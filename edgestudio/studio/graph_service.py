"""What the graph view asks for on demand: weights in numbers, measurements per operator, other dimensions, notes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from os import getpid
from pathlib import Path
from typing import Any

from edgestudio.model.marks import Marks
from edgestudio.model.node_values import NodeValues, Value
from edgestudio.studio.jobs.jobs import JobService
from edgestudio.studio.library.files import path_or_none, text_or_none
from edgestudio.studio.library.models import ModelService
from edgestudio.wire.errors import InputError

_MARKS = "marks.json"


class GraphService:
    """Every measurement is a job with a row of its own; cancelling the coroutine cancels the job."""

    def __init__(self, jobs: JobService, models: ModelService) -> None:
        self._jobs, self._models = jobs, models

    async def statistics(self, model: str, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Range, spread, zeros and histogram of the weights with these names, or of all: `tensors, sparsity`."""
        row = self._models.get(model)
        return await self._jobs.run(
            "statistics",
            {"path": row.path, "names": None if names is None else list(names)},
            title=f"Weights: {row.name}",
            subject=row.sha256,
        )

    async def latencies(self, model: str) -> NodeValues:
        """Milliseconds of each operator in one run on this machine, from the runtime's own profiler."""
        row = self._models.get(model)
        result = await self._jobs.run(
            "bench",
            {"path": row.path, "profile": True, "seconds": 1.0},
            title=f"Latency per operator: {row.name}",
            subject=row.sha256,
        )
        rows = result.get("operators") or []
        if not rows:
            raise InputError(
                f"The runtime of this model ({result.get('backend')}) does not time single operators.",
                hint="Convert it to ONNX, whose runtime does.",
                code="no-profile",
            )
        values: dict[str, Value] = {}
        for each in rows:
            name = str(each.get("name") or "")
            values[name] = float(values.get(name, 0.0)) + float(each.get("mean_ms") or 0.0)
        return NodeValues("Latency", "ms", values)

    async def placement(self, model: str) -> NodeValues:
        """The unit that each operator runs on, as the runtime of this machine places them."""
        row = self._models.get(model)
        result = await self._jobs.run(
            "bench",
            {"path": row.path, "profile": True, "seconds": 0.1},
            title=f"Placement: {row.name}",
            subject=row.sha256,
        )
        nodes = (result.get("placement") or {}).get("nodes") or {}
        if not nodes:
            raise InputError(
                f"The runtime of this model ({result.get('backend')}) does not say where operators run.",
                hint="ONNX Runtime and LiteRT do.",
                code="no-placement",
            )
        return NodeValues("Placement", "", {str(name): _unit(str(unit)) for name, unit in nodes.items()})

    async def sensitivity(self, model: str) -> NodeValues:
        """The answers' largest error when one layer at a time is quantised to 8 bits; needs the model's data."""
        row = self._models.get(model)
        data = path_or_none(row.calibration_path) or path_or_none(row.data_path)
        if data is None:
            raise InputError(
                "The quantisation error of layers needs data of the kind that the model will see.",
                hint="Set the model's data in the Recipe panel.",
                code="needs-data",
            )
        result = await self._jobs.run(
            "sensitivity",
            {"path": row.path, "data": str(data), "pipeline": text_or_none(path_or_none(row.pipeline_path))},
            title=f"Quantisation error per layer: {row.name}",
            subject=row.sha256,
        )
        values: dict[str, Value] = {str(layer["node"]): float(layer["max_abs"]) for layer in result["layers"]}
        return NodeValues("Quantisation error", "", values)

    async def with_dimensions(self, model: str, dimensions: Mapping[str, int]) -> dict[str, Any]:
        """The summary and the saved graph with these sizes in the place of symbolic dimensions: `summary, graph`.

        The library's own graph stays as it is; the file returned lives as long as the studio.
        """
        row = self._models.get(model)
        kept = self._jobs.folder / f"{getpid()}-sizes-{row.sha256[:16]}"

        def receive(result: dict[str, Any], out_dir: Path) -> dict[str, Any]:
            kept.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(result["graph"]), kept / "graph.json")
            return {"summary": result["summary"], "graph": str(kept / "graph.json")}

        sizes = ", ".join(f"{name} = {size}" for name, size in dimensions.items())
        return await self._jobs.run(
            "inspect",
            {"path": row.path, "dimensions": dict(dimensions), "sha256": row.sha256},
            title=f"{row.name} with {sizes}",
            subject=row.sha256,
            receive=receive,
        )

    async def marks(self, model: str) -> Marks:
        """The bookmarks and notes that are kept beside a model."""
        path = await self._marks_path(model)
        return await asyncio.to_thread(Marks.load, path) if path else Marks()

    async def keep_marks(self, model: str, marks: Marks) -> None:
        """Keep them; raises InputError when the disk does not take them."""
        path = await self._marks_path(model)
        if path is not None:
            await asyncio.to_thread(marks.save, path)

    async def _marks_path(self, model: str) -> Path | None:
        entry = await asyncio.to_thread(self._models.library.get, model)
        return None if entry is None else entry.folder / _MARKS


def _unit(name: str) -> str:
    """A unit as people call it: `CPUExecutionProvider` is the CPU."""
    return name.removesuffix("ExecutionProvider") or name
