"""The jobs: their folders, their order, and one worker a lane. What a worker says becomes a record and a signal.

Of several windows on the same folder, the first runs the jobs; the others show what becomes of them, and put new ones
into the folder, where the first finds them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from app.job_endings import CANCELLED, KEPT, NOT_BEGUN, ending_of, has_written, mend_history, sweep
from app.job_line import copy_of, for_model, outputs_of, startable, unmade
from app.job_list import JobList
from app.job_record import NEVER_BEGAN, JobRecord, after, begun, interrupted
from app.job_watch import FirstWindow, JobWatch, read_again
from app.job_workers import Workers
from app.worker_process import PATIENCE_MS
from core import (
    Event,
    Failed,
    Job,
    JobFolder,
    JobState,
    KeptQueue,
    Limits,
    Owner,
    Progress,
    QuantizeJob,
    ReproduceJob,
    SnugError,
    Stop,
    create,
    read_queue,
    write_job,
    write_queue,
)

LOOK_MS = 2000
SOON_MS = 20
MOST_LOOKED_AT = 50
MOST_TRIES = 5
CLOSE_MS = 4000


class Closing(StrEnum):
    """What becomes of the work when the window closes."""

    PAUSE = "pause"
    DETACH = "detach"
    CANCEL = "cancel"


class JobQueue(QObject):
    """Signals carry the id of a job; `listed`: many have changed; `turned`: the queue as a whole waits, or goes on;
    `idle`: the last job that could run is over."""

    listed = Signal()
    added = Signal(str)
    changed = Signal(str)
    progress = Signal(str)
    finished = Signal(str)
    removed = Signal(str)
    turned = Signal()
    idle = Signal()

    def __init__(
        self, root: Path, *, command: Sequence[str] = (), listing: bool = False, parent: QObject | None = None
    ) -> None:
        """`listing`: nothing starts before add_earlier has said what is there already."""
        super().__init__(parent)
        self._root = root
        self._jobs = JobList()
        self._workers = Workers(command, self)
        self._workers.heard.connect(self._take)
        self._workers.ended.connect(self._worker_ended)
        self._workers.left.connect(self._nobody_works)
        self._workers.owned.connect(self._owned)
        self._hasty: set[str] = set()  # told to go on before they had paused
        self._kept = KeptQueue()
        self._written: KeptQueue | None = None
        self._first, self._watch = FirstWindow(root), JobWatch(root)
        self._listing, self._closed = listing, False
        self.limits, self.resumes_by_itself = Limits(), True
        self._looker = QTimer(self, interval=LOOK_MS)
        self._looker.timeout.connect(self._look)
        self._looker.start()

    # What is there

    def add_earlier(self, records: Sequence[JobRecord]) -> None:
        """Lists jobs of earlier sessions before those of this one; what was cut off goes on, if that is wished."""
        kept, held = read_queue(self._root), self._kept.held  # who has paused all meanwhile means it
        self._kept = replace(kept, held=kept.held or held)
        for record in self._jobs.put_earlier(records, self._kept.order):
            self._take_up(record)
        self._listing = False
        self.listed.emit()
        self.turned.emit()
        self._start_next()

    def _take_up(self, record: JobRecord) -> None:
        """Follows a job that somebody works on; lets one go on that was cut off, or was to go on."""
        if record.owner is not None:
            self._workers.follow(record)
        elif record.state == JobState.PAUSED and self.is_first and self._goes_on(record):
            self._jobs.put(replace(record, state=JobState.PENDING))

    def _goes_on(self, record: JobRecord) -> bool:
        if record.interrupted:
            return self.resumes_by_itself and record.tries < MOST_TRIES
        return record.id in self._kept.waiting and not self._kept.held

    def records(self) -> list[JobRecord]:
        """Those that run, those that wait in the order in which they will be done, then what is over, newest first."""
        return self._jobs.all()

    def record(self, id: str) -> JobRecord | None:
        return self._jobs.get(id)

    def open_jobs(self) -> list[JobRecord]:
        """Those that run, wait or are paused, in the order in which they will be done."""
        return self._jobs.open_jobs()

    def running(self) -> list[JobRecord]:
        """Those that this window answers for: its own, and those that work without a window."""
        return [
            record for record in self.open_jobs() if record.state == JobState.RUNNING and not self.is_foreign(record)
        ]

    def silent_for(self, id: str) -> float:
        """Seconds since the worker of a running job last said anything."""
        return self._workers.silent_for(id)

    @property
    def is_working(self) -> bool:
        """Whether there is a process that works on a job, or has just done so."""
        return len(self._workers) > 0

    @property
    def is_held(self) -> bool:
        """Whether nothing starts by itself until `go_on`."""
        return self._kept.held

    def is_foreign(self, record: JobRecord) -> bool:
        """Whether another window runs this job."""
        if record.owner is None or record.owner.window == 0:
            return False
        return not self.is_first or record.owner.window != os.getpid()

    # New jobs

    def add(self, job: Job) -> JobRecord:
        """Puts `job` at the end of the queue. Raises SnugError when another open job writes the same file."""
        return self.add_all([job])[0]

    def add_all(self, jobs: Sequence[Job]) -> list[JobRecord]:
        """Puts all of them at the end of the queue, or none. Raises SnugError as `add` does, and OSError."""
        taken = self._jobs.taken()
        for job in jobs:
            if outputs_of(job) & taken:
                raise SnugError(f"Another job is already making {_name_of(job)}.", "Choose another name or wait.")
            taken |= outputs_of(job)
        records = [JobRecord(create(self._root, job), job) for job in jobs]
        for record in records:
            self._jobs.put(record)
        if len(records) == 1:
            self.added.emit(records[0].id)
        else:
            self.listed.emit()
        self._start_next()
        return [self._jobs[record.id] for record in records]

    def retry(self, id: str) -> JobRecord:
        """The same job once more from its beginning, as a new one; of several targets, those that are not made."""
        return self.add(unmade(self._jobs[id].job, self._jobs[id].result))

    def duplicate(self, id: str) -> JobRecord:
        """The same job for another file."""
        return self.add(copy_of(self._jobs[id].job, self._jobs.taken()))

    def repeat(self, id: str, source: str) -> JobRecord:
        """The same job for another model."""
        job = self._jobs[id].job
        assert isinstance(job, QuantizeJob)
        return self.add(for_model(job, source, self._jobs.taken()))

    def change(self, id: str, job: Job) -> JobRecord:
        """Another job in the place of one that has not begun. Raises SnugError when it has, and OSError."""
        record = self._jobs[id]
        if record.started is not None or record.is_over or not self._is_ours(record.folder):
            raise SnugError(f"{record.name} has begun meanwhile.", "Make the file under another name.")
        if outputs_of(job) & self._jobs.taken(but=id):
            raise SnugError(f"Another job is already making {_name_of(job)}.", "Choose another name or wait.")
        write_job(record.folder, job)
        self._change(replace(record, job=job))
        return self._jobs[id]

    # What becomes of a job

    def pause(self, id: str) -> None:
        """Stops a job, and keeps what it has done; one that waits is passed over. Returns at once."""
        self._hasty.discard(id)
        record = self._jobs.get(id)
        if record is None or record.is_over or record.state == JobState.PAUSED:
            return
        if record.state == JobState.RUNNING:
            self._stop(record, Stop.PAUSE)
        elif record.resume:  # it is paused on disk already
            self._change(replace(record, state=JobState.PAUSED))
        elif self._is_ours(record.folder):
            self._tell(id, NOT_BEGUN)
        self._start_next()

    def resume(self, id: str) -> None:
        """Lets a job go on in its turn, from what is done. Raises SnugError where that is not for this window to do."""
        record = self._jobs.get(id)
        if record is None or not record.can_resume:
            return
        if not self.is_first:
            raise SnugError("Another window of Snug runs the jobs.", f"Let {record.name} go on there.")
        if record.is_over and outputs_of(record.job) & self._jobs.taken():
            raise SnugError(f"Another job is already making {record.name}.", "Wait for it, or cancel it.")
        self._change(replace(record, state=JobState.PENDING, resume=True, interrupted=False, failure=None, ended=None))
        self.listed.emit()
        self._start_next()

    def cancel(self, id: str, stop: Stop = Stop.THROW_AWAY) -> None:
        """Ends a job that runs or waits. Returns at once; `finished` follows within a second."""
        record = self._jobs.get(id)
        if record is None or record.is_over:
            return
        if record.state == JobState.RUNNING:
            self._stop(record, stop)
        elif id in self._workers:  # it has said how it ends, and is about to
            QTimer.singleShot(SOON_MS, self, lambda: self.cancel(id, stop))
        elif self._is_ours(record.folder):
            if stop == Stop.THROW_AWAY:
                self._sweep(record)
            ending = KEPT if stop == Stop.KEEP else CANCELLED
            self._tell(id, NEVER_BEGAN if record.started is None else ending)
        self._start_next()

    def remove(self, id: str) -> None:
        """Takes a job that is over off the list, with its folder; what it made stays. What is kept of a file that was
        only to be compared goes: nobody else could go on with it.
        """
        record = self._jobs.get(id)
        if record is None or not record.is_over:
            return
        if isinstance(record.job, ReproduceJob) and not outputs_of(record.job) & self._jobs.taken():
            self._sweep(record)
        shutil.rmtree(record.folder.path, ignore_errors=True)
        self._jobs.drop(id)
        self.removed.emit(id)

    def move(self, id: str, before: str) -> None:
        """Puts a job that waits before another one, or at the end of the line."""
        if self._jobs.move(id, before):
            self.listed.emit()
            self._keep()
            self._start_next()

    def hold(self) -> None:
        """Pauses all that runs, and starts nothing by itself until `go_on`."""
        ids = [record.id for record in self.running()]
        self._kept = replace(self._kept, held=True, waiting=tuple(ids))
        for id in ids:
            self.pause(id)
        self._keep()
        self.turned.emit()

    def go_on(self) -> None:
        """Ends `hold`: what was paused by it goes on; what is still about to pause, as soon as it has."""
        waiting = self._kept.waiting
        self._hasty = {id for id in waiting if (record := self.record(id)) and record.ending == Stop.PAUSE}
        self._kept = replace(self._kept, held=False, waiting=())
        for id in waiting:
            self.resume(id)
        self.turned.emit()
        self._start_next()

    def set_limits(self, limits: Limits) -> None:
        """The limits of all jobs, those that run included."""
        self.limits = limits
        self._workers.limit(limits, lambda id: not self.is_foreign(self._jobs[id]))

    def close(self, closing: Closing = Closing.PAUSE) -> None:
        """Ends everything before returning, but what shall work on without a window."""
        if self._closed:
            return
        self._closed = True
        self._looker.stop()
        mine = self.running()
        if closing == Closing.PAUSE and mine:
            self._kept = replace(self._kept, held=True, waiting=tuple(record.id for record in mine))
        for record in mine:
            if closing == Closing.DETACH:
                self._workers.detach(record.id, self.limits)
            else:
                self._stop(record, Stop.PAUSE if closing == Closing.PAUSE else Stop.THROW_AWAY)
        self._workers.wait(PATIENCE_MS[Stop.THROW_AWAY] if closing == Closing.CANCEL else CLOSE_MS)
        if closing == Closing.CANCEL:
            for record in self.open_jobs():
                if record.state == JobState.PENDING and self._is_ours(record.folder):
                    self._tell(record.id, NEVER_BEGAN)
        self._keep()
        self._first.leave()

    # Workers

    def _start_next(self) -> None:
        if self._closed or self._listing or self._kept.held or not self.is_first:
            self._keep()
            return
        for record in startable(self.open_jobs()):
            if record.id not in self._workers and self._is_ours(record.folder):
                self._start(record)
        self._keep()

    def _start(self, record: JobRecord) -> None:
        id = record.id
        self._jobs.put(replace(begun(record, time.time(), resume=record.resume), tries=record.tries))
        self._workers.start(record, self.limits)
        self.changed.emit(id)

    def _stop(self, record: JobRecord, stop: Stop) -> None:
        if record.id in self._workers:
            self._change(replace(record, ending=str(stop)))
            self._workers.stop(record.id, stop)

    def _worker_ended(self, id: str, failure: Failed) -> None:
        record = self._jobs[id]
        if record.state == JobState.RUNNING:  # it never said how it ended
            if record.ending == Stop.THROW_AWAY:
                self._sweep(record)
            self._tell(id, ending_of(record, failure))
        else:
            mend_history(record)
            self._known(id)
        if id in self._hasty and self._jobs[id].state == JobState.PAUSED and not self.is_held:
            self.resume(id)
        self._hasty.discard(id)
        self._start_next()
        self._say_if_idle()

    def _owned(self, id: str, owner: Owner) -> None:
        self._change(replace(self._jobs[id], owner=owner))

    def _nobody_works(self, id: str, read: int) -> None:
        """A worker that was followed is gone, and has written how it ended, or was cut off; or its window writes it."""
        record = replace(self._jobs[id], owner=None, read=read)
        if record.state == JobState.RUNNING and record.ending == Stop.THROW_AWAY and self.is_first:
            self._jobs.put(record)
            self._sweep(record)
            self._tell(id, CANCELLED)
        else:
            self._jobs.put(interrupted(record))
            self._take_up(self._jobs[id])
            self.changed.emit(id)
        self.listed.emit()
        self._start_next()
        self._say_if_idle()

    def _sweep(self, record: JobRecord) -> None:
        if not has_written(record):
            return
        thread = sweep(record.job)
        if self._closed:
            thread.join(CLOSE_MS / 1000)

    def _say_if_idle(self) -> None:
        waiting = (JobState.RUNNING, JobState.PENDING)
        if not self._closed and not self._kept.held and not any(r.state in waiting for r in self.open_jobs()):
            self.idle.emit()

    # Records

    def _take(self, id: str, event: Event) -> None:
        before = self._jobs[id]
        if before.is_over:
            return
        record = after(before, event, time.time())
        if before.ending and not record.is_over and record.state == JobState.RUNNING:
            record = replace(record, ending=before.ending)
        self._jobs.put(record)
        if isinstance(event, Progress):
            self.progress.emit(id)
            return
        self.changed.emit(id)
        if record.is_over:
            self.finished.emit(id)

    def _tell(self, id: str, event: Event) -> None:
        """An event that no worker is there to say: into the folder, and into the record."""
        with suppress(OSError):  # a full disk must not take the window down; the record in memory stays right
            self._jobs[id].folder.append(event, sync=True)
        self._take(id, event)
        self._known(id)

    def _known(self, id: str) -> None:
        """What its folder says by now is in the record."""
        with suppress(OSError):
            size = (self._jobs[id].folder.path / "events.jsonl").stat().st_size
            self._jobs.put(replace(self._jobs[id], read=size))

    def _change(self, record: JobRecord) -> None:
        self._jobs.put(record)
        self.changed.emit(record.id)

    def _is_ours(self, folder: JobFolder) -> bool:
        """Whether this window may decide about a job that nobody works on."""
        return self.is_first and folder.owner() is None

    def _keep(self) -> None:
        if not self.is_first or self._listing:
            return
        goes_on = tuple(r.id for r in self.open_jobs() if r.state == JobState.PENDING and r.resume)
        waiting = self._kept.waiting if self._kept.held else goes_on
        kept = replace(self._kept, order=tuple(self._jobs.line), waiting=waiting)
        if kept == self._written:
            return
        with suppress(OSError):
            write_queue(self._root, kept)
            self._written = kept

    # Other windows

    @property
    def is_first(self) -> bool:
        """Whether this window runs the jobs, and not another one."""
        return self._first.is_me

    def first_window(self) -> int:
        """The process id of the window that runs the jobs; 0 where it is not known."""
        return self._first.pid()

    def _look(self) -> None:
        """What other windows have done meanwhile."""
        if self._listing:
            return
        if not self.is_first and self._first.try_again():
            self._kept = read_queue(self._root)
            self.turned.emit()
        unwatched = [record for record in self.open_jobs() if record.id not in self._workers][:MOST_LOOKED_AT]
        if not self.is_first:  # the first window may let one go on that is over here
            unwatched += [record for record in self.records() if record.is_over and record.can_resume][:MOST_LOOKED_AT]
        changed = [again for record in unwatched if (again := read_again(record)) is not None]
        changed += self._watch.new_ones(self._jobs.ids())
        for record in changed:
            self._list(record)
        if changed:
            self.listed.emit()
        self._start_next()

    def _list(self, record: JobRecord) -> None:
        self._jobs.put(record)
        self._take_up(record)


def _name_of(job: Job) -> str:
    if isinstance(job, QuantizeJob):
        return " and ".join(Path(each.target).name for each in job.each)
    return Path(job.file).name if isinstance(job, ReproduceJob) else job.source
