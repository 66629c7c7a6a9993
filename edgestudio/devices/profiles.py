"""What kinds of boards there are: facts with their sources, from `resources/boards`, one YAML file each."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgestudio.assets import resource
from edgestudio.wire.errors import InputError

SCHEMA_VERSION = 1


class Fact(BaseModel):
    """Something that is known of a board, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(description="One statement, with its units.")
    source: str = Field(description="Address of the page or document that says it.")


class BoardProfile(BaseModel):
    """A kind of board: what fits on it, what runs on it, and what can be simulated of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(description="Form of this document.")
    id: str = Field(description="The word for it on the command line.", pattern=r"[a-z0-9-]{2,40}")
    title: str = Field(description="Its name.")
    description: str = Field(description="One sentence on what it is for.")
    arch: str = Field(description="Processor architecture as `platform.machine()` says it.")
    cpu: str = Field(description="Cores and clock.")
    memory_bytes: tuple[int, ...] = Field(description="Memory sizes that it is sold with, in bytes.")
    accelerator: str = Field(default="", description="What else can run a model, empty for none.")
    int8_activations: Literal["signed", "unsigned"] = Field(
        description="Which 8-bit activations its kernels like."
    )
    fp16_is_fast: bool = Field(description="True where half precision runs natively, and not as float32.")
    runtimes: tuple[str, ...] = Field(description="Runtimes that can be installed on it, best first.")
    runs_agent: bool = Field(default=True, description="False for boards without an operating system.")
    simulated_as: str = Field(
        default="", description="Profile of the agent's simulated sensors, empty for none."
    )
    throttles_at_c: float | None = Field(default=None, description="Temperature at which it slows down, °C.")
    power_w: tuple[float, float] | None = Field(default=None, description="Idle and full power, W.")
    facts: tuple[Fact, ...] = Field(description="What this profile rests on.")


@cache
def profiles() -> tuple[BoardProfile, ...]:
    """All board profiles of this installation, by title; raises InputError when one is damaged."""
    return tuple(sorted(map(read_profile, resource("boards").glob("*.yaml")), key=lambda p: p.title))


def profile(profile_id: str) -> BoardProfile:
    """The profile called `profile_id`; raises InputError naming those that there are."""
    for candidate in profiles():
        if candidate.id == profile_id:
            return candidate
    known = ", ".join(sorted(p.id for p in profiles()))
    raise InputError(
        f"There is no board profile {profile_id!r}.", hint=f"Known are {known}.", code="unknown-profile"
    )


def read_profile(path: Path) -> BoardProfile:
    """A profile from a YAML file; raises InputError that says what is wrong and where."""
    try:
        return BoardProfile.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path.name}: {where}: {first['msg']}", code="bad-profile") from e
    except (OSError, ValueError, yaml.YAMLError) as e:
        raise InputError(f"{path.name} cannot be read: {e}", code="bad-profile") from e
