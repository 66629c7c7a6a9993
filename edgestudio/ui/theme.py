"""The colours and type of the window: light, dark, or as the system says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication, QStyleFactory

from edgestudio.assets import resource
from edgestudio.ui.stylesheet import style_sheet

Mode = Literal["system", "light", "dark"]

# Families that come with a system only because something must: anything else beats them.
_LAST_RESORTS = ("DejaVu Sans", "Bitstream Vera Sans", "Sans Serif", "Sans", "Helvetica", "")
_BODY_POINTS = 9.75


@dataclass(frozen=True, slots=True)
class Palette:
    """Every colour that the window uses, as `#rrggbb`.

    `window` lies behind everything, `panel` under text, `raised` under fields and cards. `text`, `muted`,
    `accent`, `good`, `warning` and `bad` are readable (4.5:1) on all three; `outline` marks the edge of a
    control (3:1), `border` only separates. `fill` is a button's accent under `on_fill`. `chart` colours differ
    in lightness as well as hue, so that they stay apart for colour-blind eyes.
    """

    window: str
    panel: str
    raised: str
    text: str
    muted: str
    accent: str
    fill: str
    on_fill: str
    border: str
    outline: str
    hover: str
    good: str
    warning: str
    bad: str
    selection: str
    chart: tuple[str, ...]
    is_dark: bool

    def color(self, role: str) -> QColor:
        """The colour of a role as Qt wants it."""
        return QColor(getattr(self, role))


LIGHT = Palette(
    window="#f3f4f6",
    panel="#fbfbfc",
    raised="#ffffff",
    text="#1b1e25",
    muted="#565d6b",
    accent="#2f55d4",
    fill="#3458d8",
    on_fill="#ffffff",
    border="#dcdfe5",
    outline="#858c99",
    hover="#e9ebf0",
    good="#0f6f43",
    warning="#8a5300",
    bad="#b8243a",
    selection="#dbe4ff",
    chart=("#2f55d4", "#b45309", "#0b7a5c", "#a02c7d", "#6b5b00", "#0b7285", "#7c3aed", "#9f3a38"),
    is_dark=False,
)

DARK = Palette(
    window="#0f1115",
    panel="#15181d",
    raised="#1c2027",
    text="#e7e9ee",
    muted="#9ba3b1",
    accent="#8fa8ff",
    fill="#4263eb",
    on_fill="#ffffff",
    border="#282d36",
    outline="#6b7382",
    hover="#232831",
    good="#5ccf94",
    warning="#f0b354",
    bad="#ff8490",
    selection="#28345e",
    chart=("#8fa8ff", "#f2a65a", "#4fcaa3", "#e884c0", "#d8c850", "#67c7e6", "#b79bff", "#ff8f84"),
    is_dark=True,
)


class _Announcer(QObject):
    changed = Signal()


_announcer = _Announcer()
#: Emitted on the UI thread after the palette was replaced; read `palette()` again and repaint.
changed = _announcer.changed
_state: dict[str, Mode | Palette] = {"mode": "system", "palette": LIGHT}


def palette() -> Palette:
    """The colours of now."""
    current = _state["palette"]
    assert isinstance(current, Palette)
    return current


def mode() -> Mode:
    """What the user chose: `system`, `light` or `dark`."""
    chosen = _state["mode"]
    assert not isinstance(chosen, Palette)
    return chosen


def install(app: QApplication, chosen: Mode = "system") -> None:
    """Give the application its style, its type and its colours; later changes of the system are followed."""
    app.setStyle(QStyleFactory.create("Fusion"))
    app.setFont(_body_font(app))
    app.styleHints().colorSchemeChanged.connect(_follow)
    set_mode(chosen)


def set_mode(chosen: Mode) -> None:
    """Choose the colours and repaint everything; `system` follows the desktop from now on."""
    _state["mode"] = chosen
    app = QApplication.instance()
    is_dark = chosen == "dark" or (chosen == "system" and _system_is_dark(app))
    _state["palette"] = DARK if is_dark else LIGHT
    if isinstance(app, QApplication):
        app.setPalette(_qt_palette(palette()))
        app.setStyleSheet(style_sheet(palette()))
    changed.emit()


def mono_font(points: float = _BODY_POINTS - 0.75) -> QFont:
    """The system's fixed-width font, for commands, hashes and logs."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setPointSizeF(points)
    return font


def figures(font: QFont) -> QFont:
    """The same font with digits of equal width, so that columns of numbers stand still."""
    steady = QFont(font)
    steady.setFeature(QFont.Tag("tnum"), 1)
    return steady


def _system_is_dark(app: object) -> bool:
    return isinstance(app, QApplication) and app.styleHints().colorScheme() == Qt.ColorScheme.Dark


def _follow() -> None:
    if mode() == "system":
        set_mode("system")


def _body_font(app: QApplication) -> QFont:
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    if font.family() in _LAST_RESORTS or app.platformName() == "offscreen":
        for face in ("Inter-Regular.otf", "Inter-Medium.otf", "Inter-SemiBold.otf"):
            QFontDatabase.addApplicationFont(str(resource("fonts", face)))
        font = QFont("Inter")
    font.setPointSizeF(max(_BODY_POINTS, font.pointSizeF()) if font.family() != "Inter" else _BODY_POINTS)
    return font


def _qt_palette(colors: Palette) -> QPalette:
    made = QPalette()
    roles = {
        QPalette.ColorRole.Window: colors.window,
        QPalette.ColorRole.WindowText: colors.text,
        QPalette.ColorRole.Base: colors.panel,
        QPalette.ColorRole.AlternateBase: colors.raised,
        QPalette.ColorRole.Text: colors.text,
        QPalette.ColorRole.PlaceholderText: colors.muted,
        QPalette.ColorRole.Button: colors.raised,
        QPalette.ColorRole.ButtonText: colors.text,
        QPalette.ColorRole.ToolTipBase: colors.raised,
        QPalette.ColorRole.ToolTipText: colors.text,
        QPalette.ColorRole.Highlight: colors.selection,
        QPalette.ColorRole.HighlightedText: colors.text,
        QPalette.ColorRole.Accent: colors.fill,
        QPalette.ColorRole.Link: colors.accent,
        QPalette.ColorRole.LinkVisited: colors.accent,
        QPalette.ColorRole.BrightText: colors.bad,
        QPalette.ColorRole.Light: colors.raised,
        QPalette.ColorRole.Mid: colors.border,
        QPalette.ColorRole.Dark: colors.outline,
        QPalette.ColorRole.Shadow: colors.window,
    }
    for role, value in roles.items():
        made.setColor(role, QColor(value))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.WindowText, QPalette.ColorRole.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, role, QColor(colors.outline))
    return made
