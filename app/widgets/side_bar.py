"""The side bar: the pages by icon and word, the count of open jobs, and the choice of theme."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QColor, QFont, QPainter, QPaintEvent
from PySide6.QtWidgets import QButtonGroup, QMenu, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from app.icons import app_icon, icon
from app.theme import SIZES, colors_of
from app.widgets.parts import Glyph, holder, label, row

THEMES = (("system", "As the system"), ("light", "Light"), ("dark", "Dark"))


class NavButton(QToolButton):
    """An entry; `badge` is a number at its right end, nothing when it is 0."""

    def __init__(self, word: str, glyph: str) -> None:
        super().__init__()
        self._word, self._badge = word, 0
        self.setProperty("role", "nav")
        self.setText(f" {word}")
        self.setIcon(icon(glyph, "muted"))
        self.setIconSize(QSize(SIZES.icon, SIZES.icon))
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(word)

    def show_badge(self, number: int) -> None:
        self._badge = number
        self.setAccessibleName(f"{self._word}, {number} open" if number else self._word)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._badge:
            return
        colors = colors_of(self.palette())
        side = self.fontMetrics().height() + SIZES.xs
        box = QRectF(self.width() - side - SIZES.s, (self.height() - side) / 2, side, side)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colors.accent))
        painter.drawRoundedRect(box, side / 2, side / 2)
        font = QFont(self.font())
        font.setPixelSize(SIZES.small)
        painter.setFont(font)
        painter.setPen(QColor(colors.on_accent))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(self._badge))


class SideBar(QWidget):
    chosen = Signal(int)
    theme_chosen = Signal(str)

    def __init__(self, entries: Sequence[tuple[str, str]], *, theme: str) -> None:
        super().__init__()
        self.setObjectName("side")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedWidth(SIZES.side_width)
        self._group = QButtonGroup(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIZES.s, SIZES.l, SIZES.s, SIZES.m)
        layout.setSpacing(SIZES.xs)
        layout.addWidget(_brand())
        layout.addSpacing(SIZES.m)
        for number, (word, glyph) in enumerate(entries):
            button = NavButton(word, glyph)
            button.setCheckable(True)
            button.setToolTip(f"{word} (Ctrl+{number + 1})")
            self._group.addButton(button, number)
            layout.addWidget(button)
        layout.addStretch()
        layout.addWidget(self._theme_button(theme))
        self._group.idClicked.connect(self.chosen)

    def mark(self, number: int) -> None:
        self._group.button(number).setChecked(True)

    def show_badge(self, number: int, count: int) -> None:
        button = self._group.button(number)
        assert isinstance(button, NavButton)
        button.show_badge(count)

    def _theme_button(self, theme: str) -> QToolButton:
        button = NavButton("Theme", "theme")
        menu = QMenu(button)
        group = QActionGroup(menu)
        for name, word in THEMES:
            action = QAction(word, group, checkable=True, checked=name == theme)
            action.triggered.connect(lambda _=False, name=name: self.theme_chosen.emit(name))
            menu.addAction(action)
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return button


def _brand() -> QWidget:
    layout = row(Glyph(app_icon(), SIZES.logo), label("Snug", role="brand"), 1, spacing=SIZES.s)
    layout.setContentsMargins(SIZES.s, 0, 0, 0)
    return holder(layout)
