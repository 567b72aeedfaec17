"""The table that shows such a model: whole rows, keyboard, copy as text, and widths that are remembered."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from PySide6.QtCore import QItemSelectionModel, QSettings, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from app.store import stored_widths
from app.tables.cell_delegate import CellDelegate
from app.tables.row_model import FilteredRows, Index, Role, RowModel
from app.theme import SIZES

Row = TypeVar("Row")


class RowView(QTableView, Generic[Row]):
    """One row is selected at a time; `chosen` says which, `opened` that it was double-clicked."""

    chosen = Signal(object)
    opened = Signal(object)

    def __init__(self, model: RowModel[Row], *, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows_model = model
        self._shown = FilteredRows(model)
        self.setModel(self._shown)
        self.setAccessibleName(name)
        self.setItemDelegate(CellDelegate(self))
        self._look()
        self.selectionModel().currentRowChanged.connect(self._current_changed)
        self.doubleClicked.connect(lambda index: self.opened.emit(index.data(Role.ROW)))

    def _look(self) -> None:
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMouseTracking(True)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(SIZES.row)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSortIndicatorShown(True)
        header.setSortIndicatorClearable(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        for position, column in enumerate(self.rows_model.columns):
            self.setColumnWidth(position, column.width)
            if column.stretch:
                header.setSectionResizeMode(position, QHeaderView.ResizeMode.Stretch)

    def remember_widths(self, store: QSettings, key: str) -> None:
        """Restores the widths under `key` and keeps them from now on; a hidden column keeps the one that it had."""
        header = self.horizontalHeader()
        stored = stored_widths(store, key)
        columns = self.rows_model.columns
        for position, width in enumerate(stored if len(stored) == len(columns) else []):
            if width:
                self.setColumnWidth(position, width)
        kept = [header.sectionSize(position) or columns[position].width for position in range(header.count())]

        def keep(position: int, _before: int, now: int) -> None:
            if now:
                kept[position] = now
                store.setValue(key, kept)

        header.sectionResized.connect(keep)

    def choose(self, key: str) -> None:
        """Selects the row with this key, if there is one, and scrolls to it."""
        position = self.rows_model.position_of(key)
        if position is None:
            return
        index = self._shown.mapFromSource(self.rows_model.index(position, 0))
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        self.selectionModel().setCurrentIndex(index, flags)
        self.scrollTo(index)

    def show_only(self, text: str) -> None:
        """Only rows with `text` in one of their cells; all of them for ""."""
        self._shown.show_only(text)

    def shown_rows(self) -> int:
        return self._shown.rowCount()

    def is_shown(self, key: str) -> bool:
        """Whether the row with this key is there and no filter hides it."""
        position = self.rows_model.position_of(key)
        return position is not None and self._shown.mapFromSource(self.rows_model.index(position, 0)).isValid()

    def current(self) -> Row | None:
        """The selected row."""
        index = self.currentIndex()
        return index.data(Role.ROW) if index.isValid() else None

    def as_text(self) -> str:
        """The selected row, or all rows, with the titles: columns with tabs between."""
        rows = [index.row() for index in self.selectionModel().selectedRows()] or range(self._shown.rowCount())
        titles = [column.title for column in self.rows_model.columns]
        cells = [[self._cell(row, column) for column in range(len(titles))] for row in rows]
        return "\n".join("\t".join(line) for line in [titles, *cells])

    def _cell(self, row: int, column: int) -> str:
        return str(self._shown.index(row, column).data())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The selected row stays in sight when what is below takes more room."""
        before = self.viewport().rect().adjusted(0, 0, 0, event.oldSize().height() - self.viewport().height())
        was_seen = before.intersects(self.visualRect(self.currentIndex()))
        super().resizeEvent(event)
        if was_seen:
            self.scrollTo(self.currentIndex())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.as_text())
            return
        super().keyPressEvent(event)

    def _current_changed(self, current: Index, _previous: Any) -> None:
        self.chosen.emit(current.data(Role.ROW) if current.isValid() else None)
