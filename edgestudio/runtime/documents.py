"""Reads documents that people edit (YAML, checked by pydantic) and says which field is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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


class Located(dict[Any, Any]):
    """A mapping that knows in which line of its text each value begins: `lines` by path."""

    lines: Mapping[tuple[Any, ...], int]

    def line_of(self, path: Sequence[Any]) -> int | None:
        """The line of the value at `path`, or of the nearest around it; parts that are no keys are passed over."""
        found: tuple[Any, ...] = ()
        for part in path:
            if (*found, part) in self.lines:
                found = (*found, part)
        return self.lines.get(found) if found else None


def parse_yaml(raw: bytes | str, what: str) -> Any:
    """The plain data in YAML text; RecipeError when large, malformed, a bomb of aliases, or with a key twice."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise RecipeError(f"the {what} is larger than 1 MiB", code="too-large")
    try:
        _refuse_bombs(raw, what)
        loader = _LOADER(raw)
        try:
            root = loader.get_single_node()
            lines = _lines(root, what)
            data = loader.construct_document(root) if root is not None else None
        finally:
            loader.dispose()
    except RecursionError:
        raise RecipeError(f"the {what} is nested too deeply", code="bad-yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not valid text"
        raise RecipeError(
            f"the {what} is not valid YAML{where}: {problem}",
            hint="Check indentation and quotes.",
            code="bad-yaml",
        ) from error
    if not isinstance(data, dict):
        return data
    located = Located(data)
    located.lines = lines
    return located


def _lines(root: yaml.Node | None, what: str) -> dict[tuple[Any, ...], int]:
    """Path to line of every value; RecipeError for a key that stands twice, of which one would be lost silently."""
    lines: dict[tuple[Any, ...], int] = {}
    waiting: list[tuple[tuple[Any, ...], Any]] = [] if root is None else [((), root)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                place = (*path, key.value if isinstance(key, yaml.ScalarNode) else None)
                line = key.start_mark.line + 1
                if place in lines:
                    raise RecipeError(
                        f"the {what} has '{str(place[-1])[:100]}' twice, in line {lines[place]} and in line {line}",
                        hint="Keep one of them.",
                        code="bad-yaml",
                    )
                lines[place] = line
                waiting.append((place, value))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                lines[(*path, number)] = value.start_mark.line + 1
                waiting.append(((*path, number), value))
    return lines


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
        problems = [_problem(entry, data) for entry in error.errors(include_url=False)]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RecipeError(
            f"the {what} has a mistake in {problems[0]}{more}",
            hint="Correct the field; unknown fields are refused so that a typing error cannot go unnoticed.",
            details="\n".join(problems),
        ) from error


def _problem(entry: Any, data: Any) -> str:
    where = ".".join(str(part) for part in entry["loc"]) or "the document"
    line = data.line_of(entry["loc"]) if isinstance(data, Located) else None
    place = f"'{where}'" if line is None else f"'{where}' (line {line})"
    if entry["type"] == "extra_forbidden":
        return f"{place}: there is no such field"
    return f"{place}: {entry['msg'][:1].lower()}{entry['msg'][1:]}"
