"""The jobs: their folders, and one worker at a time. What a worker says becomes a record and a signal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.job_record import NEVER_BEGAN, JobRecord, after
from app.worker_process import WorkerProcess
from core import Event, Failed, JobState, Progress, QuantizeJob, SnugError, create, part_path

PROGRESS_KEPT_EVERY = 10.0
CANCELLED = Failed("Cancelled.", "Nothing was left behind.", cancelled=True)


class JobQueue(QObject):
    """Jobs in the order they were added; at most one runs. Signals carry the id of a job, but `listed`: of many."""

    listed = Signal()
    added = Signal(str)
    changed = Signal(str)
    progress = Signal(str)
    finished = Signal(str)
    removed = Signal(str)

    def __init__(self, root: Path, *, command: Sequence[str] = (), parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._root, self._command = root, command
        self._records: dict[str, JobRecord] = {}
        self._worker: WorkerProcess | None = None
        self._current = ""
        self._kept = 0.0
        self._closed = False

    def add_earlier(self, records: Sequence[JobRecord]) -> None:
        """Lists jobs of earlier sessions before those of this one."""
        new = [record for record in records if record.id not in self._records]
        self._records = {**{record.id: record for record in new}, **self._records}
        self.listed.emit()

    def records(self) -> list[JobRecord]:
        """Newest first."""
        return list(reversed(self._records.values()))

    def record(self, id: str) -> JobRecord | None:
        return self._records.get(id)

    def open_jobs(self) -> list[JobRecord]:
        """Those that run or wait, in the order they will be done."""
        return [record for record in self._records.values() if not record.is_over]

    def add(self, job: QuantizeJob) -> JobRecord:
        """Puts `job` at the end of the queue. Raises SnugError when another open job writes the same file."""
        if any(Path(job.target) == record.target for record in self.open_jobs()):
            raise SnugError(f"Another job is already making {Path(job.target).name}.", "Choose another name or wait.")
        record = JobRecord(create(self._root, job), job)
        self._records[record.id] = record
        self.added.emit(record.id)
        self._start_next()
        return self._records[record.id]

    def retry(self, id: str) -> JobRecord:
        """The same job once more, as a new one."""
        return self.add(self._records[id].job)

    def cancel(self, id: str) -> None:
        """Ends a job that runs or waits. Returns at once; `finished` follows within a second."""
        record = self._records.get(id)
        if record is None or record.is_over:
            return
        if id != self._current or self._worker is None:
            self._take(id, CANCELLED)
            return
        self._records[id] = replace(record, cancelling=True)
        self.changed.emit(id)
        self._worker.stop()

    def remove(self, id: str) -> None:
        """Takes a job that is over off the list, with its folder; what it made stays."""
        record = self._records.get(id)
        if record is None or not record.is_over:
            return
        shutil.rmtree(record.folder.path, ignore_errors=True)
        del self._records[id]
        self.removed.emit(id)

    def close(self) -> None:
        """Ends everything before returning: nothing works on when the window is gone."""
        self._closed = True
        if self._worker is not None:
            self._records[self._current] = replace(self._records[self._current], cancelling=True)
            self._worker.stop_now()
        for record in self.open_jobs():
            self._take(record.id, NEVER_BEGAN)

    def _start_next(self) -> None:
        waiting = self.open_jobs()
        if self._worker is not None or self._closed or not waiting:
            return
        record = waiting[0]
        self._current, self._kept = record.id, 0.0
        self._records[record.id] = replace(record, state=JobState.RUNNING, started=time.time())
        worker = self._worker = WorkerProcess(record.folder, command=self._command, parent=self)
        worker.heard.connect(self._heard)
        worker.ended.connect(self._worker_ended)
        worker.start(record.job)
        self.changed.emit(record.id)

    def _heard(self, event: Event) -> None:
        self._take(self._current, event)

    def _worker_ended(self, failure: Failed) -> None:
        id, worker, self._worker = self._current, self._worker, None
        self._current = ""
        record = self._records[id]
        if not record.is_over:  # it never said how it ended, so it swept nothing up either
            with suppress(OSError):
                part_path(record.job.target).unlink()
            self._take(id, CANCELLED if record.cancelling else failure)
        if worker is not None:
            worker.deleteLater()
        self._start_next()

    def _take(self, id: str, event: Event) -> None:
        before = self._records[id]
        if before.is_over:
            return
        now = time.time()
        record = self._records[id] = after(before, event, now)
        self._keep(record, event, now)
        if isinstance(event, Progress):
            self.progress.emit(id)
            return
        self.changed.emit(id)
        if record.is_over:
            self.finished.emit(id)

    def _keep(self, record: JobRecord, event: Event, now: float) -> None:
        """Writes the event into the job's folder, but of the many Progress only some."""
        if isinstance(event, Progress) and now - self._kept < PROGRESS_KEPT_EVERY:
            return
        if isinstance(event, Progress):
            self._kept = now
        with suppress(OSError):  # a full disk must not take the window down; the record in memory stays right
            record.folder.append(event)
