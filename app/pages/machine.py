"""Machine: what this computer has for a model to run on, kept up to date while one looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QGuiApplication, QHideEvent, QKeyEvent, QKeySequence, QShowEvent
from PySide6.QtWidgets import QGridLayout, QVBoxLayout

from app.machine_cards import cards_of
from app.tasks import Tasks
from app.theme import SIZES
from app.widgets.machine_card import MachineCard
from app.widgets.page import Page, empty_state
from app.widgets.parts import button, scrolled

if TYPE_CHECKING:
    from core import Hardware

EVERY_MS = 2000


class MachinePage(Page):
    models_wanted = Signal()
    detected = Signal(object)

    def __init__(self, tasks: Tasks) -> None:
        super().__init__("Machine", "What this computer has for a model to run on.")
        self._tasks = tasks
        self.hardware: Hardware | None = None
        self.add_action(button("Copy", self.copy, glyph="copy", tip="Copy everything on this page as text (Ctrl+C)"))
        self.add_action(button("Refresh", self.refresh, glyph="refresh", tip="Look again (F5)"))
        self.add_action(button("Choose a model", self.models_wanted.emit, role="primary"))
        self._cards: list[MachineCard] = []
        self._grid = QGridLayout()
        self._grid.setSpacing(SIZES.m)
        self.add_state("loading", empty_state("Looking at your machine", "Processor, memory, graphics and disks."))
        layout = QVBoxLayout()
        layout.addLayout(self._grid)
        layout.addStretch()
        self.add_state("content", scrolled(layout, name="Parts of this machine"))
        self._timer = QTimer(self, interval=EVERY_MS)
        self._timer.timeout.connect(self._refresh_quietly)

    def refresh(self) -> None:
        """Looks again; a look that is still under way is heard instead."""
        if not self._tasks.busy("detect"):
            self._tasks.run("detect", _detect, done=self.show_hardware, failed=self.banner.show_problem)

    def show_hardware(self, hardware: Hardware) -> None:
        self.hardware = hardware
        contents = cards_of(hardware)
        if len(self._cards) != len(contents):
            self._build(len(contents))
        for card, content in zip(self._cards, contents, strict=True):
            card.show_content(content)
        self.show_state("content")
        self.detected.emit(hardware)

    def copy(self) -> None:
        QGuiApplication.clipboard().setText(self.as_text())
        self.banner.show_message("good", "Copied: everything on this page, as text.")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
            return
        super().keyPressEvent(event)

    def as_text(self) -> str:
        return "\n\n".join(card.as_text() for card in self._cards)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def _refresh_quietly(self) -> None:
        if self.window().isActiveWindow():
            self.refresh()

    def _build(self, count: int) -> None:
        for card in self._cards:
            card.hide()
            card.deleteLater()
        self._cards = [MachineCard() for _ in range(count)]
        for position, card in enumerate(self._cards):
            self._grid.addWidget(card, position // 2, position % 2)
        for side in range(2):
            self._grid.setColumnStretch(side, 1)


def _detect() -> Hardware:
    import core

    return core.detect()
