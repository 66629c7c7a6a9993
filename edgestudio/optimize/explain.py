"""Turns a pydantic validation error into one sentence that names the field and what it may hold."""

from __future__ import annotations

import difflib

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of `error` in words, with the nearest known name for a misspelt field."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "the document"
    kind, context, given = problem["type"], problem.get("ctx", {}), problem.get("input")
    if kind == "extra_forbidden":
        known = list(model.model_fields)
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        return f"there is no option `{where}`" + (f"; did you mean `{near[0]}`?" if near else ".")
    if kind == "missing":
        return f"`{where}` is missing."
    if kind in ("literal_error", "enum"):
        return f"`{where}` must be {context.get('expected')}, not {given!r}."
    message = str(problem["msg"])
    return f"`{where}`: {message[0].lower()}{message[1:]}, not {_short(given)}."


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
