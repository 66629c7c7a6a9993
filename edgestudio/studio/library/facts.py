"""What is known about how a model was made: said by people or a registry, measured by recipes, found in the file."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import InputError

# Words under which exporters keep the day of training in a file's own metadata.
_DATES = ("training_date", "trained", "date", "created", "creation_date", "export_date")
_DATASETS = ("dataset_version", "dataset", "data_version", "training_data")


class ModelFacts(BaseModel):
    """What people say about a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training_date: str | None = Field(default=None, description="Day of the training, as 2026-03-31.")
    dataset_version: str | None = Field(
        default=None, max_length=200, description="Which data it was trained on, with its version."
    )
    metrics: dict[str, float] = Field(
        default_factory=dict, description="What was measured of it, such as top1: 0.98."
    )
    tools: dict[str, str] = Field(
        default_factory=dict, description="What it was made with, such as torch: 2.9.0."
    )

    @field_validator("training_date")
    @classmethod
    def _is_a_day(cls, value: str | None) -> str | None:
        if not value:
            return None
        return datetime.date.fromisoformat(value[:10]).isoformat()


def checked_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are given, as JSON; raises InputError for what is none or cannot be read."""
    try:
        return ModelFacts.model_validate(dict(facts)).model_dump(exclude_defaults=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{name or 'The facts'} cannot be used: {first['msg']}",
            hint=f"Facts are {', '.join(ModelFacts.model_fields)}; a day is written 2026-03-31.",
            code="bad-facts",
        ) from error


def facts_of(row: ModelRow) -> dict[str, Any]:
    """All that is known, in the keys of `ModelFacts`: what was said wins over what was measured or found."""
    found = {str(key).lower(): str(value) for key, value in (row.summary.get("metadata") or {}).items()}
    said = row.facts
    return {
        "training_date": said.get("training_date") or _first(found, _DATES),
        "dataset_version": said.get("dataset_version") or _first(found, _DATASETS),
        "metrics": {**_measured(row.after), **dict(said.get("metrics") or {})},
        "tools": {**_tools(row), **dict(said.get("tools") or {})},
    }


def _measured(after: Mapping[str, Any] | None) -> dict[str, float]:
    side = after or {}
    accuracy, latency, error = (side.get(name) or {} for name in ("accuracy", "latency_ms", "error"))
    pairs = {
        "top1": accuracy.get("top1"),
        "top1_n": accuracy.get("n"),
        "latency_p50_ms": latency.get("p50"),
        "latency_p99_ms": latency.get("p99"),
        "sqnr_db": error.get("sqnr_db"),
    }
    return {name: float(value) for name, value in pairs.items() if isinstance(value, int | float)}


def _tools(row: ModelRow) -> dict[str, str]:
    tools = {str(k): str(v) for step in row.steps for k, v in (step.get("tools") or {}).items()}
    producer = row.summary.get("producer")
    return {**({"producer": str(producer)} if producer else {}), **tools}


def _first(found: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((found[name] for name in names if found.get(name)), None)
