"""One job followed from start to end: its progress with Cancel, then what came of it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app import words
from app.job_record import JobRecord
from app.theme import SIZES
from app.widgets.facts import Facts
from app.widgets.parts import Elided, button
from app.widgets.progress_panel import ProgressPanel
from app.widgets.verdict_chip import VerdictChip
from core import JobState, QuantizeJob


def open_folder_of(path: Path) -> None:
    """Shows the folder of `path` in the system's own file browser."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.parent)))


def result_facts(record: JobRecord) -> list[tuple[str, str]]:
    """What came of a job, in words."""
    if record.failure is not None:
        facts = [("What happened", record.failure.message), ("What to do", record.failure.hint)]
        return [fact for fact in facts if fact[1]]
    result = record.result
    if not result:
        return []
    job = record.job
    if not isinstance(job, QuantizeJob):
        return _download_facts(record)
    worst = max(result.get("errors") or [], key=lambda error: float(error["rmse"]), default=None)
    formats = ", ".join(f"{count} {name}" for name, count in (result.get("formats") or {}).items())
    facts = [
        ("File", words.path(result.get("target", job.target))),
        *(("And", words.path(str(other.get("target", "")))) for other in result.get("also") or ()),
        ("Size", f"{words.size(result.get('file_bytes', 0))}, {words.exact(int(result.get('file_bytes', 0)))}"),
        ("Bits a weight", f"{float(result.get('bits_per_weight', 0)):.2f}"),
        ("Checked", "Whole and finite; sampled against the source"),
        ("Worst tensor", f"{worst['name']}, off by {worst['rmse']:.2%}" if worst else ""),
        ("Tensors", formats),
        ("Search", "Longer, for less error" if job.effort == "best" else ""),
        ("Importance", words.path(job.imatrix) if job.imatrix else ""),
        ("Took", words.span(record.seconds or 0.0)),
    ]
    return [fact for fact in facts if fact[1]]


def _download_facts(record: JobRecord) -> list[tuple[str, str]]:
    result = record.result
    return [
        ("Model", record.model),
        ("Folder", words.path(str(result.get("folder", "")))),
        ("Size", words.size(float(result.get("bytes", 0)))),
        ("Fetched", words.size(float(result.get("fetched", 0)))),
        ("Checked", "Every file has the hash that the Hub names"),
        ("Took", words.span(record.seconds or 0.0)),
    ]


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
        self.facts.show_facts(result_facts(record))
