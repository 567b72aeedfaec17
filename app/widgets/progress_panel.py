"""How far a job is: a bar, what of what, the tensor, the rate, the time left and the time gone."""

from __future__ import annotations

from PySide6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from app import words
from app.job_record import JobRecord
from app.theme import SIZES
from app.widgets.parts import Elided, label, row
from core import JobState, Progress, PullJob

_STEPS = 1000
_STAGES = {
    "prepare": "Preparing",
    "download": "Downloading",
    "check": "Checking the download",
    "convert": "Converting",
    "encode": "Quantizing",
    "write": "Writing to disk",
    "verify": "Checking the new file",
    "compare": "Comparing",
    "waiting": "Waiting",
    "paused": "Waiting",
}
_ENDINGS = {"pause": "Pausing", "keep": "Stopping", "throw away": "Stopping"}


def stage_in_words(stage: str) -> str:
    return _STAGES.get(stage, stage.capitalize())


def fraction(progress: Progress | None) -> float:
    """How much of the work is done, from 0 to 1: of all stages where that is known, else of the source's bytes."""
    if progress is None:
        return 0.0
    return progress.share or (progress.bytes_done / progress.bytes_total if progress.bytes_total else 0.0)


def stage_of(record: JobRecord) -> str:
    """What a job that runs does; before its first progress, as far as its notes tell."""
    if record.progress is not None:
        return record.progress.stage
    return "prepare" if record.notes and record.notes[-1].startswith("Preparing kernels") else "starting"


def heading_of(record: JobRecord, *, before: int, foreign: bool) -> str:
    """What a job that is not over does, or waits for."""
    name = record.name
    if record.state == JobState.PAUSED:
        return f"{name} was cut off" if record.interrupted else f"{name} is paused"
    if record.state == JobState.PENDING:
        return f"{name} waits for {words.count(before, 'other job')}" if before else f"{name} waits for its turn"
    if record.ending:
        return f"{_ENDINGS.get(record.ending, 'Stopping')} {name}"
    stage = stage_in_words(stage_of(record))
    if foreign:
        return f"{stage} in another window: {name}"
    return f"{stage} without a window: {name}" if record.owner is not None else f"{stage}: {name}"


class ProgressPanel(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.heading = Elided(role="section")
        self.bar = QProgressBar(textVisible=False, maximum=_STEPS)
        self.bar.setAccessibleName("Progress of the job")
        self.amount, self.pace = label(), label()
        self.tensor = Elided(role="small")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addWidget(self.heading)
        layout.addWidget(self.bar)
        layout.addLayout(row(self.amount, 1, self.pace))
        layout.addWidget(self.tensor)

    def show_record(self, record: JobRecord, *, before: int = 0, foreign: bool = False) -> None:
        """`before` counts the jobs that will be done first; `foreign`: another window runs it."""
        self.heading.show_text(heading_of(record, before=before, foreign=foreign))
        progress = record.progress
        starting = progress is None and record.state == JobState.RUNNING
        self.bar.setMaximum(0 if starting else _STEPS)
        self.bar.setValue(round(fraction(progress) * _STEPS))
        if progress is None:
            self.amount.setText(record.notes[-1] if record.notes else "")
            self.pace.setText("")
            self.tensor.show_text("")
        else:
            self._show_progress(progress, record)
        self.bar.setAccessibleDescription(f"{self.amount.text()}, {self.pace.text()}")

    def _show_progress(self, progress: Progress, record: JobRecord) -> None:
        done, total = words.size(progress.bytes_done), words.size(progress.bytes_total)
        kind, verb = ("file", "there") if isinstance(record.job, PullJob) else ("tensor", "read")
        self.amount.setText(f"{done} of {total} {verb}, {kind} {progress.tensors_done} of {progress.tensors_total}")
        if record.state != JobState.RUNNING:
            self.pace.setText("")
            self.tensor.show_text(record.notes[-1] if record.notes else "")
            return
        self.pace.setText(pace_of(progress))
        waits = progress.stage in ("waiting", "paused") and record.notes
        self.tensor.show_text(record.notes[-1] if waits else progress.tensor)


def pace_of(progress: Progress) -> str:
    """Rate, time left, time gone, as far as they are known."""
    left = words.about(progress.eta)
    parts = [
        words.rate(progress.rate) if progress.rate else "",
        f"{left} left" if left else "",
        f"{words.span(progress.elapsed)} so far",
    ]
    return " · ".join(filter(None, parts))
