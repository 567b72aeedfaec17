"""Line icons in the colour of the moment: drawn when needed, so that a change of theme needs no new icons."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QByteArray, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QGuiApplication, QIcon, QIconEngine, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from app.theme import RESOURCES, Colors, colors_of


class _Glyph(QIconEngine):
    def __init__(self, name: str, color: str) -> None:
        super().__init__()
        self._name, self._color = name, color

    def clone(self) -> QIconEngine:
        return _Glyph(self._name, self._color)

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        _renderer(self._name, self._tint(mode, state)).render(painter, QRectF(rect))

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return pixmap

    def _tint(self, mode: QIcon.Mode, state: QIcon.State) -> str:
        colors = colors_of(QGuiApplication.palette())
        if mode == QIcon.Mode.Disabled:
            return colors.edge
        return colors.accent if state == QIcon.State.On else getattr(colors, self._color)


@cache
def _renderer(name: str, color: str) -> QSvgRenderer:
    text = (RESOURCES / "icons" / f"{name}.svg").read_text(encoding="utf-8").replace("currentColor", color)
    return QSvgRenderer(QByteArray(text.encode()))


def icon(name: str, color: str = "text") -> QIcon:
    """The icon resources/icons/<name>.svg in a colour of the theme; in the accent where it is switched on."""
    assert color in Colors.__dataclass_fields__
    return QIcon(_Glyph(name, color))


def app_icon() -> QIcon:
    """Snug's own icon, in its own colours."""
    return QIcon(_Glyph("snug", "text"))
