"""How a cell is painted: its text with room to breathe, and where the column asks for it a tick, a chip or a bar."""

from __future__ import annotations

from PySide6.QtCore import QAbstractItemModel, QEvent, QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from app.icons import icon
from app.tables.row_model import Index, Role
from app.theme import SIZES, Colors, colors_of
from app.widgets.verdict_chip import paint_chip, paint_pill


class CellDelegate(QStyledItemDelegate):
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        colors = colors_of(option.palette)
        painter.save()
        _paint_ground(painter, rect, state, colors)
        inner = rect.adjusted(SIZES.s, 0, -SIZES.s, 0)
        if (tick := index.data(Qt.ItemDataRole.CheckStateRole)) is not None:
            box = _tick_box(rect)
            _paint_tick(painter, box, Qt.CheckState(tick) == Qt.CheckState.Checked, colors)
            inner.setLeft(box.right() + SIZES.s)
        if chip := index.data(Role.CHIP):
            paint_chip(painter, inner, chip, colors)
        elif (fraction := index.data(Role.FRACTION)) is not None:
            _paint_bar(painter, inner, fraction, colors)
        else:
            _paint_text(painter, inner, index, option.font, colors)
        painter.restore()

    def editorEvent(self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem, index: Index) -> bool:
        """Ticks are turned by the view, which knows where they are painted."""
        return False


def _tick_box(cell: QRect) -> QRect:
    return QRect(cell.left() + SIZES.s, cell.center().y() - SIZES.tick // 2, SIZES.tick, SIZES.tick)


def is_on_tick(cell: QRect, point: QPoint) -> bool:
    """Whether `point` is on the box for the tick of a cell, or as near as a finger is exact."""
    return cell.contains(point) and point.x() <= _tick_box(cell).right() + SIZES.xs


def _paint_tick(painter: QPainter, box: QRect, is_on: bool, colors: Colors) -> None:
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QColor(colors.accent if is_on else colors.edge))
    painter.setBrush(QColor(colors.accent if is_on else colors.surface))
    painter.drawRoundedRect(QRectF(box).adjusted(0.5, 0.5, -0.5, -0.5), SIZES.xs, SIZES.xs)
    painter.restore()
    if is_on:
        icon("check", "on_accent").paint(painter, box)


def _paint_ground(painter: QPainter, rect: QRect, state: QStyle.StateFlag, colors: Colors) -> None:
    if state & QStyle.StateFlag.State_Selected:
        painter.fillRect(rect, QColor(colors.selected))
    elif state & QStyle.StateFlag.State_MouseOver:
        painter.fillRect(rect, QColor(colors.hover))
    painter.fillRect(rect.left(), rect.bottom(), rect.width(), 1, QColor(colors.line))


def _paint_text(painter: QPainter, rect: QRect, index: Index, font: QFont, colors: Colors) -> None:
    strong = bool(index.data(Role.STRONG))
    font = QFont(font)
    font.setWeight(QFont.Weight.DemiBold if strong else QFont.Weight.Normal)
    painter.setFont(font)
    painter.setPen(QColor(colors.text))
    text = painter.fontMetrics().elidedText(str(index.data() or ""), Qt.TextElideMode.ElideRight, rect.width())
    painter.drawText(rect, index.data(Qt.ItemDataRole.TextAlignmentRole), text)
    if badge := index.data(Role.BADGE):
        room = rect.adjusted(painter.fontMetrics().horizontalAdvance(text) + SIZES.s, 0, 0, 0)
        paint_pill(painter, room, badge, colors)


def _paint_bar(painter: QPainter, rect: QRect, fraction: float, colors: Colors) -> None:
    track = QRectF(rect.left(), rect.center().y() - SIZES.thin_bar / 2, rect.width(), SIZES.thin_bar)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colors.free))
    painter.drawRoundedRect(track, SIZES.xs, SIZES.xs)
    painter.setBrush(QColor(colors.accent))
    track.setWidth(track.width() * max(0.0, min(1.0, fraction)))
    painter.drawRoundedRect(track, SIZES.xs, SIZES.xs)
