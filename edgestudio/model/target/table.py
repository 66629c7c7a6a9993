"""What runtimes can do, as data: `resources/targets/*.yaml`, each with its source and when that was read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edgestudio.assets import resource
from edgestudio.model.query import QueryError, parse
from edgestudio.wire.errors import InputError

Status = Literal["supported", "partial", "unsupported", "unknown"]


class Limit(BaseModel):
    """A condition under which a runtime does not run an operator that it knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: str = Field(description="A search as in the graph view; operators that it finds are concerned.")
    reason: str = Field(description="Why.")
    remedy: str = Field(description="What to do about it.")
    status: Status = Field(default="unsupported", description="What such operators are.")

    @field_validator("when")
    @classmethod
    def _is_a_search(cls, text: str) -> str:
        try:
            parse(text)
        except QueryError as error:
            raise ValueError(error.message) from error
        return text


class RuntimeTable(BaseModel):
    """What one runtime can do, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(description="Form of this document.")
    id: str = Field(description="The word for it on the command line.")
    title: str = Field(description="Its name and version.")
    description: str = Field(description="One sentence on what the table holds.")
    source: str = Field(description="Where the table is from.")
    read: str = Field(description="When the source was read, as YYYY-MM, or the version that it was read of.")
    formats: tuple[str, ...] = Field(description="Model formats that it runs.")
    opset: tuple[int, int] | None = Field(default=None, description="Oldest and newest opset.")
    operators: tuple[str, ...] = Field(description="Operators that it runs.")
    table_for: str | None = Field(
        default=None, description="The format that the operators are of; others pass."
    )
    unsupported: dict[str, tuple[str, str]] = Field(default={}, description="Operator to reason and remedy.")
    limits: tuple[Limit, ...] = Field(
        default=(), description="Conditions under which known operators do not run."
    )
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
