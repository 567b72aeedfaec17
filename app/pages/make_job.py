"""The job that the page Make has put into the queue last: its panel, and what one does to it there."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from app import words
from app.job_queue import JobQueue
from app.job_record import JobRecord
from app.widgets.banner import Banner
from app.widgets.job_actions import ask_cancel
from app.widgets.job_panel import JobPanel
from core import SnugError


class FollowedJob(QObject):
    """`taken`: it is followed from now on; `over`: it has just come to its end."""

    taken = Signal()
    over = Signal()

    def __init__(self, queue: JobQueue, panel: JobPanel, banner: Banner, parent: QObject) -> None:
        super().__init__(parent)
        self._queue, self._panel, self._banner = queue, panel, banner
        self.id = ""
        panel.pause_wanted.connect(lambda: queue.pause(self.id))
        panel.resume_wanted.connect(self._resume)
        panel.cancel_wanted.connect(self.cancel)
        panel.retry_wanted.connect(self._retry)
        for signal in (queue.changed, queue.progress, queue.finished):
            signal.connect(self._changed)

    def follow(self, record: JobRecord) -> None:
        self.id = record.id
        self.taken.emit()
        self._changed(record.id)
        self._panel.cancel.setFocus()

    def leave(self) -> None:
        """Follows none."""
        self.id = ""

    def cancel(self) -> None:
        """Asks what shall become of the work, where there is any."""
        record = self._queue.record(self.id)
        if record is not None and not record.is_over:
            ask_cancel(self._banner, self._queue, record)

    def _retry(self) -> None:
        try:
            self.follow(self._queue.retry(self.id))
        except (SnugError, OSError) as error:
            self._banner.show_problem(words.problem(error))

    def _resume(self) -> None:
        try:
            self._queue.resume(self.id)
        except SnugError as error:
            self._banner.show_problem(words.problem(error))

    def _changed(self, id: str) -> None:
        record = self._queue.record(self.id)
        if record is None or (id != self.id and record.is_over):
            return
        ahead = [job.id for job in self._queue.open_jobs()]
        self._panel.show_record(record, before=ahead.index(record.id) if record.id in ahead else 0)
        if id == self.id and record.is_over:
            self.over.emit()
