"""In which order the menus of the bar list their commands; "" is a line between groups."""

from __future__ import annotations

ORDER: dict[str, tuple[str, ...]] = {
    "file": (
        "model.open", "model.open_sample", "model.import_registry", "recent", "",
        "model.export", "",
        "project.open", "project.save", "project.restore", "",
        "app.settings", "app.quit",
    ),
    "edit": ("edit.undo", "edit.redo", "", "view.find", "app.palette"),
    "model": (
        "optimize.run", "optimize.doctor", "optimize.sensitivity", "",
        "model.check", "model.export_failing", "model.diff", "model.bench", "model.evaluate", "model.replay", "",
        "model.edit", "model.rename", "model.set_tags", "model.set_version", "model.note", "model.set_facts", "",
        "model.reload", "model.reveal", "model.open_in_netron", "model.publish", "", "model.remove",
    ),
    "board": (
        "board.add_simulated", "board.add_this_computer", "board.add_address", "board.provision",
        "board.watch_broker", "board.leave_broker", "",
        "board.pair", "board.push", "board.push_options", "board.rollback", "",
        "board.bench", "board.evaluate", "board.capture", "board.capture_fetch", "board.capture_clear",
        "dashboard.export", "",
        "board.start", "board.stop", "board.invite", "board.unpair", "board.forget", "",
        "keys.export", "keys.import", "keys.rotate",
    ),
    "job": ("job.cancel", "job.retry", "deployment.cancel", "", "job.clear", "notice.clear"),
    "view": (
        "view.welcome", "view.graph", "view.results", "view.compare", "view.reports", "view.dashboard", "",
        "view.library", "view.devices", "view.recipe", "view.model", "view.properties", "",
        "view.tray", "view.timeline", "view.jobs", "view.notices", "",
        "view.layout_save", "view.layout_load", "view.reset", "view.full_screen", "",
        "view.theme_system", "view.theme_light", "view.theme_dark", "view.next_theme",
    ),
    "help": ("help.contents", "help.keys", "help.doctor", "", "help.about"),
}  # fmt: skip
RECENT = "recent"
"""Stands for the list of recently opened files."""


def ordered(group: str, known: set[str]) -> list[str]:
    """The commands of a menu in their order, those that nobody ordered last; lines only between commands."""
    wanted = [name for name in ORDER.get(group, ()) if name in known or name in ("", RECENT)]
    left = sorted(known.difference(ORDER.get(group, ())))
    found: list[str] = []
    for name in (*wanted, *(("", *left) if left else ())):
        if name or (found and found[-1]):
            found.append(name)
    return found[:-1] if found and not found[-1] else found
