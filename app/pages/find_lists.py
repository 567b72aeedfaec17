"""The lists of the page Find: well-known models and models found, with verdicts for the rows in sight."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from app import words
from app.hub_tasks import HubTasks
from app.tables.hub_columns import FOUND_COLUMNS, KNOWN_COLUMNS, SPARE, SPARE_OF_KNOWN, HubRow, row_from
from app.tables.row_model import Role, RowModel
from app.tables.row_view import RowView
from app.theme import RESOURCES, SIZES
from app.widgets.hub_filters import KNOWN, HubFilters
from app.widgets.page import empty_state
from app.widgets.parts import label
from app.widgets.parts import row as side_by_side
from app.words import Problem

TYPING_MS = 300
NEAR_END = 6
MOST_HIDDEN_PAGES = 5
_ROOM_FOR_ALL = 1000


def known_models() -> list[HubRow]:
    """The well-known models that come with Snug."""
    file = RESOURCES / "data" / "curated.json"
    return [row_from(values) for values in json.loads(file.read_text(encoding="utf-8"))]


class HubLists(QWidget):
    """`chosen` when another row is selected or none, `opened` carries a row, `glanced` one whose verdict has come,
    `failed` why a search gave nothing; `began` when a search starts."""

    chosen = Signal()
    opened = Signal(object)
    glanced = Signal(object)
    failed = Signal(object)
    began = Signal()

    def __init__(self, hub: HubTasks, store: QSettings) -> None:
        super().__init__()
        self._hub = hub
        self._search = self._more = 0
        self._has_more = False
        self._empty_pages = 0
        self._rows: dict[str, HubRow] = {}
        self._asked: dict[str, Any] = {}
        self._glances: dict[str, int] = {}
        self.filters = HubFilters()
        self.found = RowModel[HubRow](FOUND_COLUMNS, key=lambda row: row.id)
        self.known = RowModel[HubRow](KNOWN_COLUMNS, key=lambda row: row.id)
        self.found_table = RowView(self.found, name="Models found")
        self.known_table = RowView(self.known, name="Well-known models")
        self.count, self.about = label("", role="muted", wrap=True), label("", role="muted")
        self._typing = QTimer(self, singleShot=True, interval=TYPING_MS)
        self._looking = QTimer(self, singleShot=True, interval=TYPING_MS)
        self._make_parts()
        self._connect(store)
        self._show_known()

    def _make_parts(self) -> None:
        self._shown, self._tables = QStackedWidget(), QStackedWidget()
        self._waiting = empty_state("Asking the Hub", "The first models come in a moment.")
        self._nothing = empty_state("Nothing was found", "Use fewer words, or clear filters.", "Clear", self._clear)
        for table in (self.known_table, self.found_table):
            self._tables.addWidget(table)
        for widget in (self._tables, self._waiting, self._nothing):
            self._shown.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addWidget(self.filters)
        said = side_by_side(self.count, self.about)
        said.setStretch(0, 1)
        layout.addLayout(said)
        layout.addWidget(self._shown, 1)

    def _connect(self, store: QSettings) -> None:
        self._typing.timeout.connect(self.search)
        self._looking.timeout.connect(self._look_at_sight)
        self.filters.typed.connect(self._typing.start)
        self.filters.changed.connect(self.search)
        for table, key in ((self.found_table, "found"), (self.known_table, "known")):
            table.remember_widths(store, f"widths/find-{key}")
            table.chosen.connect(lambda _: self.chosen.emit())
            table.opened.connect(self.opened)
            table.verticalScrollBar().valueChanged.connect(lambda _: self._scrolled())

    @property
    def state(self) -> str:
        """known, found, waiting or nothing."""
        shown = self._shown.currentWidget()
        if shown is self._tables:
            return "known" if self.table is self.known_table else "found"
        return "waiting" if shown is self._waiting else "nothing"

    @property
    def table(self) -> RowView[HubRow]:
        return self.known_table if self._tables.currentWidget() is self.known_table else self.found_table

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        is_narrow = self.width() < _ROOM_FOR_ALL
        for table, columns, spare in (
            (self.found_table, FOUND_COLUMNS, SPARE),
            (self.known_table, KNOWN_COLUMNS, SPARE_OF_KNOWN),
        ):
            for position, one in enumerate(columns):
                table.setColumnHidden(position, is_narrow and one.title in spare)

    def search(self) -> None:
        """Asks for what the filters say; well-known models where they say nothing."""
        self._typing.stop()
        self.began.emit()
        self._forget_search()
        self.filters.show_count()
        if self.filters.is_empty and self.filters.sort == KNOWN:
            self._show_known()
            return
        if self.filters.sort == KNOWN:
            self.filters.show_sort("trending")
        self._tables.setCurrentWidget(self.found_table)
        self._shown.setCurrentWidget(self._waiting)
        self._empty_pages = 0
        self.count.setText("")
        values = {"filters": self.filters.values(), "sort": self.filters.sort}
        self._search = self._hub.ask("search", values, done=self._show_found, failed=self._search_failed)
        self.chosen.emit()

    def _clear(self) -> None:
        self.filters.text.clear()
        self.filters.start_over()

    def _show_known(self) -> None:
        self._tables.setCurrentWidget(self.known_table)
        self._shown.setCurrentWidget(self._tables)
        rows = [self._rows.get(row.id, row) for row in known_models()]
        self._rows.update({row.id: row for row in rows})
        self._set(self.known, rows)
        self.count.setText("Well-known open models, and what each is good at. Type to search all of the Hub.")
        if self.table.current() is None and rows:
            self.table.choose(self.known.rows[0].id if self.known.rows else "")
        self._looking.start()
        self.chosen.emit()

    def _set(self, model: RowModel[HubRow], rows: list[HubRow]) -> None:
        model.set_rows([row for row in rows if self._may_show(row)])

    def _may_show(self, row: HubRow) -> bool:
        """With "fits this machine", those that may still fit: a verdict that is not known hides nothing."""
        return not self.filters.fits.isChecked() or row.verdict not in ("no", "unsupported")

    def _show_found(self, page: dict[str, Any]) -> None:
        rows = self._taken(page)
        self._set(self.found, rows)
        self._shown.setCurrentWidget(self._tables if rows else self._nothing)
        self.found_table.scrollToTop()
        if self.found.rows:
            self.found_table.choose(self.found.rows[0].id)
        self._counted()

    def _show_more(self, page: dict[str, Any]) -> None:
        self._more = 0
        known = {row.id for row in self.found.rows}
        rows = [row for row in self._taken(page) if row.id not in known and self._may_show(row)]
        self.found.add_rows(rows)
        self._empty_pages = 0 if rows else self._empty_pages + 1
        self._counted()

    def _taken(self, page: dict[str, Any]) -> list[HubRow]:
        self._has_more = page["more"]
        rows = [row_from(values) for values in page["rows"]]
        for row in rows:
            before = self._rows.get(row.id)
            self._rows[row.id] = _with_known(row, before) if before else row
        return [self._rows[row.id] for row in rows]

    def _counted(self) -> None:
        more = ", more as you scroll" if self._has_more else ""
        self.count.setText(f"{words.count(len(self.found.rows), 'model')}{more}")
        self._looking.start()
        self.chosen.emit()
        QTimer.singleShot(0, self._scrolled)

    def _search_failed(self, problem: Problem) -> None:
        self._shown.setCurrentWidget(self._tables)
        self.found.set_rows([])
        self._has_more = False
        self.failed.emit(problem)
        self.count.setText("The Hub could not be asked. Well-known models are listed without it: clear the search.")
        self.chosen.emit()

    def _scrolled(self) -> None:
        """More rows when the end comes into sight; verdicts for what is in sight."""
        self._looking.start()
        bar = self.found_table.verticalScrollBar()
        near = bar.value() >= bar.maximum() - NEAR_END
        wanted = self._has_more and not self._more and self._empty_pages < MOST_HIDDEN_PAGES
        if near and wanted and self.table is self.found_table and self.isVisible():
            self._more = self._hub.ask("more", {"of": self._search}, done=self._show_more, failed=self._more_failed)

    def _more_failed(self, problem: Problem) -> None:
        self._more, self._has_more = 0, False
        self.failed.emit(problem)

    def _forget_search(self) -> None:
        for number in (self._search, self._more, *self._glances.values()):
            self._hub.drop(number)
        self._search = self._more = 0
        self._glances.clear()

    def current(self) -> HubRow | None:
        return self.table.current()

    def row(self, row: HubRow) -> HubRow:
        """The same with what has been found of it since."""
        return self._rows.get(row.id, row)

    def enter(self) -> bool:
        """Searches at once for what is being typed; False when nothing is."""
        if not self._typing.isActive() and not self.filters.text.hasFocus():
            return False
        if self._typing.isActive():
            self.search()
        self.table.setFocus()
        return True

    def look_again(self) -> None:
        """Asks again for what could not be seen."""
        self._change_rows(trouble="")

    def judge_for(self, asked: dict[str, Any]) -> None:
        """Verdicts are about this wish and this machine from now on, as the process that gives them reads them."""
        if asked == self._asked:
            return
        self._asked = asked
        for number in self._glances.values():
            self._hub.drop(number)
        self._glances.clear()
        self._change_rows(glance=None)
        if self.filters.fits.isChecked():
            self.search()

    def show_wish(self, words_: str) -> None:
        """Says what the verdicts are about."""
        self.about.setText(f"Verdicts: {words_}")

    def _change_rows(self, **values: Any) -> None:
        self._rows = {id: replace(row, **values) for id, row in self._rows.items()}
        for model in (self.known, self.found):
            for row in model.rows:
                model.update_row(self._rows[row.id])
        self._looking.start()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._looking.start()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Down and self.filters.text.hasFocus():
            self.table.setFocus()
            return
        super().keyPressEvent(event)

    # Verdicts

    def _look_at_sight(self) -> None:
        """Asks for the verdicts of the rows in sight that have none."""
        if not self.isVisible():
            return
        for row in self._in_sight():
            if row.glance is None and not row.trouble and row.id not in self._glances:
                done, failed = partial(self._show_glance, row.id), partial(self._no_glance, row.id)
                asked = {"source": row.source, **self._asked}
                self._glances[row.id] = self._hub.ask("glance", asked, done=done, failed=failed)

    def _in_sight(self) -> list[HubRow]:
        table = self.table
        if not table.isVisible():
            return []
        height = table.viewport().height()
        first = max(0, table.indexAt(table.viewport().rect().topLeft()).row())
        model = table.model()
        positions = range(first, min(first + height // SIZES.row + 2, model.rowCount()))
        return [model.index(position, 0).data(Role.ROW) for position in positions]

    def _no_glance(self, id: str, problem: Problem) -> None:
        self._show_glance(id, None, problem.message)

    def _show_glance(self, id: str, found: dict[str, Any] | None, trouble: str = "") -> None:
        self._glances.pop(id, None)
        row = self._rows.get(id)
        if row is None:
            return
        row = self._rows[id] = replace(row, glance=found, trouble=trouble)
        for model in (self.known, self.found):
            model.update_row(row)
        self.glanced.emit(row)
        if not self._may_show(row):
            self._hide(id)

    def _hide(self, id: str) -> None:
        model = self.table.rows_model
        current = self.table.current()
        model.set_rows([row for row in model.rows if row.id != id])
        if current is not None:
            self.table.choose(current.id)
        self._scrolled()


def _with_known(row: HubRow, before: HubRow) -> HubRow:
    """The row with what was known of it; the verdict only if it is of the same commit."""
    same = before.commit in ("", row.commit)
    return replace(row, note=before.note, glance=before.glance if same else None)
