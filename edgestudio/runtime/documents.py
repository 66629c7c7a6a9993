"""Reads documents that people edit (YAML, checked by pydantic) and says which field is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from edgestudio.wire.errors import RecipeError

MAX_DOCUMENT_BYTES = 1 << 20
MAX_VALUES = 200_000
MAX_DEPTH = 32
# The one in C where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DocumentT = TypeVar("DocumentT", bound=pydantic.BaseModel)


class Document(pydantic.BaseModel):
    """A part of an edited document: unknown keys are mistakes, values do not change."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=False)


def read_yaml(path: Path, what: str) -> Any:
    """The plain data in a YAML file of at most 1 MiB; RecipeError when missing, large or malformed."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_DOCUMENT_BYTES + 1)
    except FileNotFoundError:
        raise RecipeError(f"there is no {what} at {path}", hint="Check the path.", code="no-file") from None
    except OSError as error:
        raise RecipeError(f"the {what} {path} cannot be read: {error.strerror}", code="unreadable") from error
    return parse_yaml(raw, what)


def parse_yaml(raw: bytes | str, what: str) -> Any:
    """The plain data in YAML text; RecipeError when large, malformed, or a bomb of aliases."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise RecipeError(f"the {what} is larger than 1 MiB", code="too-large")
    try:
        _refuse_bombs(raw, what)
        return yaml.load(raw, Loader=_LOADER)  # noqa: S506 - either loader is a safe one
    except RecursionError:
        raise RecipeError(f"the {what} is nested too deeply", code="bad-yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not valid text"
        raise RecipeError(
            f"the {what} is not valid YAML{where}: {problem}",
            hint="Check indentation and quotes.",
            code="bad-yaml",
        ) from error


def _refuse_bombs(raw: bytes | str, what: str) -> None:
    """Aliases make a small file expand without end, and deep nesting slows the reader: no document needs them."""
    depth = 0
    for bracket in re.findall("[][{}]", raw if isinstance(raw, str) else raw.decode("latin-1")):
        # Counted before the reader sees them: it takes seconds for some thousand open brackets.
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        if depth > 2 * MAX_DEPTH:
            raise RecipeError(f"the {what} is nested too deeply", code="bad-yaml")
    depth = 0
    for count, event in enumerate(yaml.parse(raw, Loader=_LOADER)):
        if isinstance(event, yaml.AliasEvent):
            raise RecipeError(f"the {what} uses a YAML alias (*{event.anchor})", hint="Write the value out.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise RecipeError(f"the {what} is nested too deeply or holds too many values", code="bad-yaml")


def validated(model: type[DocumentT], data: Any, what: str) -> DocumentT:
    """`data` as a `model`; RecipeError naming the first wrong field and what it must be."""
    if not isinstance(data, dict):
        raise RecipeError(f"the {what} must be a mapping of fields, not {type(data).__name__}")
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        problems = [_problem(entry) for entry in error.errors(include_url=False)]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RecipeError(
            f"the {what} has a mistake in {problems[0]}{more}",
            hint="Correct the field; unknown fields are refused so that a typing error cannot go unnoticed.",
            details="\n".join(problems),
        ) from error


def _problem(entry: Any) -> str:
    where = ".".join(str(part) for part in entry["loc"]) or "the document"
    if entry["type"] == "extra_forbidden":
        return f"'{where}': there is no such field"
    return f"'{where}': {entry['msg'][:1].lower()}{entry['msg'][1:]}"
