"""A worker that is none of this window's own: followed by what it writes into the job's folder, asked through it."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from core import Event, JobFolder, Owner, Progress, Stop, stop_order

LOOK_MS = 500


class WorkerFollower(QObject):
    """`heard` for each event that is written from byte `offset` of the history on; `ended` once nobody works on the job
    any more, with the bytes of the history that have been read; `owned` when another process has become its window, or
    none. The signals carry the id of the job.
    """

    heard = Signal(str, object)
    ended = Signal(str, int)
    owned = Signal(str, object)

    def __init__(self, folder: JobFolder, owner: Owner, *, offset: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._folder, self._offset, self._owner = folder, offset, owner
        self._shown: Progress | None = None
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def order(self, order: dict[str, Any]) -> None:
        """Says something to it, where the folder can be written to."""
        self._folder.order(order)

    def stop(self, stop: Stop) -> None:
        self.order(stop_order(stop))

    def leave(self) -> None:
        """Follows it no longer."""
        self._timer.stop()
        self.blockSignals(True)

    def _look(self) -> None:
        owner = self._folder.owner()  # before the events: who ends has written how by then
        events, self._offset = self._folder.events_after(self._offset)
        for _, event in events:
            if not isinstance(event, Progress):
                self.heard.emit(self._folder.id, event)
        if owner is None:
            self._timer.stop()
            self.ended.emit(self._folder.id, self._offset)
            return
        if owner != self._owner:
            self._owner = owner
            self.owned.emit(self._folder.id, owner)
        self._tell(self._folder.shown_progress())

    def _tell(self, progress: Event | None) -> None:
        if isinstance(progress, Progress) and progress != self._shown:
            self._shown = progress
            self.heard.emit(self._folder.id, progress)
