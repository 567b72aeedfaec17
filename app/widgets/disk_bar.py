"""A disk as a bar: what the models take, what else is on it, and what is free."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import words
from app.theme import SIZES, colors_of

# (title, colour); the last one is what the bar is made of.
_PARTS = (("Models", "weights"), ("Other files", "overhead"), ("Free", "free"))


class DiskBar(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.show_disk(models=0, free=0, total=0, place="")

    def show_disk(self, *, models: int, free: int, total: int, place: str) -> None:
        """Bytes; `place` is a folder on the disk."""
        self.total = total
        self.sizes = (models, max(0, total - free - models), free)
        self.setAccessibleName(f"Disk: {self.in_words()}")
        lines = [f"{title}: {words.exact(size)}" for (title, _), size in zip(_PARTS, self.sizes, strict=True)]
        self.setToolTip("\n".join([f"The disk of {place}", *lines]) if place else "")
        self.update()

    def in_words(self) -> str:
        """The whole bar as a sentence."""
        parts = [f"{title} {words.size(size)}" for (title, _), size in zip(_PARTS, self.sizes, strict=True)]
        return f"{', '.join(parts)} of {words.size(self.total)}"

    def sizeHint(self) -> QSize:
        return QSize(SIZES.least_width // 2, SIZES.thin_bar + SIZES.xs + self.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.sizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colors = colors_of(self.palette())
        bar = QRectF(0, 0, self.width(), SIZES.thin_bar)
        clip = QPainterPath()
        clip.addRoundedRect(bar, SIZES.xs, SIZES.xs)
        painter.save()
        painter.setClipPath(clip)
        painter.fillRect(bar, QColor(colors.free))
        left = 0.0
        for (_, color), size in list(zip(_PARTS, self.sizes, strict=True))[:-1]:
            width = bar.width() * size / max(self.total, 1)
            painter.fillRect(QRectF(left, 0, width, bar.height()), QColor(getattr(colors, color)))
            left += width
        painter.restore()
        self._paint_legend(painter, bar.bottom() + SIZES.xs)

    def _paint_legend(self, painter: QPainter, top: float) -> None:
        colors, metrics, left = colors_of(self.palette()), self.fontMetrics(), 0.0
        side = SIZES.small - 2
        for (title, color), size in zip(_PARTS, self.sizes, strict=True):
            painter.setPen(QPen(QColor(colors.edge if color == "free" else getattr(colors, color)), 1))
            painter.setBrush(QColor(getattr(colors, color)))
            painter.drawRoundedRect(QRectF(left + 0.5, top + (metrics.height() - side) / 2, side, side), 2, 2)
            text = f"{title} {words.size(size)}"
            painter.setPen(QColor(colors.muted))
            painter.drawText(QPointF(left + side + SIZES.s, top + metrics.ascent()), text)
            left += side + SIZES.s + metrics.horizontalAdvance(text) + SIZES.l
