"""What a window knows of one job: the fold of its events. Pure: every ending can be tested without a process."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core import (
    ENDED,
    Begun,
    Done,
    Event,
    Failed,
    Job,
    JobFolder,
    JobState,
    Note,
    Owner,
    Paused,
    Progress,
    PullJob,
    QuantizeJob,
    ReproduceJob,
    all_jobs,
    model_name,
)

MOST_NOTES = 200  # of each job; the folder has them all


@dataclass(frozen=True)
class JobRecord:
    """`started` and `ended` are seconds since the epoch, or None while it has not come to that.

    `resume`: what an earlier run has left is there to go on with. `ending`: how the user wants it to end, while it
    still runs. `owner`: the process that works on it, when that is none of this window's own workers. `tries`: how
    often it was begun since it last came to an ending. `read`: bytes of its history that this record knows.
    """

    folder: JobFolder
    job: Job
    state: JobState = JobState.PENDING
    ending: str = ""
    resume: bool = False
    interrupted: bool = False
    progress: Progress | None = None
    started: float | None = None
    ended: float | None = None
    notes: tuple[str, ...] = ()
    result: dict[str, Any] = field(default_factory=dict)
    failure: Failed | None = None
    owner: Owner | None = None
    tries: int = 0
    read: int = 0

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    @property
    def can_resume(self) -> bool:
        """Whether going on makes sense: it is paused, or it failed of something that leaves the work whole."""
        failed = self.failure is not None and self.failure.resumable
        return self.state == JobState.PAUSED or (self.is_over and failed)

    @property
    def target(self) -> Path:
        """The file to be made, or made again; of a download, its model's name."""
        if isinstance(self.job, ReproduceJob):
            return Path(self.job.file)
        return Path(self.job.target if isinstance(self.job, QuantizeJob) else self.model)

    @property
    def targets(self) -> tuple[Path, ...]:
        """All files to be made, and to stay."""
        return tuple(Path(each.target) for each in self.job.each) if isinstance(self.job, QuantizeJob) else ()

    @property
    def made(self) -> list[dict[str, Any]]:
        """What is told of each file that it has made."""
        also = self.result.get("also")
        others = [other for other in also if isinstance(other, dict)] if isinstance(also, list) else []
        return [self.result, *others] if self.result else []

    @property
    def name(self) -> str:
        if isinstance(self.job, PullJob):
            return f"Download of {self.model}"
        if isinstance(self.job, ReproduceJob):
            return f"{self.target.name} once more"
        return f"{self.target.name} and {len(self.job.also)} more" if self.job.also else self.target.name

    @property
    def model(self) -> str:
        return model_name(self.job.source)

    @property
    def recipe(self) -> str:
        if isinstance(self.job, PullJob):
            return self.job.choice
        if isinstance(self.job, ReproduceJob):
            return str(self.result.get("recipe", ""))
        return ", ".join(each.recipe for each in self.job.each)

    @property
    def seconds(self) -> float | None:
        """How long it ran, or has run so far, by the worker's own clock: the machine's may have been set meanwhile."""
        if self.started is None:
            return None
        if isinstance(own := self.result.get("seconds"), int | float):
            return float(own)
        if self.progress is not None and (not self.is_over or self.ended is None):
            return self.progress.elapsed
        return max(0.0, self.ended - self.started) if self.ended is not None else None


def after(record: JobRecord, event: Event, moment: float) -> JobRecord:
    """The record after one more event. Nothing but a new beginning follows an ending."""
    if isinstance(event, Begun):
        return begun(record, moment, resume=event.resume)
    if record.is_over:
        return record
    if isinstance(event, Note):
        return replace(record, notes=(*record.notes, event.text)[-MOST_NOTES:])
    if isinstance(event, Progress):
        return replace(record, state=JobState.RUNNING, progress=event, started=record.started or moment)
    if isinstance(event, Paused):
        notes = (*record.notes, event.message)[-MOST_NOTES:]
        return replace(record, state=JobState.PAUSED, notes=notes, ending="", resume=True, interrupted=False, tries=0)
    ended = replace(record, ended=moment, ending="", interrupted=False, tries=0)
    if isinstance(event, Done):
        return replace(ended, state=JobState.DONE, result=event.result)
    state = JobState.CANCELLED if event.cancelled else JobState.FAILED
    return replace(ended, state=state, failure=event, result=event.result)


def begun(record: JobRecord, moment: float, *, resume: bool) -> JobRecord:
    """The record of a job that a worker has taken up, for the first time or once more."""
    return replace(
        record,
        state=JobState.RUNNING,
        started=moment,
        ended=None,
        ending="",
        result={},
        failure=None,
        resume=resume,
        interrupted=False,
        tries=record.tries + 1,
        progress=record.progress if resume else None,
    )


NEVER_BEGAN = Failed("It had not begun when it was cancelled.", "Retry starts it.", cancelled=True)
INTERRUPTED = "Snug or the machine stopped while it ran. What was done by then is kept."


def read_record(folder: JobFolder) -> JobRecord:
    """A job as its folder tells of it. One that somebody works on runs; one that was cut off can go on.

    Raises ValueError, TypeError or OSError when job.json cannot be read.
    """
    record = JobRecord(folder, folder.read_job())
    owner = folder.owner()  # before the events: a worker that ends meanwhile has written its ending by then
    events, read = folder.events_after(0)
    for moment, event in events:
        record = after(record, event, moment)
    record = replace(record, read=read)
    if owner is not None:
        return replace(record, state=JobState.RUNNING, owner=owner, progress=folder.shown_progress() or record.progress)
    return interrupted(record)


def interrupted(record: JobRecord) -> JobRecord:
    """The record of a job that nobody works on: what ran by its own account was cut off, and waits to go on."""
    if record.state != JobState.RUNNING:
        return replace(record, owner=None)
    notes = record.notes if INTERRUPTED in record.notes[-1:] else (*record.notes, INTERRUPTED)
    return replace(
        record, state=JobState.PAUSED, resume=True, interrupted=True, owner=None, ending="", notes=notes[-MOST_NOTES:]
    )


def read_records(root: Path) -> list[JobRecord]:
    """Every job under `root`, oldest first; a folder that cannot be read is passed over."""
    records = []
    for folder in all_jobs(root):
        with suppress(OSError, ValueError, TypeError, RecursionError):
            records.append(read_record(folder))
    return records
