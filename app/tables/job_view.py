"""The table of jobs: those that wait can be dragged, or moved with Alt and the arrow keys, to another place."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QDragMoveEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import QAbstractItemView

from app.job_record import JobRecord
from app.tables.job_columns import JOB_COLUMNS
from app.tables.row_model import Index, Role, RowModel
from app.tables.row_view import RowView
from core import JobState

_MOVES = (JobState.PENDING, JobState.PAUSED)
_KEYS = {Qt.Key.Key_Space: "turn", Qt.Key.Key_Delete: "remove"}


class JobRows(RowModel[JobRecord]):
    """Only jobs that are still to be done can be moved."""

    def __init__(self) -> None:
        super().__init__(JOB_COLUMNS, key=lambda record: record.id)

    def flags(self, index: Index) -> Qt.ItemFlag:
        flags = super().flags(index) | Qt.ItemFlag.ItemIsDropEnabled
        record = index.data(Role.ROW) if index.isValid() else None
        return flags | Qt.ItemFlag.ItemIsDragEnabled if record is not None and record.state in _MOVES else flags


class JobView(RowView[JobRecord]):
    """`moved` carries the id of a job and of the one that it shall come before, "" for the end of the line;
    `menu_wanted` where on the screen; `acted` what a key asks for: turn (pause or resume) or remove."""

    moved = Signal(str, str)
    acted = Signal(str)
    menu_wanted = Signal(QPoint)

    def __init__(self, model: JobRows) -> None:
        super().__init__(model, name="Jobs")
        self.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.setDragDropOverwriteMode(False)
        self.setDropIndicatorShown(True)
        self.setDefaultDropAction(Qt.DropAction.MoveAction)

    def shift(self, step: int) -> None:
        """Moves the selected job one place up (-1) or down (1) among those that wait."""
        ids, current = self._waiting(), self.current()
        if current is None or current.id not in ids or not self.is_in_order():
            return
        place = ids.index(current.id) + step
        if 0 <= place < len(ids):
            after = place + (step > 0)
            self.moved.emit(current.id, ids[after] if after < len(ids) else "")

    def is_in_order(self) -> bool:
        """Whether the rows stand in the order of the line, not sorted by a column."""
        return self.horizontalHeader().sortIndicatorSection() < 0

    def _waiting(self) -> list[str]:
        model = self.model()
        rows = (model.index(row, 0).data(Role.ROW) for row in range(model.rowCount()))
        return [record.id for record in rows if record.state in _MOVES]

    # Events

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        super().dragMoveEvent(event)
        event.setAccepted(event.source() is self and self.is_in_order())

    def dropEvent(self, event: QDropEvent) -> None:
        """Nothing is moved in the model: the queue says what the new order is."""
        current = self.current()
        event.setDropAction(Qt.DropAction.IgnoreAction)
        event.accept()
        if event.source() is self and current is not None and self.is_in_order():
            self.drop_at(current.id, event.position().toPoint())

    def drop_at(self, id: str, point: QPoint) -> None:
        """Puts the job before the row in whose upper half, or after the one in whose lower half, `point` lies."""
        index = self.indexAt(point)
        row = index.row() if index.isValid() else self.model().rowCount()
        if index.isValid() and point.y() > self.visualRect(index).center().y():
            row += 1
        following = (self.model().index(place, 0).data(Role.ROW) for place in range(row, self.model().rowCount()))
        waiting = (record.id for record in following if record.state in _MOVES)
        self.moved.emit(id, next(waiting, ""))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
        if event.modifiers() & Qt.KeyboardModifier.AltModifier and event.key() in steps:
            self.shift(steps[Qt.Key(event.key())])
            return
        if event.key() in _KEYS and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            self.acted.emit(_KEYS[Qt.Key(event.key())])
            return
        super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            place = self.visualRect(self.currentIndex()).center()
            self.menu_wanted.emit(self.viewport().mapToGlobal(place))
        else:
            self.menu_wanted.emit(event.globalPos())
