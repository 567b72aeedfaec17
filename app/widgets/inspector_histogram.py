"""How the values of a tensor are spread: a bar for each bin, the range below, and what is under the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QLineF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app.theme import SIZES, colors_of

if TYPE_CHECKING:
    from core import Histogram

_LEAST_HEIGHT = 84


class HistogramView(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.found: Histogram | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Histogram: no tensor yet")

    def show_histogram(self, found: Histogram | None) -> None:
        self.found = found
        self.setAccessibleName(f"Histogram: {self.in_words()}")
        self.update()

    def in_words(self) -> str:
        """What the picture says."""
        if self.found is None:
            return "no tensor yet"
        fullest = max(range(len(self.found.counts)), key=lambda bin: self.found.counts[bin] if self.found else 0)
        return f"{self.found.tensor}, most values {self.bin_words(fullest)}"

    def bin_words(self, bin: int) -> str:
        """The range of a bin and how many values are in it."""
        if self.found is None:
            return ""
        low, high = (self._edge(bin + side) for side in (0, 1))
        return f"from {low:.4g} to {high:.4g}: {self.found.counts[bin]:,}"

    def _edge(self, number: int) -> float:
        assert self.found is not None
        share = number / len(self.found.counts)
        return self.found.low * (1 - share) + self.found.high * share

    def sizeHint(self) -> QSize:
        return QSize(SIZES.least_width // 2, 2 * _LEAST_HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, _LEAST_HEIGHT)

    def _plot(self) -> QRectF:
        return QRectF(0, 0, self.width(), self.height() - self.fontMetrics().height() - SIZES.s)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and self.found is not None:
            bin = int(event.x() / max(self.width(), 1) * len(self.found.counts))
            text = self.bin_words(min(max(bin, 0), len(self.found.counts) - 1))
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        colors, plot = colors_of(self.palette()), self._plot()
        painter.setPen(QPen(QColor(colors.line), 1))
        painter.drawLine(QLineF(plot.left(), plot.bottom(), plot.right(), plot.bottom()))
        if self.found is None:
            return
        self._paint_bars(painter, plot)
        self._paint_zero(painter, plot)
        line = QRectF(0, plot.bottom() + SIZES.xs, self.width(), self.fontMetrics().height())
        painter.setPen(QColor(colors.muted))
        for side, value in (
            (Qt.AlignmentFlag.AlignLeft, self.found.low),
            (Qt.AlignmentFlag.AlignRight, self.found.high),
        ):
            painter.drawText(line, side, f"{value:.4g}")

    def _paint_bars(self, painter: QPainter, plot: QRectF) -> None:
        assert self.found is not None
        color, most = QColor(colors_of(self.palette()).weights), max(self.found.counts, default=0)
        width = plot.width() / max(len(self.found.counts), 1)
        for number, count in enumerate(self.found.counts):
            if count:
                height = max(1.0, plot.height() * count / most)
                bar = QRectF(plot.left() + number * width, plot.bottom() - height, max(width - 1, 1), height)
                painter.fillRect(bar, color)

    def _paint_zero(self, painter: QPainter, plot: QRectF) -> None:
        """A line where zero is, with its number, unless that would run into those at the ends."""
        assert self.found is not None
        low, high = self.found.low, self.found.high
        if not low < 0 < high:
            return
        at = plot.left() + plot.width() * (-low / 2) / (high / 2 - low / 2)
        colors = colors_of(self.palette())
        painter.setPen(QPen(QColor(colors.edge), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QLineF(at, plot.top(), at, plot.bottom()))
        if plot.width() * 0.2 < at < plot.width() * 0.8:
            painter.setPen(QColor(colors.muted))
            box = QRectF(at - SIZES.xl, plot.bottom() + SIZES.xs, 2 * SIZES.xl, self.fontMetrics().height())
            painter.drawText(box, Qt.AlignmentFlag.AlignHCenter, "0")
