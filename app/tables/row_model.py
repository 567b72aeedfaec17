"""Any list of dataclasses as a Qt model: what a column shows is a row of data, not a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
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
    """`key` names a row, so that it can be found again when it changes.

    Sorts by what a column says, not by what it shows, and in one go: a view that compares through Python takes seconds.
    """

    def __init__(self, columns: Sequence[Column[Row]], *, key: Callable[[Row], str]) -> None:
        super().__init__()
        self.columns = list(columns)
        self._key = key
        self._rows: list[Row] = []
        self._order: list[int] = []
        self._texts: dict[int, str] = {}
        self._sorting = (-1, False)

    @property
    def rows(self) -> list[Row]:
        """As they came; the order that is shown may be another."""
        return self._rows

    def set_rows(self, rows: Sequence[Row]) -> None:
        self.beginResetModel()
        self._rows = list(rows)
        self._texts.clear()
        self._order = self._sorted()
        self.endResetModel()

    def replace_rows(self, rows: Sequence[Row]) -> None:
        """Shows `rows`; where they are the same ones in the same order, the view stays as it is."""
        if [self._key(row) for row in rows] != [self._key(row) for row in self._rows]:
            self.set_rows(rows)
        elif rows:
            self._rows = list(rows)
            self._texts.clear()
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(self.columns) - 1))
            self._sort_again()

    def add_rows(self, rows: Sequence[Row]) -> None:
        """More rows at the end; what is selected and how far it is scrolled stays."""
        if rows:
            first, last = len(self._rows), len(self._rows) + len(rows) - 1
            self.beginInsertRows(_NOWHERE, first, last)
            self._rows += rows
            self._order += range(first, last + 1)
            self.endInsertRows()
            self._sort_again()

    def update_row(self, row: Row) -> None:
        """Shows the new values of a row that is already there."""
        position = self.position_of(self._key(row))
        if position is None:
            return
        self._rows[self._order[position]] = row
        self._texts.pop(self._order[position], None)
        self.dataChanged.emit(self.index(position, 0), self.index(position, len(self.columns) - 1))
        self._sort_again()

    def row_at(self, position: int) -> Row:
        """The row that is shown there."""
        return self._rows[self._order[position]]

    def position_of(self, key: str) -> int | None:
        """Where the row with this key is shown."""
        return next((position for position, i in enumerate(self._order) if self._key(self._rows[i]) == key), None)

    def has_text(self, position: int, text: str) -> bool:
        """Whether one of the cells of the row shown there has `text`, whatever its case."""
        return text.casefold() in self._text_of(self._order[position])

    def _text_of(self, i: int) -> str:
        if i not in self._texts:
            self._texts[i] = "\n".join(column.text(self._rows[i]) for column in self.columns).casefold()
        return self._texts[i]

    def prepare(self, most: int) -> bool:
        """Reads the cells of so many rows ahead of a filter; False when all are read."""
        unread = list(islice((i for i in range(len(self._rows)) if i not in self._texts), most))
        for i in unread:
            self._text_of(i)
        return len(unread) == most

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        before, self._sorting = self._sorting, (column, order == Qt.SortOrder.DescendingOrder)
        if before != self._sorting:
            self._sort_again()

    def _sorted(self) -> list[int]:
        column, is_falling = self._sorting
        if column < 0:
            return list(range(len(self._rows)))
        value = self.columns[column].sort or self.columns[column].text
        keys = [value(row) for row in self._rows]
        return sorted(range(len(keys)), key=keys.__getitem__, reverse=is_falling)

    def _sort_again(self) -> None:
        order = self._sorted()
        if order == self._order:
            return
        self.layoutAboutToBeChanged.emit()
        before, places = self.persistentIndexList(), {i: position for position, i in enumerate(order)}
        after = [self.index(places[self._order[index.row()]], index.column()) for index in before]
        self._order = order
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

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
        row, column = self._rows[self._order[index.row()]], self.columns[index.column()]
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


class FilteredRows(QSortFilterProxyModel, Generic[Row]):
    """The rows with a text in one of their cells; the model itself sorts."""

    def __init__(self, model: RowModel[Row]) -> None:
        super().__init__()
        self._model = model
        self._text = ""
        self.setSourceModel(model)

    def show_only(self, text: str) -> None:
        """Only rows with `text`; all of them for ""."""
        self._text = text.casefold()
        self.setFilterFixedString(text)  # asks for every row anew

    def filterAcceptsRow(self, source_row: int, _parent: Index) -> bool:
        return not self._text or self._model.has_text(source_row, self._text)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._model.sort(column, order)
