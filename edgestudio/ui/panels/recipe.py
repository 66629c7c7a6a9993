"""The Recipe: choose how to shrink the selected model, see the same as a command, run it, watch it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QProgressBar,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from edgestudio.optimize import catalog
from edgestudio.optimize.recipe import builtins
from edgestudio.studio.rows import JobRow, ModelRow, ReportRow
from edgestudio.ui.desk import Desk
from edgestudio.ui.panels.recipe_advice import RecipeAdvice
from edgestudio.ui.panels.recipe_form import RecipeForm
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.choice_box import ChoiceBox
from edgestudio.ui.widgets.code import CodeBlock
from edgestudio.ui.widgets.file_field import FileField
from edgestudio.ui.widgets.focus import follow
from edgestudio.ui.widgets.text import ElidedLabel, breakable, label, set_role

_FIRST_CHOICE = "int8-static"


def choices() -> list[dict[str, Any]]:
    """The built-in recipes, then every pass that has none as a recipe of its own."""
    documents = [recipe.as_dict() for recipe in builtins()]
    covered = {step["pass"] for document in documents for step in document["steps"]}
    documents += [
        {
            "schema_version": 1,
            "name": spec.id,
            "title": spec.title,
            "description": spec.description,
            "steps": [{"pass": spec.id, "options": {}}],
        }
        for spec in catalog.specs()
        if spec.id not in covered and not spec.problem
    ]
    return documents


def command_line(
    row: ModelRow | None, document: dict[str, Any], data: str, pipeline: str, calibration: str = ""
) -> str:
    """The same as a verb: a built-in recipe by name, each changed option as a setting."""
    parts = ["edgestudio", "optimize", row.path if row else "MODEL", "--recipe", document["name"]]
    for step in document["steps"]:
        for option, value in step["options"].items():
            text = (
                yaml.safe_dump(value, default_flow_style=True, width=10_000)
                .strip()
                .removesuffix("...")
                .strip()
            )
            parts += ["--set", f"{step['pass']}.{option}={text}"]
    if data:
        parts += ["--data", data]
    if calibration:
        parts += ["--calibration", calibration]
    if pipeline:
        parts += ["--pipeline", pipeline]
    return " ".join(shlex.quote(part) for part in (*parts, "--out", "out"))


class RecipePanel(QWidget):
    """Follows the selected model."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("recipe-panel")
        self._desk = desk
        self._choices = choices()
        self._shown_model: str | None = None
        self._job: str | None = None
        self._build()
        desk.selected.model_changed.connect(self._follow)
        desk.stores.models.changed.connect(self._model_changed)
        desk.stores.reports.added.connect(self._examined)
        desk.stores.reports.changed.connect(self._examined)
        desk.stores.jobs.added.connect(self._job_changed)
        desk.stores.jobs.changed.connect(self._job_changed)
        first = next((at for at, each in enumerate(self._choices) if each["name"] == _FIRST_CHOICE), 0)
        self.recipes.setCurrentIndex(first)
        self._choose()
        self._follow()

    def document(self) -> dict[str, Any]:
        """The recipe as it stands in the form."""
        return self.form.document()

    def _build(self) -> None:
        host = QWidget()
        host.setProperty("kind", "page")
        column = QVBoxLayout(host)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        self._subject = ElidedLabel("", "title")
        self._subject.setObjectName("recipe-subject")
        column.addWidget(self._subject)
        self.recipes = ChoiceBox()
        self.recipes.setObjectName("recipe-choice")
        self.recipes.setAccessibleName("Recipe")
        self.recipes.setMaxVisibleItems(16)
        for document in self._choices:
            self.recipes.addItem(document["title"] or document["name"], document["name"])
        self.recipes.currentIndexChanged.connect(lambda _: self._choose())
        column.addWidget(self.recipes)
        self._description = label("", "muted", wraps=True)
        column.addWidget(self._description)
        self.advice = RecipeAdvice()
        column.addWidget(self.advice)
        for made in self._build_fields():
            column.addWidget(made)
        self.form = RecipeForm()
        self.form.changed.connect(self._refresh)
        column.addWidget(self.form)
        column.addWidget(self._build_same())
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(host)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(scroll, 1)
        outer.addWidget(self._build_foot())

    def _build_fields(self) -> list[QWidget]:
        self.data = FileField(
            "Measured on", "recipe-data", "Folder by class, or .npz",
            takes_folders=True, pattern="Data (*.npz *.csv);;All files (*)",
        )  # fmt: skip
        self.calibration = FileField(
            "Calibrated on", "recipe-calibration", "Empty: the same data",
            takes_folders=True, pattern="Data (*.npz *.csv);;All files (*)",
        )  # fmt: skip
        self.pipeline = FileField(
            "Pipeline", "recipe-pipeline", "Empty: from the model",
            takes_folders=False, pattern="Pipeline (*.yaml *.yml);;All files (*)",
        )  # fmt: skip
        self._calibration_title = label("Calibrated on", "heading")
        self._calibration_title.setToolTip(
            "Ranges are measured on this data. Keep it apart from what accuracy is measured on."
        )
        titles = (label("Measured on", "heading"), self._calibration_title, label("Pipeline", "heading"))
        fields = (self.data, self.calibration, self.pipeline)
        made: list[QWidget] = []
        for title, field in zip(titles, fields, strict=True):
            title.setBuddy(field.line)
            field.changed.connect(self._refresh)
            made += [title, field]
        self.doctor = Button(
            "Examine the data", "recipe-doctor", icon="doctor", kind="quiet", run=self._examine
        )  # fmt: skip
        self.doctor.setToolTip(
            "Amount, copies, balance of classes, and values against what the model expects"
        )
        self.findings = RecipeAdvice()
        self.findings.setObjectName("recipe-findings")
        return [*made, self.doctor, self.findings]

    def _examine(self) -> None:
        row = self._row()
        data = self._calibration_path() or self.data.path()
        if row is not None and data is not None:
            self._desk.run("optimize.doctor", model=row.sha256, data=data, pipeline=self.pipeline.path())

    def _examined(self, report: ReportRow) -> None:
        if report.kind == "doctor" and report.subject == self._desk.selected.model:
            self.findings.report(report)

    def _build_same(self) -> QWidget:
        same = QTabWidget()
        same.setObjectName("recipe-same")
        self.command = CodeBlock("The same on the command line", "recipe-command", lines=5)
        self.yaml = CodeBlock("The same as a file", "recipe-yaml", lines=8, wraps=False)
        for title, block in (("Command", self.command), ("Recipe file", self.yaml)):
            page = QWidget()
            inside = QVBoxLayout(page)
            inside.setContentsMargins(0, 8, 0, 0)
            inside.addWidget(block)
            inside.addStretch(1)
            same.addTab(page, title)
        return same

    def _build_foot(self) -> QFrame:
        foot = QFrame()
        foot.setProperty("kind", "foot")
        column = QVBoxLayout(foot)
        column.setContentsMargins(12, 8, 12, 10)
        column.setSpacing(6)
        self._state = label("", "muted", wraps=True, name="recipe-state")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setRange(0, 1000)
        self._bar.setAccessibleName("Progress of the recipe")
        self._bar.hide()
        self.run_button = Button("Run recipe", "recipe-run", icon="recipe", kind="primary", run=self.run)
        self.cancel_button = Button("Cancel", "recipe-cancel", run=self._cancel)
        self.cancel_button.hide()
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self.run_button, 1)
        buttons.addWidget(self.cancel_button)
        column.addWidget(self._state)
        column.addWidget(self._bar)
        column.addLayout(buttons)
        return foot

    def run(self) -> None:
        """Run the recipe on the selected model."""
        row = self._row()
        if row is None or not self._may_run(row)[0]:
            return
        self._job = ""
        self._desk.run(
            "optimize.run", model=row.sha256, recipe=self.document(), data=self.data.path(),
            pipeline=self.pipeline.path(), calibration=self._calibration_path(),
        )  # fmt: skip

    def _calibration_path(self) -> Path | None:
        return self.calibration.path() if self.form.needs_data() else None

    def _row(self) -> ModelRow | None:
        return self._desk.stores.models.get(self._desk.selected.model)

    def _choose(self) -> None:
        document = self._choices[self.recipes.currentIndex()]
        row = self._row()
        self._description.setText(document["description"])
        self.form.show_recipe(document, row.format if row else None)
        follow(self.doctor, self.form)
        self._refresh()

    def _follow(self) -> None:
        row = self._row()
        if row is not None and row.sha256 != self._shown_model:
            self._fill(row)
        self._shown_model = row.sha256 if row else None
        self._subject.setText(f"Shrink {row.name}" if row else "Select a model to shrink")
        self._refresh()

    def _fill(self, row: ModelRow) -> None:
        """Data and pipeline of the model; a variant inherits them."""
        data = pipeline = calibration = None
        seen: set[str] = set()
        each: ModelRow | None = row
        while each is not None and each.sha256 not in seen:
            seen.add(each.sha256)
            data = data or each.data_path
            calibration = calibration or each.calibration_path
            pipeline = pipeline or each.pipeline_path
            each = self._desk.stores.models.get(each.parent)
        self.findings.clear()
        self.data.set_path(data)
        self.calibration.set_path(calibration)
        self.pipeline.set_path(pipeline)

    def _model_changed(self, row: ModelRow) -> None:
        if row.sha256 == self._desk.selected.model:
            if self.data.path() is None and self.pipeline.path() is None:
                self._fill(row)
            self._refresh()

    def _refresh(self) -> None:
        row, document = self._row(), self.document()
        for widget in (self._calibration_title, self.calibration):
            widget.setVisible(self.form.needs_data())
        paths = (self.data.path(), self.pipeline.path(), self._calibration_path())
        self.command.set_text(command_line(row, document, *(str(path or "") for path in paths)))
        self.advice.advise(row, document)
        self.doctor.setEnabled(row is not None and (paths[0] or paths[2]) is not None)
        self.yaml.set_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=60))
        can_run, reason = self._may_run(row)
        self.run_button.setEnabled(can_run and self._job is None)
        if self._job is None:
            self._say(reason, "muted" if can_run or row is None else "warning")

    def _may_run(self, row: ModelRow | None) -> tuple[bool, str]:
        if row is None:
            return False, "Select a model in the Library first."
        reason = self.form.reason_unavailable(row.format or None)
        if reason:
            return False, reason
        if not self.form.is_valid():
            return False, "An option above has a value that cannot be used."
        for field in (self.data, self.calibration, self.pipeline):
            if not field.is_valid() and not field.isHidden():
                return False, f"“{field.title}”: {field.path()} is not there."
        if self.form.needs_data() and self.data.path() is None and self.calibration.path() is None:
            return False, "This recipe measures ranges on data: choose a few hundred typical inputs."
        return True, ""

    def _job_changed(self, job: JobRow) -> None:
        if job.kind != "optimize" or (self._job and job.id != self._job):
            return
        if job.is_over:
            self._ended(job)
            return
        self._job = job.id
        self._bar.setRange(0, 0 if job.fraction is None else 1000)
        self._bar.setValue(round((job.fraction or 0) * 1000))
        self._bar.show()
        self.cancel_button.show()
        self.run_button.setEnabled(False)
        self._say(f"{job.title}: {job.phase or job.state}", "muted")

    def _ended(self, job: JobRow) -> None:
        if job.id != self._job:
            return
        self._job = None
        self._bar.hide()
        self.cancel_button.hide()
        self._refresh()
        words, role = {
            "done": ("Done: the variant is in the Library, under its parent.", "good"),
            "cancelled": ("Cancelled; nothing was kept.", "muted"),
        }.get(job.state, (f"{job.message} {job.hint}".strip(), "bad"))
        self._say(words, role)

    def _cancel(self) -> None:
        if self._job:
            self._desk.run("job.cancel", job=self._job)

    def _say(self, words: str, role: str) -> None:
        self._state.setText(breakable(words))
        set_role(self._state, role)
        self._state.setVisible(bool(words))
