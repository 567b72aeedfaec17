"""The table of quantizations: those with a tick are made together, in one reading of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent

from app.tables.cell_delegate import is_on_tick
from app.tables.option_columns import OPTION_COLUMNS
from app.tables.row_model import Index, RowModel
from app.tables.row_view import RowView

if TYPE_CHECKING:
    from core import Option

_TICK = Qt.ItemDataRole.CheckStateRole


class OptionRows(RowModel["Option"]):
    """A row keeps its tick while the figures of the rows change."""

    ticks_changed = Signal()

    def __init__(self) -> None:
        super().__init__(OPTION_COLUMNS, key=lambda option: option.recipe.name)
        self._ticks: frozenset[str] = frozenset()

    def ticked(self) -> list[Option]:
        """The rows with a tick."""
        return [option for option in self.rows if option.recipe.name in self._ticks]

    def tick(self, names: Iterable[str]) -> None:
        """These recipes have a tick from now on, and no others."""
        before, self._ticks = self._ticks, frozenset(names)
        if before == self._ticks:
            return
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, 0), [_TICK])
        self.ticks_changed.emit()

    def turn(self, name: str) -> None:
        """Gives a recipe a tick, or takes it away."""
        self.tick(self._ticks ^ {name})

    def flags(self, index: Index) -> Qt.ItemFlag:
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.isValid() and index.column() == 0 else flags

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role != _TICK:
            return super().data(index, role)
        if not index.isValid() or index.column():
            return None
        is_ticked = self.row_at(index.row()).recipe.name in self._ticks
        return Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """What assistive programs do to a tick."""
        if role != _TICK or not index.isValid() or index.column():
            return False
        name, wanted = self.row_at(index.row()).recipe.name, Qt.CheckState(value) == Qt.CheckState.Checked
        self.tick(self._ticks | {name} if wanted else self._ticks - {name})
        return True


class OptionView(RowView["Option"]):
    """A click on the box before a name, or the space bar, gives the row a tick or takes it away."""

    def __init__(self, rows: OptionRows) -> None:
        super().__init__(rows, name="Quantizations of this model")
        self.setAccessibleDescription("Space ticks a row: all that are ticked are made in one reading of the model")
        self._rows = rows

    def mousePressEvent(self, event: QMouseEvent) -> None:
        super().mousePressEvent(event)
        self._click(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Two quick clicks on a box are two clicks."""
        if not self._click(event):
            super().mouseDoubleClickEvent(event)

    def _click(self, event: QMouseEvent) -> bool:
        point = event.position().toPoint()
        index = self.indexAt(point)
        is_tick = event.button() == Qt.MouseButton.LeftButton and index.isValid() and index.column() == 0
        if not is_tick or not is_on_tick(self.visualRect(index), point):
            return False
        self._turn_current()
        return True

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            self._turn_current()
            return
        super().keyPressEvent(event)

    def _turn_current(self) -> None:
        if (option := self.current()) is not None:
            self._rows.turn(option.recipe.name)
