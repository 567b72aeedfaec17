"""One of a few: side by side where there is room for the words, or behind a button with a menu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QKeyEvent
from PySide6.QtWidgets import QButtonGroup, QMenu, QPushButton, QSizePolicy, QWidget

from app.theme import SIZES
from app.widgets.parts import row


@dataclass(frozen=True, slots=True)
class Choice:
    """`key` is what it is called in code, `word` what is seen, `tip` what it means."""

    key: str
    word: str
    tip: str = ""


class Segments(QWidget):
    """All choices in sight; Tab reaches the chosen one, arrow keys choose another."""

    changed = Signal(str)

    def __init__(self, name: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._choices = list(choices)
        self._group = QButtonGroup(self)
        buttons = [self._segment(name, choice) for choice in choices]
        for number, segment in enumerate(buttons):
            self._group.addButton(segment, number)
        self.setLayout(row(*buttons, spacing=SIZES.xs))
        self._group.idToggled.connect(self._toggled)

    def _segment(self, name: str, choice: Choice) -> QPushButton:
        segment = QPushButton(choice.word)
        segment.setProperty("role", "segment")
        segment.setCheckable(True)
        segment.setToolTip(choice.tip)
        segment.setAccessibleName(f"{name}: {choice.word}")
        segment.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        return segment

    @property
    def key(self) -> str:
        number = self._group.checkedId()
        return self._choices[max(0, number)].key

    def choose(self, key: str) -> None:
        """Chooses `key`, or the first where there is no such choice."""
        keys = [choice.key for choice in self._choices]
        self._group.button(keys.index(key) if key in keys else 0).setChecked(True)

    def _toggled(self, number: int, checked: bool) -> None:
        if checked:
            self.changed.emit(self._choices[number].key)


class _MenuButton(QPushButton):
    """A button whose Up and Down are for its owner; others would move the focus."""

    stepped = Signal(int)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()), 0)
        if step:
            self.stepped.emit(step)
            return
        super().keyPressEvent(event)


class MenuChoice(QWidget):
    """A button that shows what is chosen and opens the rest; Up and Down go through them."""

    changed = Signal(str)

    def __init__(self, name: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._name, self._choices, self.key = name, list(choices), choices[0].key
        self.button = _MenuButton()
        self.button.setProperty("role", "menu")
        self.button.stepped.connect(self._step)
        menu = QMenu(self.button)
        menu.setAccessibleName(name)
        menu.setToolTipsVisible(True)
        self._actions = QActionGroup(menu)
        for choice in choices:
            action = QAction(choice.word, self._actions, checkable=True)
            action.setToolTip(choice.tip)
            action.triggered.connect(lambda _=False, key=choice.key: self.choose(key))
            menu.addAction(action)
        self.button.setMenu(menu)
        self.setFocusProxy(self.button)
        self.setLayout(row(self.button))
        self._show()

    def choose(self, key: str) -> None:
        """Chooses `key`; one that is not offered changes nothing."""
        if key == self.key or key not in [choice.key for choice in self._choices]:
            return
        self.key = key
        self._show()
        self.changed.emit(key)

    def _show(self) -> None:
        position = self._position()
        choice = self._choices[position]
        self._actions.actions()[position].setChecked(True)
        self.button.setText(f"  {choice.word}")  # Qt heeds no padding beside the arrow of a menu
        self.button.setToolTip("\n".join(filter(None, [self._name, choice.tip])))
        self.button.setAccessibleName(f"{self._name}: {choice.word}")

    def _position(self) -> int:
        return next(i for i, choice in enumerate(self._choices) if choice.key == self.key)

    def _step(self, step: int) -> None:
        position = min(max(0, self._position() + step), len(self._choices) - 1)
        self.choose(self._choices[position].key)
