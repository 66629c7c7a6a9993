"""Recipes: documents that say what is wrong with them, and the catalog behind them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgestudio.optimize import catalog, recipe
from edgestudio.wire.errors import RecipeError, RefusedError


def test_every_built_in_recipe_is_valid_and_survives_its_file(tmp_path: Path) -> None:
    assert {"fp16", "int8-dynamic", "int8-static"} <= set(recipe.builtin_names())
    for each in recipe.builtins():
        assert each.title
        assert each.description
        recipe.save(each, tmp_path / "copy.yaml")
        assert recipe.load(tmp_path / "copy.yaml") == each
        assert recipe.parse(each.as_dict()) == each


def test_only_static_quantisation_needs_data() -> None:
    assert recipe.load("int8-static").needs_data
    assert not recipe.load("fp16").needs_data


def test_settings_change_options() -> None:
    changed = recipe.override(
        recipe.load("int8-static"),
        ["int8-static.samples=50", "int8-static.exclude=[a, b]", "int8-static.method=entropy"],
    )
    options = changed.steps[0].options
    assert (options["samples"], options["exclude"], options["method"]) == (50, ["a", "b"], "entropy")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("int8-static.method=fancy", ("method", "'minmax', 'entropy' or 'percentile'", "fancy")),
        ("int8-static.methd=minmax", ("methd", "did you mean `method`")),
        ("int8-static.samples=0", ("samples", "greater than or equal to 1")),
        ("int8-static.samples=many", ("samples", "integer")),
        ("int8-dynamic.per_channel=true", ("no step `int8-dynamic`", "`int8-static`")),
        ("samples=3", ("not a setting",)),
        ("int8-static.samples", ("not a setting",)),
        ("int8-static.exclude=[a", ("value of `int8-static.exclude`",)),
    ],
)
def test_a_wrong_setting_names_the_field_and_what_it_may_be(setting: str, words: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.override(recipe.load("int8-static"), [setting])
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "not a recipe"),
        ({"name": "x"}, "`steps` is missing"),
        ({"name": "x", "steps": []}, "at least 1 item"),
        ({"name": "../x", "steps": [{"pass": "fp16"}]}, "`name`"),
        ({"name": "x", "steps": [{"pass": "fp61"}]}, "no pass `fp61`"),
        ({"name": "x", "steps": [{"pass": "fp16", "option": {}}]}, "option"),
        ({"name": "x", "speed": 3, "steps": [{"pass": "fp16"}]}, "no option `speed`"),
        ({"schema_version": 99, "name": "x", "steps": [{"pass": "fp16"}]}, "newer EdgeStudio"),
        ({"schema_version": "1", "name": "x", "steps": [{"pass": "fp16"}]}, "schema_version"),
    ],
)
def test_a_wrong_document_is_explained(document: Any, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.parse(document)
    assert words in caught.value.message


def test_a_misspelt_name_gets_a_guess(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.load("int8-statik")
    assert "int8-static" in caught.value.hint
    (tmp_path / "bad.yaml").write_text("steps: [", encoding="utf-8")
    with pytest.raises(RecipeError):
        recipe.load(tmp_path / "bad.yaml")


def test_every_option_has_a_description_and_a_working_default() -> None:
    for spec in catalog.specs():
        model = catalog.options_model(spec)
        for name, field in model.model_fields.items():
            assert field.description, f"{spec.id}.{name}"
        row = catalog.describe(spec)
        assert row["available"], row["reason"]
        assert all("description" in option for option in row["options"].values())


def test_the_catalog_and_its_forms_import_no_machine_learning_library() -> None:
    code = (
        "import sys\n"
        "from edgestudio.optimize import catalog, recipe\n"
        "recipe.builtins(); [catalog.describe(s) for s in catalog.specs()]\n"
        "heavy = {'onnx', 'onnxruntime', 'tensorflow', 'torch', 'coremltools', 'ai_edge_litert', 'ai_edge_quantizer'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_an_unavailable_pass_says_what_to_install() -> None:
    spec = catalog.PassSpec(
        "x", "X", "", "", {"onnx": "nowhere:run"}, {"onnx": (catalog.Need("no_such_library", "torch"),)}
    )
    assert catalog.reason_unavailable(spec) == "needs no_such_library: install the extra `torch`"
    with pytest.raises(RefusedError):
        catalog.runner(spec, "onnx")
    with pytest.raises(RefusedError, match="takes ONNX models, not TFLite"):
        catalog.runner(spec, "tflite")


def test_a_taken_id_is_refused() -> None:
    with pytest.raises(ValueError, match="fp16"):
        catalog.register(catalog.spec("fp16"))
