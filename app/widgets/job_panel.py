"""One job followed from start to end: its progress with Cancel, then what came of it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app.job_facts import facts_of
from app.job_record import JobRecord
from app.theme import SIZES
from app.widgets.facts import Facts
from app.widgets.parts import Elided, button
from app.widgets.progress_panel import ProgressPanel
from app.widgets.verdict_chip import VerdictChip
from core import JobState


def open_folder_of(path: Path) -> None:
    """Shows the folder of `path` in the system's own file browser."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.parent)))


class JobPanel(QWidget):
    """The signals say what the user would like."""

    pause_wanted = Signal()
    resume_wanted = Signal()
    cancel_wanted = Signal()
    retry_wanted = Signal()
    jobs_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._target = Path()
        self.progress = ProgressPanel()
        self.chip, self.name, self.facts = VerdictChip("done"), Elided(role="section"), Facts(pairs=2)
        self._head = QWidget()
        head = QHBoxLayout(self._head)
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(self.chip)
        head.addWidget(self.name, 1)
        self.cancel = button("Cancel", self.cancel_wanted.emit, glyph="stop")
        self.pause = button("Pause", self.pause_wanted.emit, glyph="pause")
        self.resume = button("Resume", self.resume_wanted.emit, glyph="play", tip="Go on from what is done")
        self.open = button("Open folder", lambda: open_folder_of(self._target), glyph="folder")
        self.retry = button("Retry", self.retry_wanted.emit, glyph="retry")
        self.jobs = button("Show in Jobs", self.jobs_wanted.emit, glyph="jobs")
        buttons = QHBoxLayout()
        buttons.setSpacing(SIZES.s)
        for action in (self.open, self.resume, self.retry, self.pause, self.jobs, self.cancel):
            buttons.addWidget(action)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.m)
        for widget in (self.progress, self._head, self.facts):
            layout.addWidget(widget)
        layout.addStretch()
        layout.addLayout(buttons)

    def first_focus(self) -> QPushButton:
        """The button that comes first now."""
        return next(button for button in (self.open, self.resume, self.retry, self.cancel) if not button.isHidden())

    def show_record(self, record: JobRecord, *, before: int) -> None:
        self._target = record.target
        over = record.is_over
        for widget, visible in (
            (self.progress, not over),
            (self._head, over),
            (self.facts, over),
            (self.cancel, not over),
            (self.pause, record.state in (JobState.RUNNING, JobState.PENDING)),
            (self.resume, record.can_resume),
            (self.open, record.state == JobState.DONE),
            (self.retry, over and record.state != JobState.DONE),
        ):
            widget.setVisible(visible)
        for action in (self.cancel, self.pause):
            action.setEnabled(not record.ending)
        if not over:
            self.progress.show_record(record, before=before)
            return
        self.chip.show_chip(str(record.state))
        self.name.show_text(record.name)
        self.facts.show_facts(facts_of(record))
