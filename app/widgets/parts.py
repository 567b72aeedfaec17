"""Small parts that every page uses: labels, buttons, cards, rows. Their look is in the style sheet, by role."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.icons import icon
from app.theme import SIZES

L = TypeVar("L", bound=QBoxLayout)


def label(text: str = "", *, role: str = "", wrap: bool = False) -> QLabel:
    widget = QLabel(text)
    widget.setTextFormat(Qt.TextFormat.PlainText)
    widget.setProperty("role", role)
    widget.setWordWrap(wrap)
    return widget


def button(text: str, clicked: Callable[[], object], *, role: str = "", glyph: str = "", tip: str = "") -> QPushButton:
    widget = QPushButton(text)
    widget.setProperty("role", role)
    widget.setToolTip(tip)
    if glyph:
        widget.setIcon(icon(glyph, "on_accent" if role == "primary" else "text"))
        widget.setIconSize(QSize(SIZES.icon, SIZES.icon))
    widget.clicked.connect(lambda: clicked())
    return widget


def icon_button(name: str, glyph: str, clicked: Callable[[], object]) -> QToolButton:
    """A button without a word: `name` is what a screen reader and the tooltip say."""
    widget = QToolButton()
    widget.setProperty("role", "flat")
    widget.setIcon(icon(glyph))
    widget.setIconSize(QSize(SIZES.icon, SIZES.icon))
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.setAccessibleName(name)
    widget.setToolTip(name)
    widget.clicked.connect(lambda: clicked())
    return widget


def row(*items: QWidget | int, spacing: int = SIZES.s) -> QHBoxLayout:
    """Side by side; a number is a stretch."""
    return _filled(QHBoxLayout(), items, spacing)


def column(*items: QWidget | int, spacing: int = SIZES.s) -> QVBoxLayout:
    """One under the other; a number is a stretch."""
    return _filled(QVBoxLayout(), items, spacing)


def _filled(layout: L, items: tuple[QWidget | int, ...], spacing: int) -> L:
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing)
    for item in items:
        if isinstance(item, int):
            layout.addStretch(item)
        else:
            layout.addWidget(item)
    return layout


def card(*items: QWidget | QBoxLayout, spacing: int = SIZES.s, margin: int = SIZES.l) -> QFrame:
    """A framed surface with `items` one under the other."""
    frame = QFrame()
    frame.setProperty("role", "card")
    layout = QVBoxLayout(frame)
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(spacing)
    for item in items:
        if isinstance(item, QBoxLayout):
            layout.addLayout(item)
        else:
            layout.addWidget(item)
    return frame


def holder(layout: QBoxLayout) -> QWidget:
    """A widget that is nothing but this layout."""
    widget = QWidget()
    widget.setLayout(layout)
    return widget


def scrolled(layout: QBoxLayout, *, name: str) -> QScrollArea:
    """The layout in an area that scrolls when it must; `name` is for a screen reader."""
    inside = holder(layout)
    inside.setProperty("role", "scrolled")
    layout.setContentsMargins(0, 0, 0, 0)
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setWidget(inside)
    area.setAccessibleName(name)
    return area


class Glyph(QWidget):
    """An icon by itself, drawn anew when the theme changes."""

    def __init__(self, icon: QIcon, side: int = SIZES.icon) -> None:
        super().__init__()
        self.setFixedSize(side, side)
        self.show_icon(icon)

    def show_icon(self, icon: QIcon) -> None:
        self._icon = icon
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        self._icon.paint(painter, self.rect())


class Stack(QStackedWidget):
    """As high as what it shows, not as the highest of what it could show."""

    def __init__(self, *widgets: QWidget) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        for widget in widgets:
            self.addWidget(widget)
        self.currentChanged.connect(lambda _: self.updateGeometry())

    def sizeHint(self) -> QSize:
        widget = self.currentWidget()
        if widget is None:
            return QSize()
        hint = widget.sizeHint()
        return QSize(hint.width(), widget.heightForWidth(self.width())) if widget.hasHeightForWidth() else hint

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.sizeHint().height())

    def hasHeightForWidth(self) -> bool:
        return False

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self.updateGeometry()


class Elided(QLabel):
    """One line that shortens itself in the middle, with the whole text as a tooltip."""

    def __init__(self, text: str = "", *, role: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("role", role)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.whole = ""
        self.show_text(text)

    def show_text(self, text: str) -> None:
        self.whole = text
        self.setToolTip(text)
        self.setAccessibleName(text)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setText(self.fontMetrics().elidedText(self.whole, Qt.TextElideMode.ElideMiddle, self.width()))
