from __future__ import annotations

import pytest
from PySide6.QtGui import QFontMetricsF, QIcon
from PySide6.QtWidgets import QApplication

from edgestudio.assets import resource
from edgestudio.ui import icons, theme

PALETTES = [pytest.param(theme.LIGHT, id="light"), pytest.param(theme.DARK, id="dark")]


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""

    def linear(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(color[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_of_black_on_white_is_known() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("colors", PALETTES)
@pytest.mark.parametrize("ground", ["window", "panel", "raised", "selection", "hover"])
@pytest.mark.parametrize("ink", ["text", "muted", "accent", "good", "warning", "bad"])
def test_text_is_readable_everywhere(colors: theme.Palette, ink: str, ground: str) -> None:
    assert contrast(getattr(colors, ink), getattr(colors, ground)) >= 4.5


@pytest.mark.parametrize("colors", PALETTES)
def test_text_on_buttons_and_badges_is_readable(colors: theme.Palette) -> None:
    assert contrast(colors.on_fill, colors.fill) >= 4.5
    assert contrast(colors.window, colors.warning) >= 4.5


@pytest.mark.parametrize("colors", PALETTES)
@pytest.mark.parametrize("ground", ["window", "panel", "raised"])
def test_controls_and_curves_stand_out(colors: theme.Palette, ground: str) -> None:
    for shape in (colors.outline, *colors.chart):
        assert contrast(shape, getattr(colors, ground)) >= 3


@pytest.mark.parametrize("chosen", ["light", "dark"])
def test_choosing_a_mode_recolours_the_application(qapp: QApplication, qtbot, chosen: theme.Mode) -> None:
    theme.install(qapp, "dark" if chosen == "light" else "light")
    with qtbot.waitSignal(theme.changed):
        theme.set_mode(chosen)
    assert theme.palette().is_dark == (chosen == "dark")
    assert qapp.palette().window().color().name() == theme.palette().window
    assert theme.palette().window in qapp.styleSheet()


def test_every_icon_draws_something(qapp: QApplication) -> None:
    names = [path.stem for path in resource("icons").glob("*.svg")]
    assert len(names) > 40
    for name in names:
        image = icons.pixmap(name, 16, "text").toImage()
        assert any(image.pixelColor(x, y).alpha() for x in range(16) for y in range(16)), name
    assert not icons.icon("model").pixmap(16, 16, QIcon.Mode.Disabled).isNull()


def test_digits_can_have_equal_width(qapp: QApplication) -> None:
    metrics = QFontMetricsF(theme.figures(qapp.font()))
    assert metrics.horizontalAdvance("1111") == pytest.approx(metrics.horizontalAdvance("8888"), abs=0.6)
