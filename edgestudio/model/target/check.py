"""Checks whether a model will run on a board or runtime, operator by operator, with reasons and remedies.

What runtimes can do is data: `resources/targets/*.yaml`, each with its source. A target is a runtime ("litert"),
a board ("pi5": its runtimes are tried, the best answer counts) or both ("pi5/litert").
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from edgestudio.assets import resource
from edgestudio.model.inspection import analysed
from edgestudio.model.target.failing import write_failing
from edgestudio.model.target.memory import memory_finding
from edgestudio.model.target.rows import ORDER, finding, findings, operators
from edgestudio.model.target.table import RuntimeTable, Status, runtime_tables
from edgestudio.model.totals.analysis import Analysis
from edgestudio.runtime.format_names import format_title, format_titles
from edgestudio.wire.errors import UsageError
from edgestudio.wire.progress import Progress

Verdict = Literal["runs", "runs with limits", "unknown", "does not run"]
_VERDICTS: dict[Status, Verdict] = {
    "supported": "runs", "partial": "runs with limits", "unknown": "unknown", "unsupported": "does not run",
}  # fmt: skip


def check_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Check `params["path"]` against `params["target"]`; entry point of the job `check`.

    For each reason for which it does not run, the smallest part that fails is written into `out_dir` (`failing`).
    """
    path = Path(str(params["path"]))
    progress.phase("read", 0.1)
    analysis = analysed(path)
    progress.phase("check", 0.7)
    result = check(analysis, str(params["target"]))
    same = f"{result['board']}/{result['runtime']}" if result["board"] else str(result["runtime"])
    progress.phase("cut out what fails", 0.8)

    def judge(part: Path) -> dict[str, Any]:
        return check(analysed(part), same)

    result["failing"] = [str(file) for file in write_failing(path, analysis, result, judge, out_dir)]
    return result


def check(analysis: Analysis, target: str) -> dict[str, Any]:
    """The verdict for a target: keys of `check` in docs/cli.md, with findings, memory and sources."""
    board, runtimes = _resolve(target)
    answers = [_check_runtime(analysis, runtime, board) for runtime in runtimes]
    verdicts = [*_VERDICTS.values()]
    best = min(answers, key=lambda answer: verdicts.index(answer["verdict"]))
    return {
        "target": target,
        "board": None if board is None else str(board["id"]),
        **best,
        "runtimes": {answer["runtime"]: answer["verdict"] for answer in answers},
    }


def _resolve(target: str) -> tuple[dict[str, Any] | None, list[RuntimeTable]]:
    tables = runtime_tables()
    word, _, wanted = target.partition("/")
    if word in tables and not wanted:
        return None, [tables[word]]
    boards = {path.stem: path for path in resource("boards").glob("*.yaml")}
    if word not in boards or (wanted and wanted not in tables):
        known = ", ".join(sorted({*tables, *boards}))
        raise UsageError(
            f"{target} is neither a runtime nor a board that is known.", hint=f"Known are: {known}."
        )
    board = yaml.safe_load(boards[word].read_text(encoding="utf-8"))
    names = [wanted] if wanted else [name for name in board.get("runtimes", ()) if name in tables]
    return board, [tables[name] for name in names]


def _check_runtime(analysis: Analysis, table: RuntimeTable, board: dict[str, Any] | None) -> dict[str, Any]:
    model = analysis.model
    rows: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    if model.format in table.formats:
        rows = operators(model, table)
        found = findings(model, table)
    else:
        found.append(
            finding(
                "unsupported",
                f"{table.title} runs {format_titles(table.formats, 'and')} files, "
                f"and this is {format_title(model.format)}.",
                f"Convert it to {format_title(table.formats[0])} first.",
            )
        )
    memory, too_large = memory_finding(analysis, table.memory, board)
    if too_large is not None:
        found.append(too_large)
    worst = max((ORDER.index(row["status"]) for row in [*rows, *found]), default=0)
    return {
        "runtime": table.id,
        "title": table.title,
        "verdict": _VERDICTS[ORDER[worst]],
        "operators": rows,
        "findings": found,
        "memory": memory,
        "source": f"{table.source} (read {table.read})",
    }
