"""The grid of verdicts: a row a level, a column a context. Cells are chosen one by one, and copied as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, Qt

from app import words
from app.pages.fit_answers import Cell
from app.tables.row_model import Index, Role
from app.widgets.verdict_chip import CHIPS

_NOWHERE = QModelIndex()


class GridModel(QAbstractTableModel):
    """`rows`: for each level, its cells by context."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[Cell]] = []

    def set_cells(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Shows `rows`; where the levels and contexts stay, so does the cell that the keyboard is on."""
        new = [list(row) for row in rows]
        if _frame(new) == _frame(self.rows):
            self.rows = new
            if new:
                self.dataChanged.emit(self.index(0, 0), self.index(len(new) - 1, len(new[0]) - 1))
            return
        self.beginResetModel()
        self.rows = new
        self.endResetModel()

    def cell(self, index: Index) -> Cell | None:
        return self.rows[index.row()][index.column()] if index.isValid() else None

    def find(self, level: str, context: int) -> QModelIndex:
        """Where this cell is; an invalid index where it is not."""
        places = ((r, c) for r, row in enumerate(self.rows) for c, cell in enumerate(row)
                  if cell.level == level and cell.context == context)  # fmt: skip
        place = next(places, None)
        return self.index(*place) if place else QModelIndex()

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() or not self.rows else len(self.rows[0])

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        if role != Qt.ItemDataRole.DisplayRole or not self.rows:
            return None
        if orientation == Qt.Orientation.Vertical:
            return self.rows[section][0].level if section < len(self.rows) else None
        return words.short_tokens(self.rows[0][section].context) if section < len(self.rows[0]) else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        cell = self.cell(index)
        if cell is None:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return CHIPS[cell.verdict].word
        if role == Role.CHIP:
            return cell.verdict
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return cell.in_words
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{cell.reason}\n{cell.explained}"
        return None


def as_text(rows: Sequence[Sequence[Cell]]) -> str:
    """The grid with its titles: columns with tabs between."""
    if not rows:
        return ""
    head = [f"Cache {rows[0][0].kv_type}", *(words.short_tokens(cell.context) for cell in rows[0])]
    lines = [[row[0].level, *(f"{CHIPS[cell.verdict].word} {words.size(cell.needs)}" for cell in row)] for row in rows]
    return "\n".join("\t".join(line) for line in [head, *lines])


def _frame(rows: Sequence[Sequence[Cell]]) -> list[tuple[str, int]]:
    return [(cell.level, cell.context) for row in rows for cell in row]
