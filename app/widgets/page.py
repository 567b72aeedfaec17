"""The frame of every page: title, what it is for, primary action at the top right, messages, and what it shows."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QHBoxLayout,
    QPlainTextEdit,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.theme import SIZES
from app.widgets.banner import Banner
from app.widgets.parts import button, column, holder, label

_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class Page(QWidget):
    """Shows one of `empty`, `loading` and `content`; an error is a banner above them, so that nothing is lost by it."""

    def __init__(self, title: str, purpose: str) -> None:
        super().__init__()
        self.setProperty("role", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAccessibleName(title)
        self.title = label(title, role="title")
        self.purpose = label(purpose, role="muted", wrap=True)
        self.banner = Banner()
        self.banner.closed.connect(self._keep_focus)
        self.primary: QPushButton | None = None
        self._top = QHBoxLayout()
        self._top.setSpacing(SIZES.s)
        self._top.addLayout(column(self.title, self.purpose, spacing=SIZES.xs), 1)
        self._states = QStackedWidget()
        self._named: dict[str, QWidget] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIZES.xl, SIZES.l, SIZES.xl, SIZES.l)
        layout.setSpacing(SIZES.m)
        layout.addLayout(self._top)
        layout.addWidget(self.banner)
        layout.addWidget(self._states, 1)

    def add_action(self, widget: QPushButton) -> QPushButton:
        """One more button at the top right; the one of the role primary is what Enter does."""
        self._top.addWidget(widget, alignment=Qt.AlignmentFlag.AlignTop)
        if widget.property("role") == "primary":
            self.primary = widget
        return widget

    def add_state(self, name: str, widget: QWidget) -> None:
        self._named[name] = widget
        self._states.addWidget(widget)

    def show_state(self, name: str) -> None:
        self._states.setCurrentWidget(self._named[name])

    @property
    def state(self) -> str:
        return next(name for name, widget in self._named.items() if widget is self._states.currentWidget())

    def cancel(self) -> None:
        """What Escape does: a page with more to cancel says so."""
        if not self.banner.isHidden():
            self.banner.dismiss()

    def act(self) -> None:
        """What Enter does."""
        if self.primary is not None and self.primary.isEnabled() and self.primary.isVisible():
            self.primary.click()

    def first_focus(self) -> QWidget | None:
        """Where the keyboard starts on this page."""
        return self.primary

    def keyPressEvent(self, event: QKeyEvent) -> None:
        focus = QApplication.focusWidget()
        if event.key() == Qt.Key.Key_Escape:
            self.cancel()
        elif event.key() not in _ENTER or isinstance(focus, QAbstractSpinBox | QPlainTextEdit):
            super().keyPressEvent(event)
        elif isinstance(focus, QAbstractButton):
            focus.click()
        else:
            self.act()

    def _keep_focus(self) -> None:
        """The button that was in focus may be gone with the banner: the keyboard stays on this page all the same."""
        focus = QApplication.focusWidget()
        if focus is None or not self.isAncestorOf(focus):
            self.take_focus()

    def take_focus(self) -> None:
        """Moves the keyboard to where it starts on this page."""
        if (target := self.first_focus()) is not None:
            target.setFocus(Qt.FocusReason.OtherFocusReason)


def empty_state(heading: str, sentence: str, action: str = "", clicked: Callable[[], object] = lambda: None) -> QWidget:
    """What a page shows when there is nothing yet: why, and the one thing to do about it."""
    words = [label(heading, role="heading"), label(sentence, role="muted", wrap=True)]
    for word in words:
        word.setAlignment(Qt.AlignmentFlag.AlignHCenter)
    layout = column(2, *words, spacing=SIZES.m)
    if action:
        layout.addWidget(button(action, clicked, role="primary"), alignment=Qt.AlignmentFlag.AlignHCenter)
    layout.addStretch(3)
    return holder(layout)
