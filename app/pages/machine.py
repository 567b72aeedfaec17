"""Machine: what this computer has for a model to run on, kept up to date, or what another one would have."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QHideEvent, QKeyEvent, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QVBoxLayout

from app.machine_cards import cards_of, summary
from app.tasks import Tasks
from app.theme import SIZES
from app.widgets.machine_card import MachineCard
from app.widgets.machine_editor import MachineEditor
from app.widgets.page import Page, empty_state
from app.widgets.parts import button, label, row, scrolled

if TYPE_CHECKING:
    from core import Hardware, Measured, Override

EVERY_MS = 2000
_MEASURE_AFTER_MS = 1500


class MachinePage(Page):
    """`detected` carries the machine that verdicts are for, `asked_changed` the figures that a person gave for it.

    `here` is this machine, `hardware` the one that is shown: they differ while another one is asked about, which
    lasts for this session only.
    """

    models_wanted = Signal()
    detected = Signal(object)
    asked_changed = Signal(object)

    def __init__(self, tasks: Tasks) -> None:
        super().__init__("Machine", "What this computer has for a model to run on.")
        self._tasks = tasks
        self.here: Hardware | None = None
        self.hardware: Hardware | None = None
        self.given: Override | None = None
        self._measured: Measured | None = None
        tip = "Give the figures of a machine that is not here (Ctrl+E)"
        self.other = self.add_action(button("Another machine", self.edit, tip=tip))
        self.add_action(button("Copy", self.copy, glyph="copy", tip="Copy everything on this page as text (Ctrl+C)"))
        self.add_action(button("Choose a model", self.models_wanted.emit, role="primary"))
        self._cards: list[MachineCard] = []
        self._grid = QGridLayout()
        self._grid.setSpacing(SIZES.m)
        self.strip, self._strip_text = self._make_strip()
        self.editor = MachineEditor()
        self.editor.asked.connect(self.ask_about)
        self.editor.refused.connect(self.banner.show_problem)
        self.editor.closed.connect(self._close_editor)
        self.editor.hide()
        self.add_state("loading", empty_state("Looking at your machine", "Processor, memory, graphics and disks."))
        layout = QVBoxLayout()
        layout.setSpacing(SIZES.m)
        layout.addWidget(self.editor)
        layout.addLayout(self._grid)
        layout.addStretch()
        self.add_state("content", scrolled(layout, name="Parts of this machine"))
        self._timer = QTimer(self, interval=EVERY_MS)
        self._timer.timeout.connect(self._refresh_quietly)
        keys = QShortcut(QKeySequence("Ctrl+E"), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        keys.activated.connect(self.edit)
        self._later = QTimer(self, singleShot=True, interval=_MEASURE_AFTER_MS)
        self._later.timeout.connect(self._measure)

    def _make_strip(self) -> tuple[QFrame, QLabel]:
        """What says, as long as it is so, that this is not this machine."""
        strip, text = QFrame(), label(role="strong", wrap=True)
        strip.setProperty("role", "banner")
        strip.setProperty("kind", "warning")
        self.back = button("Back to this machine", self.reset, tip="Forget the figures that you gave")
        layout = row(text, self.back, spacing=SIZES.m)
        layout.setStretch(0, 1)
        layout.setContentsMargins(SIZES.m, SIZES.s, SIZES.m, SIZES.s)
        strip.setLayout(layout)
        strip.hide()
        # Above what scrolls, so that it is always in sight.
        frame = self.layout()
        assert isinstance(frame, QVBoxLayout)
        frame.insertWidget(1, strip)
        return strip, text

    # What is shown

    def refresh(self) -> None:
        """Looks again; a look that is still under way is heard instead."""
        if not self._tasks.busy("detect"):
            work = partial(_look, self.given, self._measured)
            self._tasks.run("detect", work, done=self._show_both, failed=self.banner.show_problem)

    def _show_both(self, found: tuple[Hardware, Hardware]) -> None:
        self.here, hardware = found
        self.editor.show_here(self.here)
        self.show_hardware(hardware)

    def show_hardware(self, hardware: Hardware) -> None:
        self.hardware = hardware
        contents = cards_of(hardware)
        if len(self._cards) != len(contents):
            self._build(len(contents))
        for card, content in zip(self._cards, contents, strict=True):
            card.show_content(content)
        self._show_strip(hardware)
        self.show_state("content")
        self.detected.emit(hardware)

    def _show_strip(self, hardware: Hardware) -> None:
        self.strip.setVisible(bool(hardware.given))
        if hardware.given:
            self._strip_text.setText(f"You are asking about another machine: {summary(hardware)}.")
            self.strip.setAccessibleName(self._strip_text.text())

    # Another machine

    def edit(self) -> None:
        """Opens the editor, or closes it when it is open."""
        if not self.editor.isHidden():
            self._close_editor()
            return
        self.editor.show()
        self.editor.fields["ram"].setFocus()

    def _close_editor(self) -> None:
        self.editor.hide()
        self.banner.hide()
        self.other.setFocus()

    def ask_about(self, given: Override) -> None:
        """Shows the machine with these figures instead of its own, until `reset`."""
        self.banner.hide()
        self.given = given if given else None
        self.editor.hide()
        self._look_anew()
        (self.back if self.given else self.other).setFocus()

    def reset(self) -> None:
        """Back to this machine."""
        self.given = None
        self.editor.clear()
        self.editor.hide()
        self._look_anew()
        self.other.setFocus()

    def _look_anew(self) -> None:
        self._tasks.drop("detect")
        self.refresh()
        self.asked_changed.emit(self.given)

    # What the user does

    def copy(self) -> None:
        QGuiApplication.clipboard().setText(self.as_text())
        self.banner.show_message("good", "Copied: everything on this page, as text.")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
            return
        super().keyPressEvent(event)

    def as_text(self) -> str:
        parts = [card.as_text() for card in self._cards]
        return "\n\n".join([self._strip_text.text(), *parts] if self.given else parts)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._timer.start()
        if self._measured is None:
            self._later.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()
        self._later.stop()

    def _refresh_quietly(self) -> None:
        if self.window().isActiveWindow():
            self.refresh()

    def _measure(self) -> None:
        """Once, when the page has been looked at for a while: memory and disk, off this thread."""
        here = self.here
        if here is None or self._measured is not None or self._tasks.busy("measure"):
            return
        self._tasks.run("measure", partial(_measure, here), done=self._take_measured, failed=lambda _: None)

    def _take_measured(self, measured: Measured) -> None:
        self._measured = measured
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


def _look(given: Override | None, measured: Measured | None) -> tuple[Hardware, Hardware]:
    """(this machine, the machine asked about)."""
    import core

    here = core.detect()
    if measured is not None:
        here = core.with_measured(here, measured)
    return here, core.override(here, given) if given else here


def _measure(here: Hardware) -> Measured:
    import core

    return core.measure(here, here.disks[0].path if here.disks else Path.home())
