"""What a board's owner allows and keeps there: commands, secrets, remote models, listening beyond loopback."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from edgestudio.runtime.documents import Document, read_yaml, validated
from edgestudio.runtime.pipeline.live import SecretName
from edgestudio.runtime.uplink import SecretFile, Uplink
from edgestudio.wire.errors import RecipeError

FILE_NAME = "board.yaml"


class AllowedCommand(Document):
    """A program that actions may start by its name. It gets the result as JSON on standard input."""

    argv: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(min_length=1, max_length=64)] = Field(
        description="The program by its full path, and its arguments; nothing of a result is put in here."
    )
    timeout_s: float = Field(10.0, gt=0, le=600, description="After this long it is ended.")

    @field_validator("argv")
    @classmethod
    def _is_full_path(cls, argv: list[str]) -> list[str]:
        if not argv[0].startswith("/"):
            raise ValueError("the program must be named by its full path")
        return argv


class RemotePolicy(Document):
    """Whether inputs may leave the board. Off unless the board's owner says otherwise."""

    is_allowed: bool = Field(False, description="Whether remote models may be asked.")
    hosts: Annotated[list[str], Field(max_length=64)] = Field(
        [], description="The only hosts that may be asked; left out: any."
    )


class BoardPolicy(Document):
    """The board's own configuration; no release can change it."""

    schema_version: Literal[1] = Field(1, description="Version of this document's form.")
    commands: dict[SecretName, AllowedCommand] = Field({}, description="Programs by name.")
    secrets: dict[SecretName, str | SecretFile] = Field({}, description="Tokens and passwords by name.")
    remote: RemotePolicy = Field(default_factory=RemotePolicy, description="The privacy switch.")
    uplink: Uplink | None = Field(
        None, description="A broker that what this board reports goes to; left out: none."
    )
    may_listen_on: Annotated[list[str], Field(max_length=16)] = Field(
        [], description="Addresses beside loopback that an HTTP source may listen on."
    )

    @property
    def has_secrets(self) -> bool:
        """Whether others must not read this."""
        return bool(self.secrets) or (self.uplink is not None and isinstance(self.uplink.password, str))

    def secret(self, name: str) -> str:
        """The secret `name`; RecipeError when the board has none of that name."""
        value = self.secrets.get(name)
        if value is None:
            raise RecipeError(
                f"the board has no secret '{name}'",
                hint=f"Add it to {FILE_NAME} on the board.",
                code="no-secret",
            )
        if isinstance(value, str):
            return value
        try:
            return value.read()
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"the board's secret '{name}' cannot be read", code="no-secret") from error


def load_board_policy(folder: Path) -> BoardPolicy:
    """The policy in `folder`/board.yaml; the strictest one when there is none.

    RecipeError when it is malformed, or when others than its owner could have written it or read its secrets.
    """
    path = folder / FILE_NAME
    try:
        found = path.lstat()
    except FileNotFoundError:
        return BoardPolicy()
    except OSError as error:
        raise RecipeError(f"{FILE_NAME} cannot be read: {error.strerror}", code="unreadable") from error
    if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.getuid()) or found.st_mode & 0o022:
        raise RecipeError(
            f"{FILE_NAME} could have been written by others; it is ignored",
            hint="Make it a plain file of the agent's user or root, with mode 0600.",
            code="unsafe-file",
        )
    policy = validated(BoardPolicy, read_yaml(path, "board's configuration") or {}, "board's configuration")
    if policy.has_secrets and found.st_mode & 0o004:
        raise RecipeError(
            f"everybody can read the secrets in {FILE_NAME}; it is ignored",
            hint="chmod 600 it.",
            code="unsafe-file",
        )
    return policy
