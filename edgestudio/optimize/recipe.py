"""The recipe: a document that people edit, naming the passes that make a variant of a model, in order."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgestudio.assets import resource
from edgestudio.optimize import catalog
from edgestudio.optimize.explain import explain
from edgestudio.runtime.documents import parse_yaml, read_yaml
from edgestudio.wire.errors import RecipeError

SCHEMA_VERSION = 1
# From a schema version to the function that turns such a document into one of the next version.
MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


class Step(BaseModel):
    """One pass with its options."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)

    pass_id: str = Field(alias="pass", description="Which pass runs: its id in the catalog.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the pass; those left out keep their safe defaults."
    )


class Recipe(BaseModel):
    """The passes that make a variant of a model, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of this document's layout.")
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Short name for the command line and file names."
    )
    title: str = Field(default="", description="Name shown in the window.")
    description: str = Field(default="", description="What the recipe is good for, in a sentence or two.")
    steps: tuple[Step, ...] = Field(min_length=1, description="Passes, run from first to last.")

    def as_dict(self) -> dict[str, Any]:
        """The document as plain JSON types, as it crosses to a worker and is kept with the artifact."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def needs_data(self) -> bool:
        """True when a pass cannot run without calibration data."""
        return any(catalog.spec(step.pass_id).needs_data for step in self.steps)


def parse(document: object, *, origin: str = "the recipe") -> Recipe:
    """Check `document` down to every option of every pass; raises RecipeError naming the field."""
    if isinstance(document, Recipe):
        document = document.as_dict()
    if not isinstance(document, Mapping):
        raise RecipeError(
            f"{origin} is not a recipe: expected a mapping with `name` and `steps`.", hint=_HINT
        )
    try:
        recipe = Recipe.model_validate(_migrate(dict(document), origin))
    except ValidationError as error:
        raise RecipeError(f"{origin}: {explain(error, Recipe)}", hint=_HINT) from error
    steps = tuple(
        Step(pass_id=s.pass_id, options=_checked(s.pass_id, s.options).model_dump(mode="json"))
        for s in recipe.steps
    )
    return recipe.model_copy(update={"steps": steps})


def load(name_or_path: str | Path) -> Recipe:
    """Read a recipe from a YAML file, or a built-in one by its name."""
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and name_or_path in builtin_names():
        path = _folder() / f"{name_or_path}.yaml"
    elif not path.is_file():
        near = difflib.get_close_matches(str(name_or_path), builtin_names(), n=1)
        guess = f" Did you mean `{near[0]}`?" if near else ""
        raise RecipeError(
            f"There is no recipe `{name_or_path}`: it is neither a file nor one of {_listed(builtin_names())}.",
            hint=f"`edgestudio recipes` lists what is built in.{guess}",
        )
    return parse(read_yaml(path, "recipe"), origin=path.name)


def builtin_names() -> list[str]:
    """Names of the recipes that come with EdgeStudio, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def builtins() -> list[Recipe]:
    """The recipes that come with EdgeStudio."""
    return [load(name) for name in builtin_names()]


def for_pass(pass_id: str, **options: Any) -> Recipe:
    """A recipe of the single pass `pass_id`, for a form that starts from the catalog."""
    title = catalog.spec(pass_id).title
    return parse({"name": pass_id, "title": title, "steps": [{"pass": pass_id, "options": options}]})


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Apply `pass.option=value` settings; the value is read as YAML (`true`, `0.5`, `[a, b]`, text)."""
    document = recipe.as_dict()
    for setting in settings:
        target, equals, text = setting.partition("=")
        pass_id, dot, option = target.rpartition(".")
        if not (equals and dot and pass_id and option):
            raise RecipeError(
                f"`{setting}` is not a setting.",
                hint="Write `pass.option=value`, such as `int8-static.samples=200`.",
            )
        steps = [step for step in document["steps"] if step["pass"] == pass_id]
        if not steps:
            present = _listed(step["pass"] for step in document["steps"])
            raise RecipeError(f"`{setting}`: the recipe has no step `{pass_id}`; its steps are {present}.")
        value = parse_yaml(text, f"value of `{target}`")
        for step in steps:
            step["options"][option] = value
    return parse(document, origin="the recipe with its settings")


def save(recipe: Recipe, path: Path) -> None:
    """Write `recipe` as YAML that `load` reads back."""
    text = yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True, width=100)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path} cannot be written: {_first_line(error)}") from error


def _checked(pass_id: str, options: Mapping[str, Any]) -> BaseModel:
    model = catalog.options_model(catalog.spec(pass_id))
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        raise RecipeError(
            f"step `{pass_id}`: {explain(error, model)}",
            hint=f"Options of `{pass_id}`: {_listed(model.model_fields)}." if model.model_fields else "",
        ) from error


def _migrate(document: dict[str, Any], origin: str) -> dict[str, Any]:
    version = document.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RecipeError(
            f"{origin}: `schema_version` must be a number from 1 to {SCHEMA_VERSION}.", hint=_HINT
        )
    if version > SCHEMA_VERSION:
        raise RecipeError(
            f"{origin} was written by a newer EdgeStudio (schema {version}; this one reads up to {SCHEMA_VERSION}).",
            hint="Update EdgeStudio, or save the recipe again from the older version.",
        )
    while version < SCHEMA_VERSION:
        document = MIGRATIONS[version](document)
        version += 1
    document["schema_version"] = SCHEMA_VERSION
    return document


def _folder() -> Path:
    return resource("recipes")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_HINT = (
    "A recipe has `name` and `steps`, each with `pass` and `options`; `edgestudio recipes` shows examples."
)
