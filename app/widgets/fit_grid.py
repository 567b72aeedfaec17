"""The expert view: every level by every context, each a verdict, and under it how the chosen one is worked out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QVBoxLayout, QWidget

from app.pages.fit_answers import Cell
from app.tables.cell_delegate import CellDelegate
from app.tables.fit_grid import GridModel, as_text
from app.theme import SIZES
from app.widgets.choices import Choice, Segments
from app.widgets.memory_bar import MemoryBar, Need
from app.widgets.option_detail import PLACES
from app.widgets.parts import button, holder, label, row

_CELL_WIDTH = 84
_LEAST_ROWS = 7
_CACHES = ("f16", "q8_0", "q4_0")
Grids = Mapping[str, Sequence[Sequence[Cell]]]
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class GridView(QTableView):
    """Arrow keys go from cell to cell; `taken` carries the Cell that Enter or a double click takes."""

    moved = Signal(object)
    copy_wanted = Signal()
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
            self.copy_wanted.emit()
        elif event.key() in _ENTER and self.current() is not None:
            self.taken.emit(self.current())
        else:
            super().keyPressEvent(event)


class FitGrid(QWidget):
    """`taken` carries the Cell that is to be made. `bar` chooses the cache and copies, wherever it is put."""

    taken = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.model = GridModel()
        self.view = GridView(self.model)
        self.memory, self.line = MemoryBar(), label(wrap=True, role="muted")
        self.line.setAccessibleName("How the chosen verdict is worked out")
        self.cache = Segments("Cache of the context", [Choice(name, name) for name in _CACHES])
        self.copy_all = button("Copy", self.copy, glyph="copy", tip="Copy all levels, contexts and caches as text")
        self.copy_all.setAccessibleName("Copy the verdicts of all levels, contexts and caches")
        self.bar = holder(row(label("Cache", role="muted"), self.cache, self.copy_all))
        self._grids: Grids = {}
        self._start = ("", 0)
        self.cache.changed.connect(lambda _: self._show_cells())
        self.view.moved.connect(self._show_line)
        self.view.taken.connect(self.taken)
        self.view.copy_wanted.connect(self.copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, SIZES.s, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addWidget(self.view, 1)
        layout.addWidget(self.memory)
        layout.addWidget(self.line)

    def show_grids(self, grids: Grids, *, level: str, context: int) -> None:
        """Shows `grids`, one for each cache; the keyboard starts at `level` and `context` unless it is there."""
        self._grids = grids
        self._start = (level, context)
        self._show_cells()

    def copy(self) -> None:
        QGuiApplication.clipboard().setText("\n\n".join(as_text(rows) for rows in self._grids.values()))

    def _show_cells(self) -> None:
        before = self.view.current()
        self.model.set_cells(self._grids.get(self.cache.key, ()))
        if before is None or self.view.current() is None:
            self.view.setCurrentIndex(self.model.find(*self._start))
        self._show_line(self.view.current())

    def _show_line(self, cell: Cell | None) -> None:
        self.line.setText(cell.explained if cell else "")
        if cell is not None:
            self.memory.show_need(Need(*cell.parts, budget=cell.usable), place=PLACES.get(cell.place, ""))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The bar comes where some levels stay in sight above it."""
        super().resizeEvent(event)
        self.memory.setVisible(self.height() >= _LEAST_ROWS * SIZES.row + self.memory.sizeHint().height())
