"""The expert view: every level by every context, each a verdict, and under it how the chosen one is worked out."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QVBoxLayout, QWidget

from app.tables.cell_delegate import CellDelegate
from app.tables.fit_grid import Cell, GridModel, as_text
from app.theme import SIZES
from app.widgets.parts import label

_CELL_WIDTH = 84
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class GridView(QTableView):
    """Arrow keys go from cell to cell; `taken` carries the Cell that Enter or a double click takes."""

    moved = Signal(object)
    taken = Signal(object)

    def __init__(self, model: GridModel) -> None:
        super().__init__()
        self.grid = model
        self.setModel(model)
        self.setAccessibleName("Every level by every context: the verdicts")
        self.setItemDelegate(CellDelegate(self))
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setCornerButtonEnabled(False)
        for header in (self.horizontalHeader(), self.verticalHeader()):
            header.setHighlightSections(False)
            header.setSectionsClickable(False)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setMinimumSectionSize(_CELL_WIDTH)
        self.verticalHeader().setDefaultSectionSize(SIZES.row - SIZES.xs)
        self.doubleClicked.connect(lambda index: self.taken.emit(model.cell(index)))

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:  # type: ignore[override]
        super().currentChanged(current, previous)
        self.moved.emit(self.grid.cell(current))

    def current(self) -> Cell | None:
        return self.grid.cell(self.currentIndex())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(as_text(self.grid.rows))
        elif event.key() in _ENTER and self.current() is not None:
            self.taken.emit(self.current())
        else:
            super().keyPressEvent(event)


class FitGrid(QWidget):
    """`taken` carries the Cell that is to be made."""

    taken = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.model = GridModel()
        self.view = GridView(self.model)
        self.line = label(wrap=True, role="muted")
        self.line.setAccessibleName("How the chosen verdict is worked out")
        self.view.moved.connect(self._show_line)
        self.view.taken.connect(self.taken)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, SIZES.s, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addWidget(self.view, 1)
        layout.addWidget(self.line)

    def show_cells(self, rows: Sequence[Sequence[Cell]], *, level: str, context: int) -> None:
        """Shows `rows`; the keyboard starts at `level` and `context` unless it is somewhere already."""
        before = self.view.current()
        self.model.set_cells(rows)
        if self.view.current() is None or before is None:
            self.view.setCurrentIndex(self.model.find(level, context))
        self._show_line(self.view.current())

    def _show_line(self, cell: Cell | None) -> None:
        self.line.setText(f"{cell.in_words}. {cell.sum_line}" if cell else "")
