"""What a window knows of one job: the fold of its events. Pure: every ending can be tested without a process."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core import ENDED, Done, Event, Failed, JobFolder, JobState, Note, Paused, Progress, QuantizeJob, all_jobs


@dataclass(frozen=True)
class JobRecord:
    """`started` and `ended` are seconds since the epoch, or None while it has not come to that."""

    folder: JobFolder
    job: QuantizeJob
    state: JobState = JobState.PENDING
    cancelling: bool = False
    progress: Progress | None = None
    started: float | None = None
    ended: float | None = None
    notes: tuple[str, ...] = ()
    result: dict[str, Any] = field(default_factory=dict)
    failure: Failed | None = None

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    @property
    def target(self) -> Path:
        return Path(self.job.target)

    @property
    def model(self) -> str:
        return Path(self.job.source).name

    @property
    def seconds(self) -> float | None:
        """How long it ran, or has run so far by its own account."""
        if self.started is None:
            return None
        if self.ended is not None:
            return self.ended - self.started
        return self.progress.elapsed if self.progress else None


def after(record: JobRecord, event: Event, moment: float) -> JobRecord:
    """The record after one more event."""
    if record.is_over:
        return record
    if isinstance(event, Note):
        return replace(record, notes=(*record.notes, event.text))
    if isinstance(event, Progress):
        return replace(record, state=JobState.RUNNING, progress=event, started=record.started or moment)
    if isinstance(event, Done):
        return replace(record, state=JobState.DONE, result=event.result, ended=moment, cancelling=False)
    if isinstance(event, Paused):
        return replace(record, state=JobState.PAUSED, notes=(*record.notes, event.message), cancelling=False)
    state = JobState.CANCELLED if event.cancelled else JobState.FAILED
    return replace(record, state=state, failure=event, ended=moment, cancelling=False)


NEVER_BEGAN = Failed("It had not begun when Snug was closed.", "Retry starts it.", cancelled=True)
LOST = Failed("Snug was closed, or stopped, while it ran.", "Retry starts it again from the beginning.")


def read_record(folder: JobFolder) -> JobRecord:
    """A job of an earlier session. One that never ended is over all the same: nobody is working on it any more.

    Raises ValueError, TypeError or OSError when job.json cannot be read.
    """
    record = JobRecord(folder, folder.read_job())
    last = None
    for moment, event in folder.events():
        record, last = after(record, event, moment), moment
    if record.is_over:
        return record
    ending = NEVER_BEGAN if record.state == JobState.PENDING else LOST
    return after(record, ending, last or folder.path.stat().st_mtime)


def read_records(root: Path) -> list[JobRecord]:
    """Every job under `root`, oldest first; a folder that cannot be read is passed over."""
    records = []
    for folder in all_jobs(root):
        with suppress(OSError, ValueError, TypeError, RecursionError):
            records.append(read_record(folder))
    return records
