"""What the library's, the registries', the projects' and the keys' commands need to know, asked in dialogs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QWidget

from edgestudio.devices.profiles import profiles
from edgestudio.model.target.table import runtime_tables
from edgestudio.studio.app import Studio
from edgestudio.studio.registry.artifact import Listed
from edgestudio.studio.rows import ModelRow
from edgestudio.ui.ask import Answers, AskDialog, Question
from edgestudio.ui.desk import Desk
from edgestudio.ui.edit_dialog import EditDialog
from edgestudio.ui.requests import Done, Failed, Requests
from edgestudio.wire.errors import InputError

Work = Callable[[Studio, Answers], Coroutine[Any, Any, Any]]
_PROJECT = "Project (*.json);;All files (*)"
_ROLES = (
    ("operator", "Operator: pushes and watches"),
    ("viewer", "Viewer: watches"),
    ("owner", "Owner: all"),
)


class LibraryQuestions:
    """Adds to `desk.dialogs`; each dialog starts a service and shows its refusal in place."""

    def __init__(self, desk: Desk, requests: Requests, window: QWidget) -> None:
        self._desk, self._requests, self._window = desk, requests, window
        on_model = {
            "model.rename": self._rename,
            "model.set_tags": self._tags,
            "model.set_version": self._version,
            "model.note": self._note,
            "model.set_facts": self._facts,
            "model.edit": self._edit,
            "model.publish": self._publish,
            "model.check": self._check,
        }
        desk.dialogs.update({name: partial(self._with_model, ask) for name, ask in on_model.items()})
        desk.dialogs.update(
            {
                "model.import_registry": self._fetch,
                "project.open": self._open_project,
                "project.save": self._save_project,
                "board.invite": self._invite,
                "keys.export": self._export_kit,
                "keys.import": self._import_kit,
                "dashboard.export": self._export_telemetry,
            }
        )

    def _with_model(self, ask: Callable[[ModelRow], object]) -> None:
        row = self._desk.stores.models.get(self._desk.selected.model)
        if row is not None:
            ask(row)

    def _ask(self, name: str, title: str, questions: list[Question], work: Work, **words: str) -> None:
        def act(answers: Answers, done: Done, failed: Failed) -> None:
            self._requests.serve(lambda studio: work(studio, answers), done, failed)

        AskDialog(name, title, self._window, questions, act, **words).show()

    # --- words about a model

    def _rename(self, row: ModelRow) -> None:
        questions = [Question("name", "Name", row.name)]
        self._ask(
            "rename-dialog", f"Rename {row.name}", questions,
            lambda studio, said: studio.edits.rename(row.sha256, said["name"]), accept="Rename",
        )  # fmt: skip

    def _tags(self, row: ModelRow) -> None:
        questions = [
            Question("tags", "Tags", ", ".join(row.tags), hint="Separated by commas.", is_required=False)
        ]
        self._ask(
            "tags-dialog", f"Tags of {row.name}", questions,
            lambda studio, said: studio.edits.set_tags(
                row.sha256, [tag.strip() for tag in said["tags"].split(",") if tag.strip()]
            ),
        )  # fmt: skip

    def _version(self, row: ModelRow) -> None:
        hint = "Semantic, such as 1.2.0; empty takes it away."
        questions = [Question("version", "Version", row.version, hint=hint, is_required=False)]
        self._ask(
            "version-dialog", f"Version of {row.name}", questions,
            lambda studio, said: studio.edits.set_version(row.sha256, said["version"]),
        )  # fmt: skip

    def _note(self, row: ModelRow) -> None:
        questions = [Question("note", "Note", row.note, kind="text", is_required=False)]
        self._ask(
            "note-dialog", f"Note on {row.name}", questions,
            lambda studio, said: studio.edits.set_note(row.sha256, said["note"]),
        )  # fmt: skip

    def _facts(self, row: ModelRow) -> None:
        known = row.facts
        questions = [
            Question("training_date", "Day of the training", str(known.get("training_date") or ""),
                     hint="As 2026-03-31.", is_required=False),
            Question("dataset_version", "Data, with its version", str(known.get("dataset_version") or ""),
                     is_required=False),
            Question("metrics", "Metrics", _pairs(known.get("metrics")), hint="As top1: 0.98, loss: 0.05.",
                     is_required=False),
            Question("tools", "Tools", _pairs(known.get("tools")), hint="As torch: 2.9.0.", is_required=False),
        ]  # fmt: skip

        def work(studio: Studio, said: Answers) -> Coroutine[Any, Any, Any]:
            facts: dict[str, Any] = {
                key: said[key] for key in ("training_date", "dataset_version") if said[key]
            }
            facts |= {key: _mapping(said[key]) for key in ("metrics", "tools") if said[key]}
            return studio.edits.set_facts(row.sha256, facts)

        self._ask("facts-dialog", f"How {row.name} was made", questions, work)

    def _edit(self, row: ModelRow) -> None:
        EditDialog(row, self._requests, self._window).show()

    # --- checks and registries

    def _check(self, row: ModelRow) -> None:
        in_order = sorted(profiles(), key=lambda each: each.id == "mcu-class")  # the rarest target last
        boards = tuple((each.id, f"Board: {each.title}") for each in in_order)
        runtimes = tuple((word, f"Runtime: {table.title}") for word, table in runtime_tables().items())
        questions = [Question("target", "Target", kind="choice", choices=(*boards, *runtimes))]

        async def work(studio: Studio, said: Answers) -> None:
            await studio.reports.check(row.sha256, said["target"])

        self._ask(
            "check-dialog", f"Will {row.name} run there?", questions, work, accept="Check",
            sentence="Operators, types, opset and memory against what is published about the target.",
        )  # fmt: skip

    def _publish(self, row: ModelRow) -> None:
        questions = [
            _registry(),
            Question("name", "Name there", row.name),
            Question("version", "Version", row.version, hint="Empty: the next one.", is_required=False),
        ]

        async def work(studio: Studio, said: Answers) -> str:
            made = await studio.registries.publish(
                row.sha256, said["registry"], name=said["name"], version=said["version"] or None
            )
            return f"Published as {made['name']} {made['version']}: {made['reference']}"

        self._ask("publish-dialog", f"Publish {row.name}", questions, work, accept="Publish")

    def _fetch(self) -> None:
        """Ask for a registry first, then which of its models."""

        def look(answers: Answers, done: Done, failed: Failed) -> None:
            def listed(models: Any) -> None:
                if not any(each.versions for each in models):
                    empty = f"There is no model in {answers['registry']}."
                    failed(InputError(empty, hint="Publish one there first."))
                    return
                done(None)
                self._fetch_from(answers["registry"], models)

            self._requests.serve(lambda studio: studio.registries.models(answers["registry"]), listed, failed)

        AskDialog(
            "registry-dialog", "Import from a registry", self._window, [_registry()], look, accept="Look"
        ).show()

    def _fetch_from(self, registry: str, models: list[Listed]) -> None:
        choices = tuple(
            (f"{each.name}@{version}", f"{each.name}  {version}")
            for each in models
            for version in reversed(each.versions)
        )

        async def work(studio: Studio, said: Answers) -> None:
            name, _, version = str(said["model"]).rpartition("@")
            await studio.registries.fetch(registry, name, version)

        questions = [Question("model", "Model and version", kind="choice", choices=choices)]
        self._ask(
            "import-dialog", "Import from a registry", questions, work, accept="Import", sentence=registry
        )

    # --- projects, keys, telemetry

    def _open_project(self) -> None:
        dialog = self._file_dialog("project-dialog", "Open project", _PROJECT)
        dialog.fileSelected.connect(lambda name: self._desk.run("project.open", path=Path(name)))
        dialog.open()

    def _save_project(self) -> None:
        dialog = self._file_dialog("project-dialog", "Save project", _PROJECT, "project.edgestudio.json")
        dialog.fileSelected.connect(lambda name: self._desk.run("project.save", path=Path(name)))
        dialog.open()

    def _export_telemetry(self) -> None:
        row = self._desk.stores.boards.get(self._desk.selected.board)
        name = f"{row.name if row else 'board'}.csv"
        dialog = self._file_dialog("telemetry-dialog", "Export telemetry", "CSV (*.csv)", name)
        dialog.fileSelected.connect(lambda path: self._desk.run("dashboard.export", path=Path(path)))
        dialog.open()

    def _file_dialog(self, name: str, title: str, pattern: str, suggested: str = "") -> QFileDialog:
        dialog = QFileDialog(self._window, title, "", pattern)
        dialog.setObjectName(name)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if suggested:
            dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
            dialog.selectFile(suggested)
        return dialog

    def _invite(self) -> None:
        board = self._desk.stores.boards.get(self._desk.selected.board)
        if board is None:
            return

        async def work(studio: Studio, said: Answers) -> str:
            made = await studio.trust.invite(board.id, said["role"])
            minutes = max(1, round(float(made["expires_in_s"]) / 60))
            return f"The code is {made['code']}. It works once, within {minutes} min."

        questions = [Question("role", "What the other studio may do", kind="choice", choices=_ROLES)]
        self._ask("invite-dialog", f"Invite another studio to {board.name}", questions, work, accept="Invite")

    def _export_kit(self) -> None:
        questions = [
            Question("path", "File", kind="new-file"),
            Question(
                "passphrase", "Passphrase", kind="secret", hint="Without it the kit is of no use to anybody."
            ),
        ]

        async def work(studio: Studio, said: Answers) -> str:
            path = await studio.trust.export_kit(said["path"], said["passphrase"])
            return f"Written: {path}. Keep it and its passphrase apart, away from this computer."

        self._ask(
            "kit-export-dialog", "Write a recovery kit", questions, work, accept="Write",
            sentence="The keys that sign releases. Who loses them cannot update the boards without pairing again.",
        )  # fmt: skip

    def _import_kit(self) -> None:
        questions = [
            Question("path", "File", kind="file"),
            Question("passphrase", "Passphrase", kind="secret"),
            Question("replace", "Replace the keys that are here", kind="check", is_required=False),
        ]

        async def work(studio: Studio, said: Answers) -> str:
            await studio.trust.import_kit(said["path"], said["passphrase"], replace=said["replace"])
            return "The signing keys of the kit are in use from now on."

        self._ask("kit-import-dialog", "Read a recovery kit", questions, work, accept="Read")


def _registry() -> Question:
    hint = "A folder, oci://host/prefix or mlflow://host; with +http where there is no TLS: mlflow+http://host:5000."
    return Question("registry", "Registry", hint=hint)


def _pairs(mapping: object) -> str:
    return ", ".join(f"{key}: {value}" for key, value in mapping.items()) if isinstance(mapping, dict) else ""


def _mapping(text: str) -> dict[str, str]:
    """What stands before and behind the colons; the service says what cannot be used."""
    pairs = (part.partition(":") for part in text.split(",") if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}
