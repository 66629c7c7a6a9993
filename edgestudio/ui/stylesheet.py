"""Writes the one Qt style sheet of the window from a palette."""

from __future__ import annotations

from dataclasses import asdict
from string import Template
from typing import TYPE_CHECKING

from edgestudio.assets import resource

if TYPE_CHECKING:
    from edgestudio.ui.theme import Palette

_PICTURES = ("chevron-down", "chevron-up", "chevron-right", "chevron-left", "close", "float")


def style_sheet(colors: Palette) -> str:
    """The style sheet in these colours; pictures are the theme's own icons of the matching shade."""
    shade = "dark" if colors.is_dark else "light"
    pictures = {
        name.replace("-", "_"): resource("icons", "style", f"{name}-{shade}.svg").as_posix()
        for name in _PICTURES
    }
    pictures["check"] = resource("icons", "style", "check-white.svg").as_posix()
    # What lies under files that hover is where they may be dropped: it stays in sight.
    veil = "rgba({}, {}, {}, 130)".format(*bytes.fromhex(colors.selection.removeprefix("#")))
    template = Template(resource("style", "window.qss").read_text("utf-8"))
    return template.substitute({**asdict(colors), **pictures, "veil": veil})
