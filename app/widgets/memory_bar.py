"""Memory as a stacked bar with a limit line. Always in the same order: weights, KV cache, compute, overhead, free."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import words
from app.theme import SIZES, Colors, colors_of


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a model takes, and the `budget` it must stay within."""

    weights: int = 0
    kv: int = 0
    compute: int = 0
    overhead: int = 0
    budget: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute + self.overhead

    @property
    def free(self) -> int:
        return max(0, self.budget - self.total)


_PARTS = (
    ("Weights", "weights"),
    ("KV cache", "kv"),
    ("Compute", "compute"),
    ("Overhead", "overhead"),
    ("Free", "free"),
)


class MemoryBar(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.show_need(Need(), place="")

    def show_need(self, need: Need, *, place: str) -> None:
        self.need, self.place = need, place
        self.setAccessibleName(f"Memory: {self.in_words()}")
        self.setToolTip("\n".join(f"{title}: {words.exact(getattr(need, part))}" for title, part in _PARTS))
        self.update()

    def in_words(self) -> str:
        """The whole bar as a sentence."""
        parts = ", ".join(f"{title} {words.size(getattr(self.need, part))}" for title, part in _PARTS)
        return f"{words.size(self.need.total)} of {words.size(self.need.budget)}; {parts}"

    def sizeHint(self) -> QSize:
        return QSize(SIZES.least_width // 2, SIZES.bar + SIZES.l + 2 * self.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colors = colors_of(self.palette())
        head = self.fontMetrics().height() + SIZES.xs
        bar = QRectF(1, head, self.width() - 2, SIZES.bar)
        full = max(self.need.total, self.need.budget, 1)
        self._paint_parts(painter, bar, full, colors)
        self._paint_limit(painter, bar, full, colors)
        self._paint_legend(painter, bar.bottom() + SIZES.s, colors)

    def _paint_parts(self, painter: QPainter, bar: QRectF, full: int, colors: Colors) -> None:
        clip = QPainterPath()
        clip.addRoundedRect(bar, SIZES.radius, SIZES.radius)
        painter.save()
        painter.setClipPath(clip)
        painter.fillRect(bar, QColor(colors.free))
        left = bar.left()
        for _, part in _PARTS[:-1]:
            width = bar.width() * getattr(self.need, part) / full
            if width > 0:
                painter.fillRect(QRectF(left, bar.top(), width, bar.height()), QColor(getattr(colors, part)))
                painter.fillRect(QRectF(left + width - 1, bar.top(), 1, bar.height()), QColor(colors.surface))
            left += width
        painter.restore()

    def _paint_limit(self, painter: QPainter, bar: QRectF, full: int, colors: Colors) -> None:
        """The line, and above it what it stands for; on the left what the model needs."""
        over = self.need.total > self.need.budget
        at = bar.left() + bar.width() * self.need.budget / full
        at = min(at, bar.right() - SIZES.ring / 2)
        painter.setPen(QPen(QColor(colors.no if over else colors.text), SIZES.ring))
        painter.drawLine(QPointF(at, bar.top() - SIZES.xs), QPointF(at, bar.bottom() + SIZES.xs))
        limit = f"{words.size(self.need.budget)} {self.place}".strip()
        needed = f"Needs {words.size(self.need.total)}"
        metrics = self.fontMetrics()
        line = QRectF(0, 0, self.width(), metrics.height())
        painter.setPen(QColor(colors.no if over else colors.text))
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft, needed)
        painter.setPen(QColor(colors.muted))
        least = metrics.horizontalAdvance(needed) + SIZES.xl
        width = metrics.horizontalAdvance(limit)
        start = max(least, min(at - width, self.width() - width))
        painter.drawText(QRectF(start, 0, self.width() - start, metrics.height()), Qt.AlignmentFlag.AlignLeft, limit)

    def _paint_legend(self, painter: QPainter, top: float, colors: Colors) -> None:
        left, metrics = 0.0, self.fontMetrics()
        side = SIZES.small - 2
        for title, part in _PARTS:
            painter.setPen(QPen(QColor(colors.edge if part == "free" else getattr(colors, part)), 1))
            painter.setBrush(QColor(getattr(colors, part)))
            painter.drawRoundedRect(QRectF(left + 0.5, top + (metrics.height() - side) / 2, side, side), 2, 2)
            text = f"{title} {words.size(getattr(self.need, part))}"
            painter.setPen(QColor(colors.muted))
            painter.drawText(QPointF(left + side + SIZES.s, top + metrics.ascent()), text)
            left += side + SIZES.s + metrics.horizontalAdvance(text) + SIZES.l
