"""A message on the page: what happened, what to do, and a way to close it. Never a box that must be answered."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAccessible, QAccessibleEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QWidget

from app.icons import icon
from app.theme import SIZES
from app.widgets.parts import Glyph, column, icon_button, label
from app.words import Problem

_GLYPHS = {
    "error": ("error", "no"),
    "warning": ("warning", "tight"),
    "good": ("check", "fits"),
    "info": ("info", "accent"),
}


class Banner(QFrame):
    """Hidden until it has something to say. `closed` when the user sent it away."""

    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "banner")
        self._glyph = Glyph(icon("info"))
        self._message = label(role="strong", wrap=True)
        self._hint = label(wrap=True)
        for words in (self._message, self._hint):
            words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._close = icon_button("Close message", "close", self.dismiss)
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(SIZES.m, SIZES.s, SIZES.s, SIZES.s)
        self._layout.setSpacing(SIZES.m)
        self._layout.addWidget(self._glyph, alignment=Qt.AlignmentFlag.AlignTop)
        self._layout.addLayout(column(self._message, self._hint, spacing=SIZES.xs), 1)
        self._buttons: list[QPushButton] = []
        self._layout.addWidget(self._close, alignment=Qt.AlignmentFlag.AlignTop)
        self.hide()

    @property
    def message(self) -> str:
        return self._message.text() if not self.isHidden() else ""

    @property
    def hint(self) -> str:
        return self._hint.text()

    def show_problem(self, problem: Problem) -> None:
        self.show_message("error", problem.message, problem.hint)

    def show_message(self, kind: str, message: str, hint: str = "", *buttons: QPushButton) -> None:
        """`kind` is error, warning, good or info; `buttons` answer a question that the message asks."""
        glyph, color = _GLYPHS[kind]
        self.setProperty("kind", kind)
        self.style().unpolish(self)
        self.style().polish(self)
        self._glyph.show_icon(icon(glyph, color))
        self._message.setText(message)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))
        self._replace(buttons)
        self.setAccessibleName(f"{message} {hint}".strip())
        self.show()
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.Alert))

    def dismiss(self) -> None:
        self.hide()
        self.closed.emit()

    def _replace(self, buttons: tuple[QPushButton, ...]) -> None:
        for old in self._buttons:
            old.hide()
            old.deleteLater()
        self._buttons = list(buttons)
        for position, new in enumerate(buttons):
            self._layout.insertWidget(2 + position, new, alignment=Qt.AlignmentFlag.AlignTop)
