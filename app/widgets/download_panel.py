"""A download under way: how far, how fast, how long still; pause and cancel."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QProgressBar, QVBoxLayout

from app import words
from app.job_record import JobRecord
from app.theme import SIZES
from app.widgets.parts import Elided, button, label, row
from core import JobState

_STEPS = 1000
_STAGES = {"download": "Downloading", "check": "Checking", "paused": "Paused"}


class DownloadPanel(QFrame):
    """Hidden while nothing is downloaded."""

    pause_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.heading = Elided(role="section")
        self.bar = QProgressBar(textVisible=False, maximum=_STEPS)
        self.bar.setAccessibleName("Progress of the download")
        self.amount, self.pace = label(role="muted"), label(role="muted")
        self.amount.setMinimumWidth(1)  # a long note is cut off before the window grows for it
        self.pause = button("Pause", self.pause_wanted.emit)
        self.cancel = button("Cancel", self.cancel_wanted.emit, glyph="stop")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIZES.m, SIZES.s, SIZES.m, SIZES.s)
        layout.setSpacing(SIZES.xs)
        head = row(self.pause, self.cancel)
        head.insertWidget(0, self.heading, 1)
        layout.addLayout(head)
        layout.addWidget(self.bar)
        layout.addLayout(row(self.amount, 1, self.pace))
        self.hide()

    def show_record(self, record: JobRecord, *, more: int = 0) -> None:
        """A download that runs or waits, and how many more wait behind it."""
        is_paused, is_ending = record.state == JobState.PAUSED, bool(record.ending)
        self.heading.show_text(f"{_heading(record)}{f'; {more} more' if more else ''}")
        self.pause.setText("Go on" if is_paused else "Pause")
        self.pause.setEnabled(not is_ending)
        self.cancel.setEnabled(not is_ending)
        progress = record.progress
        self.bar.setMaximum(0 if progress is None and record.state == JobState.RUNNING else _STEPS)
        if progress is None:
            self.bar.setValue(0)
            self.amount.setText(record.notes[-1] if record.notes else "Looking at what is there already")
            self.pace.setText("")
            return
        done, total = progress.bytes_done, progress.bytes_total
        self.bar.setValue(round(_STEPS * done / total) if total else 0)
        files = f"file {min(progress.tensors_done + 1, progress.tensors_total)} of {progress.tensors_total}"
        self.amount.setText(f"{words.size(done)} of {words.size(total)}, {files}")
        if progress.stage == "waiting" and record.notes:
            self.amount.setText(record.notes[-1])
        left = words.about(progress.eta)
        moving = progress.stage == "download" and record.state == JobState.RUNNING
        parts = [words.rate(progress.rate), left and f"{left} left"] if moving else []
        self.pace.setText(" · ".join(filter(None, parts)))
        self.bar.setAccessibleDescription(f"{self.amount.text()}, {self.pace.text()}")


def _heading(record: JobRecord) -> str:
    if record.ending:
        return f"Stopping {record.model}"
    if record.state == JobState.RUNNING:
        return f"{_STAGES.get(record.progress.stage if record.progress else '', 'Downloading')} {record.model}"
    return f"Paused {record.model}" if record.state == JobState.PAUSED else f"{record.model} waits for its turn"
