"""The colours, pens and texts of a graph in the theme of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PySide6.QtCore import QSizeF, Qt
from PySide6.QtGui import QBrush, QColor, QFont, QFontMetricsF, QPen, QStaticText
from PySide6.QtWidgets import QApplication

from edgestudio.model.picture.families import Family
from edgestudio.ui.graph.overlay import RAMP, RAMP_ON_DARK
from edgestudio.ui.theme import Palette

LABEL_PX, DETAIL_PX = 13, 10
CORNER_PX = 6.0
_TEXT_MARGIN_PX = 22.0


@dataclass(frozen=True, slots=True)
class FamilyLook:
    """How the boxes of one family are painted."""

    fill: QBrush
    edge: QPen
    stripe: QBrush
    solid: QColor


def mix(first: QColor, second: QColor, share: float) -> QColor:
    """`share` of the second colour in the first."""
    return QColor.fromRgbF(
        first.redF() + (second.redF() - first.redF()) * share,
        first.greenF() + (second.greenF() - first.greenF()) * share,
        first.blueF() + (second.blueF() - first.blueF()) * share,
    )


class Look:
    """Everything that painting asks for; made anew when the theme changes."""

    def __init__(self, colors: Palette, font: QFont | None = None) -> None:
        self.colors = colors
        self.ramp = RAMP_ON_DARK if colors.is_dark else RAMP
        self.ground = QColor(colors.panel)
        self.text, self.muted = QColor(colors.text), QColor(colors.muted)
        self.accent = QColor(colors.accent)
        edge = mix(QColor(colors.outline), self.ground, 0.25)
        self.edge_pen = QPen(edge, 1.3)
        self.edge_pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        self.edge_brush = QBrush(edge)
        self.dim_pen = QPen(mix(edge, self.ground, 0.6), 1.2)
        self.dim_brush = QBrush(self.dim_pen.color())
        self.frame_edge = mix(self.ground, self.accent, 0.35)
        self.frame_fill = QColor(self.accent)
        self.frame_fill.setAlpha(12)
        base = font or QApplication.font()
        self.label_font, self.detail_font = QFont(base), QFont(base)
        self.label_font.setPixelSize(LABEL_PX)
        self.label_font.setWeight(QFont.Weight.DemiBold)
        self.detail_font.setPixelSize(DETAIL_PX)
        for each in (self.label_font, self.detail_font):
            each.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
        self.family = lru_cache(maxsize=64)(self._family)
        self.label = lru_cache(maxsize=4096)(self._label)
        self.detail = lru_cache(maxsize=8192)(self._detail)

    def overview_rgb(self, families: Sequence[Family]) -> np.ndarray:
        """One 32-bit colour for each family, for pixels."""
        return np.array([self.family(each, is_dim=False).solid.rgb() for each in families] or [0], np.uint32)

    def dim(self, color: QColor) -> QColor:
        """A colour that steps back."""
        return mix(color, self.ground, 0.72)

    def _family(self, family: Family, *, is_dim: bool) -> FamilyLook:
        is_dark = self.colors.is_dark
        hue = QColor(family.dark if is_dark else family.light)
        ground = QColor(self.colors.raised)
        fill, edge, stripe = mix(ground, hue, 0.16 if is_dark else 0.09), mix(ground, hue, 0.5), hue
        solid = mix(hue, ground, 0.15)
        if is_dim:
            fill, edge, stripe = self.dim(fill), self.dim(edge), self.dim(stripe)
            solid = self.dim(solid)
        return FamilyLook(QBrush(fill), QPen(edge, 1.0), QBrush(stripe), solid)

    def _label(self, text: str, room: int) -> tuple[QStaticText, QSizeF]:
        return self._prepared(text, room, self.label_font)

    def _detail(self, text: str, room: int) -> tuple[QStaticText, QSizeF]:
        return self._prepared(text, room, self.detail_font)

    @staticmethod
    def _prepared(text: str, room: int, font: QFont) -> tuple[QStaticText, QSizeF]:
        fitting = QFontMetricsF(font).elidedText(text, Qt.TextElideMode.ElideRight, room - _TEXT_MARGIN_PX)
        prepared = QStaticText(fitting)
        prepared.setTextFormat(Qt.TextFormat.PlainText)
        prepared.setPerformanceHint(QStaticText.PerformanceHint.AggressiveCaching)
        prepared.prepare(font=font)
        return prepared, prepared.size()
