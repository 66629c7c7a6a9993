"""What a recipe changed: both sides of every measurement, the verdict in words, and the steps that led there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from edgestudio.studio.rows import ModelRow
from edgestudio.ui import theme, wording
from edgestudio.ui.desk import Desk
from edgestudio.ui.widgets.bars import PairBar
from edgestudio.ui.widgets.buttons import Button
from edgestudio.ui.widgets.empty import EmptyState
from edgestudio.ui.widgets.flow import FlowLayout
from edgestudio.ui.widgets.text import ElidedLabel, IconLabel, label

Verdict = Literal["good", "bad", "muted"]
_CHOOSE = "Select a variant in the Library to see what its recipe changed."
_ICONS = {"good": "success", "bad": "warning", "muted": "info"}


@dataclass(frozen=True, slots=True)
class Change:
    """One measured quantity on both sides, as texts; `values` are what the bars show, None for no bars."""

    title: str
    before: str
    after: str
    spread_before: str
    spread_after: str
    verdict: str
    judged: Verdict
    values: tuple[float, float] | None = None


def changes(row: ModelRow) -> list[Change]:
    """What was measured of a variant and its parent; honest about what was not."""
    before, after = row.before or {}, row.after or {}
    found = [_size(row, before, after), _latency(row, before, after), _accuracy(row, before, after)]
    error = after.get("error")
    if isinstance(error, Mapping):
        found.append(_error(error))
    return found


def _size(row: ModelRow, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    old, new = before.get("size_bytes"), after.get("size_bytes", row.size_bytes)
    verdict = str(row.verdicts.get("size") or wording.change(old, new))
    judged: Verdict = "good" if old and new < old * 0.98 else "bad" if old and new > old else "muted"
    values = (float(old), float(new)) if old else None
    return Change("Size", wording.size(old), wording.size(new), "", "", verdict, judged, values)


def _latency(row: ModelRow, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    old, new = before.get("latency_ms"), after.get("latency_ms")
    if (
        not isinstance(old, Mapping)
        or not isinstance(new, Mapping)
        or not old.get("p50")
        or not new.get("p50")
    ):
        return Change("Latency", wording.latency(old), wording.latency(new), "", "", "not measured", "muted")
    verdict = str(row.verdicts.get("latency", ""))
    is_noise = "noise" in verdict or "no difference" in verdict
    if not verdict:
        is_noise = _intervals_overlap(old.get("ci95"), new.get("ci95"))
        verdict = "inside the noise" if is_noise else wording.change(old["p50"], new["p50"])
    judged: Verdict = "muted" if is_noise else "good" if new["p50"] < old["p50"] else "bad"
    values = (float(old["p50"]), float(new["p50"]))
    return Change(
        "Latency, median",
        wording.latency(old),
        wording.latency(new),
        _spread(old),
        _spread(new),
        verdict,
        judged,
        values,
    )


def _accuracy(row: ModelRow, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    old, new = before.get("accuracy"), after.get("accuracy")
    if not isinstance(new, Mapping) or new.get("top1") is None:
        reason = "not measured: it needs labelled data"
        return Change(
            "Accuracy, top 1", wording.accuracy(old), wording.accuracy(new), "", "", reason, "muted"
        )
    first = old.get("top1") if isinstance(old, Mapping) else None
    verdict = str(row.verdicts.get("accuracy", ""))
    is_noise = "noise" in verdict
    if not verdict and first is not None:
        is_noise = _intervals_overlap(_interval(old), new.get("ci95"))
        verdict = "inside the noise" if is_noise else f"{(new['top1'] - first) * 100:+.1f} points"
    judged: Verdict = "muted" if is_noise or first is None else "good" if new["top1"] >= first else "bad"
    values = (float(first), float(new["top1"])) if first is not None else None
    return Change(
        "Accuracy, top 1", wording.accuracy(old), wording.accuracy(new), _share_interval(old), _share_interval(new),
        verdict, judged, values,
    )  # fmt: skip


def _error(error: Mapping[str, Any]) -> Change:
    largest, cosine, ratio = error.get("max_abs"), error.get("cosine"), error.get("sqnr_db")
    signal = f"{ratio:.1f} dB signal to noise" if isinstance(ratio, int | float) else "no error at all"
    agreement = error.get("agreement")
    same = (
        f"same answer for {wording.accuracy(agreement)} of {error.get('n', 0):,} inputs"
        if isinstance(agreement, float)
        else ""
    )
    after = f"{largest:.3g}" if isinstance(largest, int | float) else wording.DASH
    likeness = f"cosine {cosine:.5f}" if isinstance(cosine, int | float) else ""
    return Change(
        "Largest numerical error",
        "0",
        after,
        "",
        likeness,
        "   ·   ".join(filter(None, (signal, same))),
        "muted",
    )


def _spread(latency: Mapping[str, Any]) -> str:
    parts = [f"p90 {wording.latency(latency.get('p90'))}"]
    if latency.get("p99") is not None:
        parts.append(f"p99 {wording.latency(latency['p99'])}")
    interval = latency.get("ci95")
    if isinstance(interval, Sequence) and len(interval) == 2:
        parts.append(f"95 %: {interval[0]:.3g}–{interval[1]:.3g} ms mean")
    return "  ".join((*parts, f"n {latency.get('n', 0):,}"))


def _share_interval(accuracy: object) -> str:
    interval = _interval(accuracy)
    if interval is None or not isinstance(accuracy, Mapping):
        return ""
    return f"95 %: {interval[0] * 100:.1f} to {interval[1] * 100:.1f} %  n {accuracy.get('n', 0):,}"


def _interval(measured: object) -> Sequence[float] | None:
    found = measured.get("ci95") if isinstance(measured, Mapping) else None
    return found if isinstance(found, Sequence) and len(found) == 2 else None


def _intervals_overlap(first: object, second: object) -> bool:
    if (
        not (isinstance(first, Sequence) and isinstance(second, Sequence))
        or len(first) != 2
        or len(second) != 2
    ):
        return False
    return bool(first[0] <= second[1] and second[0] <= first[1])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _says(warning: str, verdict: str) -> bool:
    """True when a warning only repeats the verdict of a card above it."""
    return bool(verdict) and verdict.rstrip(".").casefold() in warning.casefold()


class ChangeCard(QFrame):
    """One quantity: before and after with their spread, bars, and the verdict."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.setObjectName(f"result-{change.title.split(',')[0].split()[0].lower()}")
        self.setProperty("kind", "card")
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 12)
        column.setSpacing(8)
        column.addWidget(label(change.title, "heading"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(0)
        sides = (
            ("Before", change.before, change.spread_before),
            ("After", change.after, change.spread_after),
        )
        for side, (name, text, spread) in enumerate(sides):
            grid.addWidget(label(name, "caption"), 0, side)
            figure = label(text, "title", name=f"{self.objectName()}-{name.lower()}")
            figure.setFont(theme.figures(figure.font()))
            grid.addWidget(figure, 1, side)
            if spread:
                grid.addWidget(
                    label(spread.replace("  ", "\n"), "caption", wraps=True),
                    2,
                    side,
                    Qt.AlignmentFlag.AlignTop,
                )
            grid.setColumnStretch(side, 1)
        column.addLayout(grid)
        if change.values is not None:
            column.addWidget(
                PairBar(*change.values, role="accent" if change.judged == "muted" else change.judged)
            )
        column.addStretch(1)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(IconLabel(_ICONS[change.judged], 16, change.judged), 0, Qt.AlignmentFlag.AlignTop)
        verdict = label(_sentence(change.verdict or "no verdict"), change.judged, wraps=True)
        verdict.setObjectName(f"{self.objectName()}-verdict")
        row.addWidget(verdict, 1)
        column.addLayout(row)


class ResultsPanel(QWidget):
    """Follows the selected model; one that no recipe made has no sides to compare."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("results-panel")
        self._desk = desk
        self._shown: ModelRow | None = None
        self._pages = QStackedWidget()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._pages)
        desk.selected.model_changed.connect(self.refresh)
        desk.stores.models.changed.connect(self._changed)
        desk.stores.models.added.connect(self._changed)
        self._replace(self._nothing("No model selected", _CHOOSE))
        self.refresh()

    def refresh(self) -> None:
        """Show the selected model's results, or those of the variants made from it."""
        row = self._desk.stores.models.get(self._desk.selected.model)
        if row is None:
            self._replace(self._nothing("No model selected", _CHOOSE))
        elif row.after is not None:
            self._replace(self._page(row))
        else:
            variants = [
                each for each in self._desk.stores.models.rows() if each.parent == row.sha256 and each.after
            ]
            self._replace(self._overview(row, variants) if variants else self._untouched(row))
        self._shown = row

    def _changed(self, row: ModelRow) -> None:
        if self._desk.selected.model in (row.sha256, row.parent):
            self.refresh()

    def _replace(self, page: QWidget) -> None:
        old = self._pages.currentWidget()
        self._pages.addWidget(page)
        self._pages.setCurrentWidget(page)
        if old is not None:
            self._pages.removeWidget(old)
            old.deleteLater()

    def _page(self, row: ModelRow) -> QWidget:
        parent = self._desk.stores.models.get(row.parent)
        head = [label(row.name, "title", name="results-title")]
        made = f"Made from {parent.name if parent else 'a model that is gone'} by the recipe {row.recipe or 'unnamed'}"
        head.append(label(made, "muted", name="results-origin"))
        flow = QWidget()
        cards = FlowLayout(column_width=320, spacing=12, margin=0, widest=520)
        flow.setLayout(cards)
        for change in changes(row):
            cards.addWidget(ChangeCard(change))
        parts: list[QWidget] = [*head, flow]
        said = {_sentence(change.verdict) for change in changes(row)}
        parts.extend(
            _notice("warning", "warning", warning)
            for warning in row.warnings
            if not any(_says(warning, each) for each in said)
        )
        if row.steps:
            parts.append(_steps(row.steps))
        return _scrolled(parts)

    def _overview(self, row: ModelRow, variants: Sequence[ModelRow]) -> QWidget:
        parts: list[QWidget] = [label(f"Variants of {row.name}", "title", name="results-title")]
        parts += [self._line(variant) for variant in variants]
        return _scrolled(parts)

    def _line(self, variant: ModelRow) -> QWidget:
        """A variant in the list of all: its name above what changed, so that three columns fit a narrow page."""
        card = QFrame()
        card.setProperty("kind", "card")
        grid = QGridLayout(card)
        grid.setContentsMargins(16, 10, 8, 12)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(6)
        name = ElidedLabel(variant.name, "heading")
        grid.addWidget(name, 0, 0, 1, 3)
        for column, change in enumerate(changes(variant)[:3]):
            text = f"{change.title.split(',')[0]}\n{change.before} → {change.after}"
            grid.addWidget(label(text, "caption", wraps=True), 1, column, Qt.AlignmentFlag.AlignTop)
            grid.setColumnStretch(column, 1)
        show = Button("Show", "results-show", kind="quiet")
        show.clicked.connect(lambda: self._desk.selected.select_model(variant.sha256))
        grid.addWidget(show, 0, 3, 2, 1, Qt.AlignmentFlag.AlignVCenter)
        return card

    def _untouched(self, row: ModelRow) -> QWidget:
        sentence = (
            "It is as it was opened. Run a recipe on it, and both sides of every measurement appear here."
        )
        button = Button("Run a recipe", "results-optimise", run=lambda: self._desk.run("view.recipe"))
        return self._nothing(f"No recipe made {row.name}", sentence, button)

    @staticmethod
    def _nothing(title: str, sentence: str, *buttons: Button) -> EmptyState:
        return EmptyState("results", title, sentence, *buttons)


def _steps(steps: Sequence[Mapping[str, Any]]) -> QWidget:
    """The steps in order, each with its time, its size and what it reported."""
    card = QFrame()
    card.setObjectName("results-steps")
    card.setProperty("kind", "card")
    column = QVBoxLayout(card)
    column.setContentsMargins(16, 12, 16, 12)
    column.setSpacing(8)
    column.addWidget(label("Steps", "heading"))
    for number, step in enumerate(steps, 1):
        line = QHBoxLayout()
        line.setSpacing(12)
        line.addWidget(label(f"{number}", "caption"), 0, Qt.AlignmentFlag.AlignTop)
        title = str(step.get("title") or step.get("pass") or "step")
        report = step.get("report")
        told = str(report.get("sentence", "")) if isinstance(report, Mapping) else ""
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(label(title, "", wraps=True))
        if told:
            words.addWidget(label(told, "caption", wraps=True))
        line.addLayout(words, 1)
        facts = (wording.size(step.get("size_bytes")), wording.duration(step.get("seconds")))
        line.addWidget(label("   ".join(facts), "caption"), 0, Qt.AlignmentFlag.AlignTop)
        column.addLayout(line)
        for warning in report.get("warnings", ()) if isinstance(report, Mapping) else ():
            column.addWidget(_notice("warning", "warning", str(warning)))
    return card


def _notice(icon: str, role: str, text: str) -> QWidget:
    made = QWidget()
    row = QHBoxLayout(made)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(8)
    row.addWidget(IconLabel(icon, 16, role), 0, Qt.AlignmentFlag.AlignTop)
    row.addWidget(label(text, role, wraps=True), 1)
    return made


def _scrolled(parts: Sequence[QWidget]) -> QScrollArea:
    inside = QWidget()
    inside.setProperty("kind", "page")
    inside.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
    column = QVBoxLayout(inside)
    column.setContentsMargins(24, 20, 24, 24)
    column.setSpacing(12)
    for part in parts:
        column.addWidget(part)
    column.addStretch(1)
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setWidget(inside)
    return area
