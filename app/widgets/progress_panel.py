"""How far a job is: a bar, what of what, the tensor, the rate and the time left."""

from __future__ import annotations

from PySide6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from app import words
from app.job_record import JobRecord
from app.theme import SIZES
from app.widgets.parts import Elided, label, row
from core import JobState, Progress

_STEPS = 1000
_STAGES = {"encode": "Quantizing", "write": "Writing to disk", "verify": "Checking the new file"}


def stage_in_words(stage: str) -> str:
    return _STAGES.get(stage, stage.capitalize())


def fraction(progress: Progress | None) -> float:
    """How much of the source has been read, from 0 to 1."""
    return progress.bytes_done / progress.bytes_total if progress and progress.bytes_total else 0.0


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

    def show_record(self, record: JobRecord, *, before: int = 0) -> None:
        """`before` counts the jobs that will be done first."""
        progress, name = record.progress, record.target.name
        if record.state == JobState.PENDING:
            self.heading.show_text(f"{name} waits for {words.count(before, 'other job')}")
        elif record.cancelling:
            self.heading.show_text(f"Stopping {name}")
        else:
            stage = stage_in_words(progress.stage) if progress else "Starting"
            self.heading.show_text(f"{stage}: {name}")
        self._show_progress(progress, record)

    def _show_progress(self, progress: Progress | None, record: JobRecord) -> None:
        waiting = progress is None and record.state == JobState.RUNNING
        self.bar.setMaximum(0 if waiting else _STEPS)
        self.bar.setValue(round(fraction(progress) * _STEPS))
        if progress is None:
            self.amount.setText(record.notes[-1] if record.notes else "")
            self.pace.setText("")
            self.tensor.show_text("")
            return
        done, total = words.size(progress.bytes_done), words.size(progress.bytes_total)
        self.amount.setText(f"{done} of {total} read, tensor {progress.tensors_done} of {progress.tensors_total}")
        left = words.about(progress.eta)
        self.pace.setText(" · ".join(filter(None, [words.rate(progress.rate), f"{left} left" if left else ""])))
        self.tensor.show_text(progress.tensor)
        self.bar.setAccessibleDescription(f"{self.amount.text()}, {self.pace.text()}")
