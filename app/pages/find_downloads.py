"""The downloads of the page Find: jobs like all others, and the panel that shows the one under way."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from app.job_queue import JobQueue
from app.job_record import JobRecord
from app.widgets.download_panel import DownloadPanel
from core import JobState, PullJob, SnugError, Stop

LONG_ENOUGH = 2.0


class HubDownloads(QObject):
    """`done` and `failed` carry the record of a download that began here; `measured` how fast the line was."""

    done = Signal(object)
    failed = Signal(object)
    measured = Signal(float)

    def __init__(self, queue: JobQueue, panel: DownloadPanel, parent: QObject) -> None:
        super().__init__(parent)
        self._queue, self._panel = queue, panel
        self._begun: set[str] = set()
        for change in (queue.added, queue.changed, queue.removed):
            change.connect(lambda _: self._show())
        queue.listed.connect(self._show)
        queue.progress.connect(self._progressed)
        queue.finished.connect(self._finished)
        panel.pause_wanted.connect(self._turn)
        panel.cancel_wanted.connect(self._cancel)

    def begin(self, repo: str, choice: str) -> None:
        """Adds a download to the queue. Raises SnugError when the same one is there already."""
        job = PullJob(f"hub:{repo}", choice)
        if any(record.job == job for record in self._open()):
            raise SnugError(f"{repo} is being downloaded already.", "It is on the page Jobs.")
        self._begun.add(self._queue.add(job).id)
        self._show()

    def _open(self) -> list[JobRecord]:
        return [record for record in self._queue.open_jobs() if isinstance(record.job, PullJob)]

    @property
    def shown(self) -> JobRecord | None:
        """The download that runs, else the next one of the line."""
        records = self._open()
        running = [record for record in records if record.state == JobState.RUNNING]
        return next(iter([*running, *records]), None)

    def _show(self) -> None:
        record = self.shown
        self._panel.setVisible(record is not None)
        if record is not None:
            self._panel.show_record(record, more=len(self._open()) - 1)

    def _progressed(self, id: str) -> None:
        record = self.shown
        if record is None or record.id != id:
            return
        self._show()
        progress = record.progress
        if progress and progress.stage == "download" and progress.elapsed > LONG_ENOUGH and progress.rate:
            self.measured.emit(progress.rate)

    def _turn(self) -> None:
        if (record := self.shown) is not None:
            (self._queue.resume if record.state == JobState.PAUSED else self._queue.pause)(record.id)

    def _cancel(self) -> None:
        """What has come stays: it is no file yet, and the next try goes on from there."""
        if (record := self.shown) is not None:
            self._queue.cancel(record.id, Stop.KEEP)

    def _finished(self, id: str) -> None:
        self._show()
        record = self._queue.record(id)
        if record is not None and id in self._begun:
            self._begun.discard(id)
            (self.done if record.state == JobState.DONE else self.failed).emit(record)
