"""Checks whether a model will run on a board or runtime, operator by operator, with reasons and remedies.

What runtimes can do is data: `resources/targets/*.yaml`, each with its source. A target is a runtime ("litert"),
a board ("pi5": its runtimes are tried, the best answer counts) or both ("pi5/litert").
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgestudio.assets import resource
from edgestudio.model.analysis import Analysis
from edgestudio.model.graph import Model, Node, Tensor
from edgestudio.model.inspection import analysed
from edgestudio.model.target_memory import memory_finding
from edgestudio.wire.errors import InputError, UsageError
from edgestudio.wire.progress import Progress

Status = Literal["supported", "partial", "unsupported", "unknown"]
Verdict = Literal["runs", "runs with limits", "unknown", "does not run"]
_VERDICTS: dict[Status, Verdict] = {
    "supported": "runs", "partial": "runs with limits", "unknown": "unknown", "unsupported": "does not run",
}  # fmt: skip
_ORDER: list[Status] = ["supported", "partial", "unknown", "unsupported"]


class RuntimeTable(BaseModel):
    """What one runtime can do, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(description="Form of this document.")
    id: str = Field(description="The word for it on the command line.")
    title: str = Field(description="Its name and version.")
    description: str = Field(description="One sentence on what the table holds.")
    source: str = Field(description="Where the table is from.")
    formats: tuple[str, ...] = Field(description="Model formats that it runs.")
    opset: tuple[int, int] | None = Field(default=None, description="Oldest and newest opset.")
    operators: tuple[str, ...] = Field(description="Operators that it runs.")
    table_for: str | None = Field(
        default=None, description="The format that the operators are of; others pass."
    )
    unsupported: dict[str, tuple[str, str]] = Field(default={}, description="Operator to reason and remedy.")
    notes: dict[str, str] = Field(default={}, description="Operator to the condition under which it runs.")
    remedies: dict[str, str] = Field(default={}, description="Operator to what to do about it.")
    without_float16: tuple[str, ...] = Field(default=(), description="Operators that run FP16 as FP32.")
    otherwise: Status = Field(default="unsupported", description="What operators outside of the table are.")
    otherwise_reason: str = Field(default="There is no kernel for it.", description="Why.")
    default_remedy: str = Field(description="What to do about an operator outside of the table.")
    dtypes: dict[str, str] = Field(default={}, description="Element types it does not compute in, and why.")
    static_shapes: str = Field(default="", description="Why sizes must be fixed, empty when they need not.")
    full_int8: str = Field(default="", description="Why everything must be 8 bit, empty when it need not.")
    hybrid: str = Field(default="", description="Why integer weights with float activations do not run.")
    zero_points: str = Field(
        default="", description="Why zero points must be zero, empty when they need not."
    )
    memory: Literal["process", "arena"] = Field(default="process", description="What must fit into memory.")


def runtime_tables() -> dict[str, RuntimeTable]:
    """Every runtime that is known, by its word."""
    return {path.stem: _table(path) for path in sorted(resource("targets").glob("*.yaml"))}


def _table(path: Path) -> RuntimeTable:
    try:
        return RuntimeTable.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise InputError(
            f"The table {path.name} is damaged: {error}", hint="Install EdgeStudio again."
        ) from error


def check_job(params: Mapping[str, Any], out_dir: Path, progress: Progress) -> dict[str, Any]:
    """Check `params["path"]` against `params["target"]`; entry point of the job `check`.

    The first operator of each kind that does not run is written into `out_dir` as a model of its own (ONNX only).
    """
    path = Path(str(params["path"]))
    progress.phase("read", 0.1)
    analysis = analysed(path)
    progress.phase("check", 0.7)
    result = check(analysis, str(params["target"]))
    failing = {row["op"] for row in result["operators"] if row["status"] == "unsupported"}
    if failing and analysis.model.format == "onnx":
        from edgestudio.model.formats.onnx_extract import write_operators

        result["failing"] = [str(file) for file in write_operators(path, analysis.model, failing, out_dir)]
    return result


