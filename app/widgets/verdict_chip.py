"""A verdict as a shape, a word and a colour, so that none of the three is needed to read it."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app.theme import SIZES, Colors, colors_of


@dataclass(frozen=True, slots=True)
class Chip:
    """How one verdict looks: `color` names two fields of Colors, itself and with _soft."""

    word: str
    color: str
    shape: str


CHIPS = {
    "fits": Chip("Fits", "fits", "check"),
    "tight": Chip("Tight", "tight", "triangle"),
    "splits": Chip("Splits", "splits", "halves"),
    "no": Chip("No", "no", "cross"),
    "unsupported": Chip("Not yet", "muted", "dash"),
    "done": Chip("Done", "fits", "check"),
    "running": Chip("Running", "accent", "arrow"),
    "pending": Chip("Waiting", "tight", "dots"),
    "paused": Chip("Paused", "tight", "halves"),
    "failed": Chip("Failed", "no", "cross"),
    "cancelled": Chip("Cancelled", "muted", "dash"),
    "pausing": Chip("Pausing", "muted", "dots"),
    "cancelling": Chip("Cancelling", "muted", "dots"),
}
_SHAPES: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "check": (((0.1, 0.55), (0.4, 0.85), (0.9, 0.2)),),
    "cross": (((0.15, 0.15), (0.85, 0.85)), ((0.85, 0.15), (0.15, 0.85))),
    "triangle": (((0.5, 0.08), (0.98, 0.92), (0.02, 0.92), (0.5, 0.08)),),
    "halves": (((0.3, 0.1), (0.3, 0.9)), ((0.7, 0.1), (0.7, 0.9))),
    "arrow": (((0.25, 0.1), (0.8, 0.5), (0.25, 0.9), (0.25, 0.1)),),
    "dots": (((0.1, 0.5), (0.12, 0.5)), ((0.5, 0.5), (0.52, 0.5)), ((0.88, 0.5), (0.9, 0.5))),
    "dash": (((0.1, 0.5), (0.9, 0.5)),),
}


def _font(font: QFont) -> QFont:
    font = QFont(font)
    font.setPixelSize(SIZES.small)
    font.setWeight(QFont.Weight.DemiBold)
    return font


def chip_size(word: str, font: QFont) -> QSize:
    """The room a chip with this word takes."""
    metrics = QFontMetrics(_font(font))
    return QSize(metrics.horizontalAdvance(word) + SIZES.m + 3 * SIZES.s, metrics.height() + SIZES.s)


def paint_chip(painter: QPainter, rect: QRect, name: str, colors: Colors) -> None:
    """The chip `name` of CHIPS at the left of `rect`, in the middle of its height."""
    chip = CHIPS[name]
    size = chip_size(chip.word, painter.font())
    box = QRectF(rect.left(), rect.center().y() - size.height() / 2 + 0.5, size.width(), size.height())
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setFont(_font(painter.font()))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(getattr(colors, f"{chip.color}_soft", colors.hover)))
    painter.drawRoundedRect(box, SIZES.radius, SIZES.radius)
    color = QColor(getattr(colors, chip.color))
    side = SIZES.small - 3
    _paint_shape(painter, QRectF(box.left() + SIZES.s, box.center().y() - side / 2, side, side), chip.shape, color)
    painter.setPen(color)
    words = box.adjusted(2 * SIZES.s + side, 0, 0, 0)
    painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, chip.word)
    painter.restore()


def paint_pill(painter: QPainter, rect: QRect, word: str, colors: Colors) -> None:
    """A word on a ground of the accent at the left of `rect`, if there is room for it."""
    painter.setFont(_font(painter.font()))
    metrics = painter.fontMetrics()
    height = metrics.height() + SIZES.xs
    box = QRectF(rect.left(), rect.center().y() - height / 2 + 0.5, metrics.horizontalAdvance(word) + SIZES.m, height)
    if box.width() > rect.width():
        return
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colors.accent))
    painter.drawRoundedRect(box, SIZES.radius, SIZES.radius)
    painter.setPen(QColor(colors.on_accent))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, word)


def _paint_shape(painter: QPainter, box: QRectF, shape: str, color: QColor) -> None:
    pen = QPen(color, SIZES.ring, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for line in _SHAPES[shape]:
        points = [QPointF(box.left() + x * box.width(), box.top() + y * box.height()) for x, y in line]
        path = QPainterPath(points[0])
        for point in points[1:]:
            path.lineTo(point)
        painter.drawPath(path)


class VerdictChip(QWidget):
    """The chip by itself."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.show_chip(name)

    def show_chip(self, name: str) -> None:
        self._name = name
        self.setAccessibleName(CHIPS[name].word)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return chip_size(CHIPS[self._name].word, self.font())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_chip(painter, self.rect(), self._name, colors_of(self.palette()))
