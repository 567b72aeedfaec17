"""Any list of dataclasses as a Qt model: what a column shows is a row of data, not a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSortFilterProxyModel, Qt

Row = TypeVar("Row")
Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()


class Role(IntEnum):
    """What a delegate may ask a cell for."""

    ROW = Qt.ItemDataRole.UserRole + 1
    CHIP = Qt.ItemDataRole.UserRole + 2
    FRACTION = Qt.ItemDataRole.UserRole + 3
    STRONG = Qt.ItemDataRole.UserRole + 4
    BADGE = Qt.ItemDataRole.UserRole + 5


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column. `sort` gives what to sort by (the text if absent), `spoken` what a screen reader says.

    `chip` gives the verdict of the cell, `fraction` how full its bar is, `strong` whether it is set in bold,
    `badge` a word on a pill behind the text.
    """

    title: str
    text: Callable[[Row], str]
    width: int
    sort: Callable[[Row], Any] | None = None
    tooltip: Callable[[Row], str] | None = None
    spoken: Callable[[Row], str] | None = None
    chip: Callable[[Row], str] | None = None
    fraction: Callable[[Row], float | None] | None = None
    strong: Callable[[Row], bool] | None = None
    badge: Callable[[Row], str] | None = None
    right: bool = False
    stretch: bool = False


class RowModel(QAbstractTableModel, Generic[Row]):
    """`key` names a row, so that it can be found again when it changes."""

    def __init__(self, columns: Sequence[Column[Row]], *, key: Callable[[Row], str]) -> None:
        super().__init__()
        self.columns = list(columns)
        self._key = key
        self._rows: list[Row] = []

    @property
    def rows(self) -> list[Row]:
        return self._rows

    def set_rows(self, rows: Sequence[Row]) -> None:
        self.beginResetModel()
        self._rows = list(rows)
        self.endResetModel()

    def replace_rows(self, rows: Sequence[Row]) -> None:
        """Shows `rows`; where they are the same ones in the same order, the view stays as it is."""
        if [self._key(row) for row in rows] != [self._key(row) for row in self._rows]:
            self.set_rows(rows)
        elif rows:
            self._rows = list(rows)
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(self.columns) - 1))

    def add_rows(self, rows: Sequence[Row]) -> None:
        """More rows at the end; what is selected and how far it is scrolled stays."""
        if rows:
            self.beginInsertRows(_NOWHERE, len(self._rows), len(self._rows) + len(rows) - 1)
            self._rows += rows
            self.endInsertRows()

    def update_row(self, row: Row) -> None:
        """Shows the new values of a row that is already there."""
        position = self.position_of(self._key(row))
        if position is None:
            return
        self._rows[position] = row
        self.dataChanged.emit(self.index(position, 0), self.index(position, len(self.columns) - 1))

    def position_of(self, key: str) -> int | None:
        return next((i for i, row in enumerate(self._rows) if self._key(row) == key), None)

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.columns):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.columns[section].title
        return _alignment(self.columns[section]) if role == Qt.ItemDataRole.TextAlignmentRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        row, column = self._rows[index.row()], self.columns[index.column()]
        if role == Role.ROW:
            return row
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column)
        getter = _GETTERS.get(role)
        asked = getter(column) if getter else None
        return asked(row) if asked else None


_GETTERS: dict[int, Callable[[Column[Any]], Callable[[Any], Any] | None]] = {
    Qt.ItemDataRole.DisplayRole: lambda column: column.text,
    Qt.ItemDataRole.ToolTipRole: lambda column: column.tooltip,
    Qt.ItemDataRole.AccessibleTextRole: lambda column: column.spoken or column.text,
    Role.CHIP: lambda column: column.chip,
    Role.FRACTION: lambda column: column.fraction,
    Role.STRONG: lambda column: column.strong,
    Role.BADGE: lambda column: column.badge,
}


def _alignment(column: Column[Any]) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column.right else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


class SortedRows(QSortFilterProxyModel, Generic[Row]):
    """Sorts by what the column says, not by what it shows."""

    def __init__(self, model: RowModel[Row]) -> None:
        super().__init__()
        self._model = model
        self.setSourceModel(model)
        self.setDynamicSortFilter(True)

    def lessThan(self, left: Index, right: Index) -> bool:
        column = self._model.columns[left.column()]
        value = column.sort or column.text
        first, second = value(self._model.rows[left.row()]), value(self._model.rows[right.row()])
        return bool(first < second)
