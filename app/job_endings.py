"""How a job ends that no worker ends: the words for it, and what becomes of the work."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread

from app.job_record import NEVER_BEGAN, JobRecord, read_record
from core import Event, Failed, Job, JobState, Paused, QuantizeJob, ReproduceJob, SnugError, Stop

CANCELLED = Failed("Cancelled.", "Nothing was left behind.", cancelled=True)
KEPT = Failed("Cancelled. What was done is kept.", "Resume goes on from there.", cancelled=True, resumable=True)
PAUSED = Paused("Paused. What is done stays.")
NOT_BEGUN = Paused("Paused before it began.")
_BEFORE: dict[str, Event] = {Stop.THROW_AWAY: NEVER_BEGAN, Stop.KEEP: NEVER_BEGAN, Stop.PAUSE: NOT_BEGUN}
_AFTER: dict[str, Event] = {Stop.THROW_AWAY: CANCELLED, Stop.KEEP: KEPT, Stop.PAUSE: PAUSED}


def ending_of(record: JobRecord, failure: Failed) -> Event:
    """How a job ended whose worker is gone without a word: as the user wished, or with `failure`."""
    if record.progress is None and not record.resume:
        return _BEFORE.get(record.ending, failure)
    return _AFTER.get(record.ending, failure)


def mend_history(record: JobRecord) -> None:
    """Makes up for an ending that the worker could not write, as on a full disk."""
    with suppress(OSError, ValueError, TypeError):
        ending = record.failure or (PAUSED if record.state == JobState.PAUSED else None)
        if ending is not None and read_record(record.folder).interrupted:
            record.folder.append(ending, sync=True)


def has_written(record: JobRecord) -> bool:
    """Whether it may have left something: until its first Progress, what lies under its names is an earlier job's."""
    is_early = not isinstance(record.job, QuantizeJob)  # others have a folder or a part before they say so
    return record.started is not None and (is_early or record.progress is not None)


def sweep(job: Job) -> Thread:
    """Throws away what a job has left, in a thread: the file may be large."""
    thread = Thread(target=_sweep, args=(job,), name="snug-sweep", daemon=True)
    thread.start()
    return thread


def _sweep(job: Job) -> None:
    import core  # only here: a window that starts needs none of it

    with suppress(OSError, SnugError):
        if isinstance(job, QuantizeJob):
            for each in job.each:
                with suppress(OSError, SnugError):
                    core.throw_away(each.target)
        elif isinstance(job, ReproduceJob):
            core.drop_reproduction(job)
        else:
            core.drop_download(job)
