"""Examinations of a model, run in workers and kept as rows: target check, difference, data, sensitivity."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from os import getpid
from pathlib import Path
from typing import Any

from edgestudio.studio.bus import EventBus, Ledger
from edgestudio.studio.jobs.jobs import JobService
from edgestudio.studio.library.files import keep_failing, path_or_none, text_or_none
from edgestudio.studio.library.models import ModelService
from edgestudio.studio.rows import ModelRow, ReportKind, ReportRow
from edgestudio.wire.errors import InputError

_KEPT = 50


class ReportService:
    """Every call returns its report; the newest fifty are rows of the store `reports`."""

    def __init__(self, bus: EventBus, jobs: JobService, models: ModelService) -> None:
        self.rows: Ledger[ReportRow] = Ledger(bus, "reports")
        self._jobs = jobs
        self._models = models

    async def check(self, model: str, target: str) -> ReportRow:
        """Whether the model with this hash runs on a board or runtime, a row for each operator or finding.

        The smallest parts that fail lie in files that live as long as the studio: `failing` of the result.
        """
        row = self._models.get(model)
        kept = self._jobs.folder / f"{getpid()}-failing-{row.sha256[:16]}-{target.replace('/', '-')}"
        await asyncio.to_thread(shutil.rmtree, kept, ignore_errors=True)
        result = await self._models.check(Path(row.path), target, failing=kept)
        found = [*(result.get("findings") or ()), *(result.get("operators") or ())]
        return self._put(
            "check", row, target, f"{row.name} on {target}", str(result.get("verdict")), result,
            ("op", "count", "status", "reason", "remedy"), found,
            [f"Source: {result['source']}"] if result.get("source") else (),
        )  # fmt: skip

    async def export_failing(self, report: str, to: Path) -> list[str]:
        """Keep the parts that a check found to fail: one as the file `to`, several in that folder.

        Raises InputError for a report without such parts, and before a file in that folder would be replaced.
        """
        row = self.rows.get(report)
        made = [Path(str(path)) for path in (row.result.get("failing") or () if row else ())]
        if not await asyncio.to_thread(lambda: made and all(each.is_file() for each in made)):
            raise InputError(
                "There is no part that fails to be kept.", hint="Check the model again.", code="no-part"
            )
        if len(made) == 1:
            return await asyncio.to_thread(keep_failing, made, to)
        there = await asyncio.to_thread(lambda: [each.name for each in made if (to / each.name).exists()])
        if there:
            raise InputError(
                f"{to} holds {there[0]} already; nothing was written.", hint="Choose another folder.",
                code="exists",
            )  # fmt: skip
        return await asyncio.to_thread(keep_failing, made, to)

    async def diff(self, before: str, after: str) -> ReportRow:
        """How two models of the library differ, a row for each operator that was added, removed or changed."""
        a, b = self._models.get(before), self._models.get(after)
        result = await self._models.diff(Path(a.path), Path(b.path))
        found = [
            {"change": kind, **(entry if isinstance(entry, Mapping) else {"name": entry})}
            for kind in ("added", "removed", "changed")
            for entry in result.get(kind) or ()
        ]
        verdict = "identical" if result.get("identical") else f"{len(found)} differences"
        return self._put(
            "diff", b, a.sha256, f"{a.name} and {b.name}", verdict, result, ("change", "op", "name"), found
        )  # fmt: skip

    async def doctor(
        self, model: str, *, data: Path | None = None, pipeline: Path | None = None
    ) -> ReportRow:
        """Whether data can carry a quantisation: amount, copies, balance, range; a row for each finding."""
        row, params = await self._with_data(model, data, pipeline)
        title = f"Data of {row.name}"
        result = await self._jobs.run(
            "doctor", params, title=f"Examine the data: {row.name}", subject=row.sha256,
            again=lambda: self.doctor(model, data=data, pipeline=pipeline),
        )  # fmt: skip
        found = list(result.get("findings") or ())
        warnings = sum(finding.get("severity") == "warning" for finding in found)
        verdict = f"{warnings} warnings" if warnings else "good to calibrate with"
        columns = ("name", "severity", "text", "remedy")
        return self._put(
            "doctor", row, str(params["data"]), title, verdict, result, columns, found,
            result.get("notes") or (),
        )  # fmt: skip

    async def sensitivity(
        self,
        model: str,
        *,
        data: Path | None = None,
        pipeline: Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> ReportRow:
        """Which layers a quantisation hurts, worst first; `result["exclude"]` is what to keep in float."""
        row, params = await self._with_data(model, data, pipeline)
        result = await self._jobs.run(
            "sensitivity", {**params, "options": dict(options or {})},
            title=f"Sensitivity: {row.name}", subject=row.sha256,
            again=lambda: self.sensitivity(model, data=data, pipeline=pipeline, options=options),
        )  # fmt: skip
        suspects = len(result.get("exclude") or ())
        verdict = f"{suspects} layers are better kept in float" if suspects else "no layer stands out"
        columns = ("node", "operator", "sqnr_db", "max_abs", "is_suspect")
        return self._put(
            "sensitivity", row, "int8-static", f"Sensitivity of {row.name}", verdict, result, columns,
            list(result.get("layers") or ()), result.get("notes") or (),
        )  # fmt: skip

    async def advise(self, model: str, steps: Sequence[Mapping[str, Any]], machine: str) -> list[str]:
        """What will not help on a machine (`aarch64`, `x86_64`), said before a recipe runs."""
        from edgestudio.optimize.advice import advise_recipe

        row = self._models.get(model)
        return await asyncio.to_thread(advise_recipe, steps, row.summary, machine)

    async def _with_data(
        self, model: str, data: Path | None, pipeline: Path | None
    ) -> tuple[ModelRow, dict[str, Any]]:
        row = self._models.get(model)
        data = data or path_or_none(row.calibration_path) or path_or_none(row.data_path)
        pipeline = pipeline or path_or_none(row.pipeline_path)
        if data is None:
            raise InputError(
                "There is no data to look at.", hint="Give data of the kind that the model will see.",
                code="needs-data",
            )  # fmt: skip
        for path in (data, pipeline):
            if path is not None:
                await self._models.require_file(path)
        return row, {"path": row.path, "data": str(data.absolute()), "pipeline": text_or_none(pipeline)}

    def _put(
        self,
        kind: ReportKind,
        subject: ModelRow,
        against: str,
        title: str,
        verdict: str,
        result: Mapping[str, Any],
        columns: tuple[str, ...],
        found: Sequence[Mapping[str, Any]],
        notes: Sequence[str] = (),
    ) -> ReportRow:
        cells = tuple(tuple(entry.get(column) for column in columns) for entry in found)
        report = ReportRow(
            f"{kind}:{subject.sha256}:{against}", kind, title, subject.sha256, verdict, columns, cells,
            tuple(notes), dict(result), time.time(),
        )  # fmt: skip
        self.rows.put(report)
        for stale in list(self.rows)[:-_KEPT]:
            self.rows.remove(stale.id)
        return report
