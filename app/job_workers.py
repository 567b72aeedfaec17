"""The processes that work on jobs: a window's own, and those of others, which it follows by what they write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from PySide6.QtCore import QObject, Signal

from app.job_record import JobRecord
from app.worker_follower import WorkerFollower
from app.worker_process import WorkerProcess
from core import Assignment, Event, Failed, Limits, Stop, limits_order


class Workers(QObject):
    """Signals carry the id of the job. `heard`: an event of it; `ended`: the window's own worker is gone, with what to
    say where it never said how; `left`: one that was followed is gone, with the bytes of the history that are known;
    `owned`: another process has become its window, or none.
    """

    heard = Signal(str, object)
    ended = Signal(str, object)
    left = Signal(str, int)
    owned = Signal(str, object)

    def __init__(self, command: Sequence[str], parent: QObject) -> None:
        super().__init__(parent)
        self.command = command
        self._processes: dict[str, WorkerProcess | WorkerFollower] = {}
        self._last_heard: dict[str, float] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._processes

    def __len__(self) -> int:
        return len(self._processes)

    def of(self, id: str) -> WorkerProcess | WorkerFollower | None:
        """The one that works on the job."""
        return self._processes.get(id)

    def silent_for(self, id: str) -> float:
        """Seconds since the worker of a job last said anything."""
        return time.monotonic() - self._last_heard[id] if id in self._last_heard and id in self._processes else 0.0

    def start(self, record: JobRecord, limits: Limits) -> None:
        task = Assignment(record.job, record.folder, record.resume, limits, os.getpid())
        worker = self._processes[record.id] = WorkerProcess(task, command=self.command, parent=self)
        worker.heard.connect(self._hear)
        worker.ended.connect(self._end)
        worker.start()

    def follow(self, record: JobRecord) -> None:
        """Hears of a job that another process works on, from what its record does not know yet."""
        assert record.owner is not None
        follower = WorkerFollower(record.folder, record.owner, offset=record.read, parent=self)
        self._processes[record.id] = follower
        follower.heard.connect(self._hear)
        follower.ended.connect(self._leave)
        follower.owned.connect(self.owned)

    def stop(self, id: str, stop: Stop) -> None:
        """Asks it to end, where it can be reached. Returns at once."""
        with suppress(OSError):
            self._processes[id].stop(stop)

    def limit(self, limits: Limits, wanted: Callable[[str], bool]) -> None:
        """Tells the workers of the jobs that are `wanted`."""
        for id, worker in self._processes.items():
            if wanted(id):
                with suppress(OSError):
                    worker.order(limits_order(limits))

    def detach(self, id: str, limits: Limits) -> None:
        """Lets it work on without this window, within these limits; nothing more is heard of it."""
        worker = self._processes.get(id)
        if isinstance(worker, WorkerProcess):
            with suppress(OSError):
                worker.order(limits_order(limits))
            worker.detach()
            del self._processes[id]

    def wait(self, milliseconds: int) -> None:
        """Until this window's own workers are gone; the others are followed no longer."""
        until = time.monotonic() + milliseconds / 1000
        for worker in list(self._processes.values()):
            if isinstance(worker, WorkerProcess):
                worker.wait(max(0, round(1000 * (until - time.monotonic()))))
            else:
                worker.leave()

    def _hear(self, id: str, event: Event) -> None:
        self._last_heard[id] = time.monotonic()
        self.heard.emit(id, event)

    def _end(self, id: str, failure: Failed) -> None:
        self._drop(id)
        self.ended.emit(id, failure)

    def _leave(self, id: str, read: int) -> None:
        self._drop(id)
        self.left.emit(id, read)

    def _drop(self, id: str) -> None:
        self._last_heard.pop(id, None)
        if (worker := self._processes.pop(id, None)) is not None:
            worker.deleteLater()