def check(analysis: Analysis, target: str) -> dict[str, Any]:
    """The verdict for a target: keys of `check` in docs/cli.md, with findings, memory and sources."""
    board, runtimes = _resolve(target)
    answers = [_check_runtime(analysis, runtime, board) for runtime in runtimes]
    verdicts = [*_VERDICTS.values()]
    best = min(answers, key=lambda answer: verdicts.index(answer["verdict"]))
    return {
        "target": target,
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
    findings: list[dict[str, Any]] = []
    if model.format in table.formats:
        rows = _operators(model, table)
        findings = _findings(model, table)
    else:
        findings.append(
            _finding(
                "unsupported",
                f"{table.title} runs {' and '.join(table.formats)} files, and this is {model.format}.",
                f"Convert it to {table.formats[0]} first.",
            )
        )
    memory, finding = memory_finding(analysis, table.memory, board)
    if finding is not None:
        findings.append(finding)
    worst = max((_ORDER.index(row["status"]) for row in [*rows, *findings]), default=0)
    return {
        "runtime": table.id,
        "title": table.title,
        "verdict": _VERDICTS[_ORDER[worst]],
        "operators": rows,
        "findings": findings,
        "memory": memory,
        "source": table.source,
    }


def _finding(status: Status, reason: str, remedy: str) -> dict[str, Any]:
    return {"status": status, "reason": reason, "remedy": remedy}


def _operators(model: Model, table: RuntimeTable) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    halves: set[str] = set()
    for graph in model.graphs:
        for node in graph.nodes:
            if node.domain and node.subgraphs:
                continue  # a function of the model's own: its body is checked
            name = _name(node)
            counts[name] = counts.get(name, 0) + 1
            if any(graph.tensors[tensor].dtype == "float16" for tensor in node.inputs if tensor >= 0):
                halves.add(name)
    known = set(table.operators)
    checked = table.table_for in (None, model.format)
    rows = [
        {"op": name, "count": count, **_judge(name, table, known, is_half=name in halves, is_checked=checked)}
        for name, count in counts.items()
    ]
    return sorted(rows, key=lambda row: (-_ORDER.index(row["status"]), -row["count"], row["op"]))


def _name(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain not in ("", "custom") else node.op


def _judge(
    name: str, table: RuntimeTable, known: set[str], *, is_half: bool, is_checked: bool
) -> dict[str, Any]:
    if name in table.unsupported:
        return _finding("unsupported", *table.unsupported[name])
    if not is_checked:
        return _finding("supported", "", "")
    if name not in known:
        remedy = table.remedies.get(name, table.default_remedy)
        return _finding(
            table.otherwise, table.otherwise_reason, remedy if table.otherwise != "supported" else ""
        )
    if is_half and name in table.without_float16:
        return _finding(
            "partial",
            "There is no kernel in half precision: it runs in FP32 with casts around it.",
            "Keep FP16 for storage, or use FP32 or INT8 here.",
        )
    if name in table.notes:
        return _finding("supported", table.notes[name], "")
    return _finding("supported", "", "")


def _findings(model: Model, table: RuntimeTable) -> list[dict[str, Any]]:
    found = []
    opset = model.opsets.get("")
    if table.opset is not None and opset is not None and model.format == "onnx":
        oldest, newest = table.opset
        if opset > newest:
            reason = f"Opset {opset} is newer than the newest known to be supported ({newest})."
            found.append(_finding("unknown", reason, f"Convert the model to opset {newest}."))
        elif opset < oldest:
            reason = f"Opset {opset} is older than the oldest supported ({oldest})."
            found.append(_finding("partial", reason, f"Convert the model to opset {max(oldest, 13)}."))
    tensors = [tensor for graph in model.graphs for tensor in graph.tensors]
    dtypes = sorted({tensor.dtype for tensor in tensors} & set(table.dtypes))
    found += [
        _finding("unsupported", f"Tensors are {name}. {table.dtypes[name]}", "Convert them.")
        for name in dtypes
    ]
    main = model.main
    shapes = [main.tensors[index].shape for index in main.inputs]
    is_open = any(shape is None or any(not isinstance(s, int) for s in shape[1:]) for shape in shapes)
    if table.static_shapes and is_open:
        found.append(
            _finding("unsupported", f"Input sizes are open. {table.static_shapes}", "Set every dimension.")
        )
    found += _quantization_findings(tensors, table)
    return found


def _quantization_findings(tensors: list[Tensor], table: RuntimeTable) -> list[dict[str, Any]]:
    found = []
    small = [
        t
        for t in tensors
        if t.kind == "constant" and t.quantization is not None and t.dtype in ("int8", "uint8")
    ]
    is_float = any(t.kind != "constant" and t.dtype == "float32" for t in tensors)
    integer_activations = any(t.kind != "constant" and t.quantization is not None for t in tensors)
    if table.full_int8 and not (integer_activations and (small or not is_float)):
        found.append(_finding("unsupported", table.full_int8, "Use the recipe INT8 static."))
    if table.hybrid and small and is_float and not integer_activations:
        found.append(_finding("unsupported", table.hybrid, "Use the recipe INT8 static."))
    if table.zero_points and any(
        any(t.quantization.zero_point) for t in tensors if t.quantization is not None and t.kind != "constant"
    ):
        found.append(_finding("unsupported", table.zero_points, "Quantise again with symmetric activations."))
    return found
