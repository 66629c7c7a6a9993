from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from PySide6.QtWidgets import QLabel, QPushButton, QSpinBox

from edgestudio.optimize.recipe import load, override, parse
from edgestudio.studio.rows import JobRow
from edgestudio.ui.panels.recipe import RecipePanel
from tests.ui.parts import SOURCE, Bench, model, variant


@pytest.fixture
def panel(qtbot, bench: Bench) -> RecipePanel:
    made = RecipePanel(bench.desk)
    qtbot.addWidget(made)
    made.resize(380, 700)
    made.show()
    return made


def choose(panel: RecipePanel, name: str) -> None:
    panel.recipes.setCurrentIndex(panel.recipes.findData(name))


def state(panel: RecipePanel) -> str:
    return panel.findChild(QLabel, "recipe-state").text()


def test_without_a_model_there_is_nothing_to_run(panel: RecipePanel) -> None:
    assert not panel.run_button.isEnabled()
    assert state(panel) == "Select a model in the Library first."


def test_static_quantisation_asks_for_data(panel: RecipePanel, bench: Bench, tmp_path: Path) -> None:
    bench.put(model())
    bench.desk.selected.select_model(SOURCE)
    choose(panel, "int8-static")
    assert not panel.run_button.isEnabled()
    assert "choose a few hundred typical inputs" in state(panel)
    panel.data.set_path(tmp_path / "absent.npz")
    assert "is not there" in state(panel)
    panel.data.set_path(tmp_path)
    assert panel.run_button.isEnabled()


def test_running_hands_over_the_document(panel: RecipePanel, bench: Bench, tmp_path: Path) -> None:
    bench.put(model(data_path=str(tmp_path)))
    bench.desk.selected.select_model(SOURCE)
    choose(panel, "int8-static")
    panel.findChild(QSpinBox, "recipe-int8-static-samples").setValue(50)
    panel.findChild(QPushButton, "recipe-run").click()
    ((name, arguments),) = bench.runs
    assert name == "optimize.run"
    assert (arguments["model"], arguments["data"], arguments["pipeline"]) == (SOURCE, tmp_path, None)
    assert parse(arguments["recipe"]).steps[0].options["samples"] == 50


def test_accuracy_is_measured_on_other_data_than_the_ranges(
    panel: RecipePanel, bench: Bench, tmp_path: Path
) -> None:
    labelled, typical = tmp_path / "labelled.npz", tmp_path / "typical.npz"
    for path in (labelled, typical):
        path.touch()
    bench.put(model(data_path=str(labelled), calibration_path=str(typical)))
    bench.desk.selected.select_model(SOURCE)
    choose(panel, "int8-static")
    assert (panel.data.path(), panel.calibration.path()) == (labelled, typical)
    assert panel.calibration.isVisible()
    words = shlex.split(panel.command.text())
    assert words[words.index("--data") + 1] == str(labelled)
    assert words[words.index("--calibration") + 1] == str(typical)
    panel.run()
    _, arguments = bench.runs[-1]
    assert (arguments["data"], arguments["calibration"]) == (labelled, typical)
    bench.put(JobRow("j", "optimize", "INT8", "running"), JobRow("j", "optimize", "INT8", "done"))
    choose(panel, "fp16")
    assert not panel.calibration.isVisible()
    assert "--calibration" not in panel.command.text()
    panel.run()
    assert bench.runs[-1][1]["calibration"] is None


def test_a_variant_inherits_the_data_of_its_source(panel: RecipePanel, bench: Bench, tmp_path: Path) -> None:
    bench.put(model(data_path=str(tmp_path)), variant())
    bench.desk.selected.select_model(variant().sha256)
    assert panel.data.path() == tmp_path


def test_command_and_file_say_the_same(panel: RecipePanel, bench: Bench, tmp_path: Path) -> None:
    bench.put(model(data_path=str(tmp_path / "with space")))
    bench.desk.selected.select_model(SOURCE)
    choose(panel, "int8-static")
    panel.findChild(QSpinBox, "recipe-int8-static-samples").setValue(50)
    words = shlex.split(panel.command.text())
    assert words[:5] == ["edgestudio", "optimize", model().path, "--recipe", "int8-static"]
    assert words[words.index("--data") + 1] == str(tmp_path / "with space")
    settings = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    assert settings == ["int8-static.samples=50"]
    by_command = override(load("int8-static"), settings)
    assert by_command.steps == parse(yaml.safe_load(panel.yaml.text())).steps
    panel.command.copy_button.click()


def test_every_choice_builds_a_form_and_a_valid_recipe(panel: RecipePanel) -> None:
    assert panel.recipes.count() >= 6
    for at in range(panel.recipes.count()):
        panel.recipes.setCurrentIndex(at)
        parse(panel.document())


def test_progress_cancel_and_end_are_shown(panel: RecipePanel, bench: Bench, tmp_path: Path) -> None:
    bench.put(model(data_path=str(tmp_path)))
    bench.desk.selected.select_model(SOURCE)
    panel.run()
    bench.put(JobRow("j", "optimize", "INT8: digits", "running", "calibrate", 0.5, subject=SOURCE))
    assert state(panel) == "INT8: digits: calibrate"
    assert not panel.run_button.isEnabled()
    panel.cancel_button.click()
    assert bench.runs[-1] == ("job.cancel", {"job": "j"})
    bench.put(JobRow("j", "optimize", "INT8: digits", "cancelled"))
    assert state(panel) == "Cancelled; nothing was kept."
    assert panel.run_button.isEnabled()
    bench.put(JobRow("k", "optimize", "INT8: digits", "running"))
    bench.put(
        JobRow("k", "optimize", "INT8: digits", "failed", message="The data has 3 channels.", hint="Use 1.")
    )
    assert state(panel) == "The data has 3 channels. Use 1."


def test_a_recipe_that_cannot_take_the_format_says_so(panel: RecipePanel, bench: Bench) -> None:
    row = model()
    bench.put(type(row)(row.sha256, "net", "/x.mlmodel", "coreml", 5, 1.0))
    bench.desk.selected.select_model(SOURCE)
    choose(panel, "fp16")
    assert not panel.run_button.isEnabled()
    assert "takes ONNX or TFLite models, not Core ML" in state(panel)
