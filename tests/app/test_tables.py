from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QGuiApplication, QPixmap
from PySide6.QtTest import QAbstractItemModelTester
from pytestqt.qtbot import QtBot

from app import words
from app.store import stored_list, stored_number
from app.tables.row_model import Column, Role, RowModel
from app.tables.row_view import RowView

ROLE = Qt.ItemDataRole


@dataclass(frozen=True)
class Fruit:
    name: str
    grams: int


FRUIT = [Fruit("plum", 9_000), Fruit("fig", 50_000), Fruit("apple", 182_000)]
COLUMNS: tuple[Column[Fruit], ...] = (
    Column("Name", lambda fruit: fruit.name, 90, badge=lambda fruit: "ripe" if fruit.name == "fig" else ""),
    Column(
        "Weight",
        lambda fruit: words.size(fruit.grams),
        80,
        sort=lambda fruit: fruit.grams,
        tooltip=lambda fruit: words.exact(fruit.grams),
        spoken=lambda fruit: f"{fruit.grams} grams",
        right=True,
    ),
    Column("Verdict", lambda fruit: "Fits", 80, chip=lambda fruit: "fits"),
    Column("Eaten", lambda fruit: "", 80, fraction=lambda fruit: 0.5, stretch=True),
)
MakeView = Callable[[], RowView[Fruit]]


@pytest.fixture
def view(qtbot: QtBot) -> RowView[Fruit]:
    model: RowModel[Fruit] = RowModel(COLUMNS, key=lambda fruit: fruit.name)
    view = RowView(model, name="Fruit")
    model.set_rows(FRUIT)
    qtbot.addWidget(view)
    view.resize(500, 300)
    view.show()
    return view


def names(view: RowView[Fruit]) -> list[str]:
    model = view.model()
    return [str(model.index(row, 0).data()) for row in range(model.rowCount())]


def test_the_model_keeps_the_rules_of_qt(view: RowView[Fruit]) -> None:
    QAbstractItemModelTester(view.rows_model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    view.rows_model.set_rows(FRUIT[:1])
    assert view.rows_model.rowCount() == 1


def test_a_column_is_data_for_every_role(view: RowView[Fruit]) -> None:
    index = view.rows_model.index(0, 1)
    right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
    assert index.data() == "9.0 kB"
    assert index.data(ROLE.ToolTipRole) == "9,000 bytes"
    assert index.data(ROLE.AccessibleTextRole) == "9000 grams"
    assert index.data(ROLE.TextAlignmentRole) == right
    assert index.data(Role.ROW) == FRUIT[0]


def test_numbers_sort_as_numbers_and_words_as_words(view: RowView[Fruit]) -> None:
    view.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert names(view) == ["plum", "fig", "apple"]
    view.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    assert names(view) == ["apple", "fig", "plum"]
    view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert names(view) == ["apple", "fig", "plum"]


def test_rows_keep_the_order_they_came_in_until_a_header_is_clicked(view: RowView[Fruit]) -> None:
    assert names(view) == ["plum", "fig", "apple"]


def test_the_selected_row_stays_selected_whatever_the_order_and_the_filter(view: RowView[Fruit]) -> None:
    model = view.rows_model
    last = model.rows[-1]
    view.choose(last.name)
    for column in (1, 0, -1):
        view.sortByColumn(column, Qt.SortOrder.DescendingOrder)
        assert view.current() == last
    view.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    model.update_row(replace(last, grams=10**6))
    assert view.current() == replace(last, grams=10**6)
    assert view.currentIndex().row() == view.shown_rows() - 1
    model.add_rows([replace(last, name="sorted in", grams=0)])
    assert view.model().index(0, 0).data() == "sorted in"
    assert view.current() == replace(last, grams=10**6)
    view.show_only(last.name.upper())
    assert view.shown_rows() == 1
    assert view.current() == replace(last, grams=10**6)
    view.show_only("")
    assert view.shown_rows() == len(model.rows)


def test_thousands_of_rows_are_sorted_with_one_look_at_each(view: RowView[Fruit]) -> None:
    looks = 0

    def grams(fruit: Fruit) -> int:
        nonlocal looks
        looks += 1
        return fruit.grams

    model = view.rows_model
    model.columns[1] = replace(model.columns[1], sort=grams)
    model.set_rows([Fruit(f"fruit {number}", number * 7919 % 3000) for number in range(3000)])
    looks = 0
    view.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert looks == 3000
    shown = [view.model().index(row, 0).data(Role.ROW).grams for row in range(3000)]
    assert shown == list(range(3000))


def test_cells_are_read_ahead_of_a_filter(view: RowView[Fruit]) -> None:
    model = view.rows_model
    assert model.prepare(2)
    assert not model.prepare(2)
    model.columns = []  # from here on nothing could be read
    assert model.has_text(2, "APPLE")
    assert not model.has_text(2, "fig")


def test_copy_takes_the_selected_row_with_its_titles(view: RowView[Fruit], qtbot: QtBot) -> None:
    view.choose("fig")
    qtbot.keyClick(view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == "Name\tWeight\tVerdict\tEaten\nfig\t50.0 kB\tFits\t"


def test_copy_without_a_selection_takes_all_rows(view: RowView[Fruit]) -> None:
    assert len(view.as_text().splitlines()) == 4


def test_arrow_keys_choose_a_row(view: RowView[Fruit], qtbot: QtBot) -> None:
    view.choose("plum")
    with qtbot.waitSignal(view.chosen) as chosen:
        qtbot.keyClick(view, Qt.Key.Key_Down)
    assert chosen.args == [FRUIT[1]]
    assert view.current() == FRUIT[1]


def test_a_changed_row_stays_selected(view: RowView[Fruit]) -> None:
    view.choose("fig")
    view.rows_model.update_row(Fruit("fig", 1))
    assert view.current() == Fruit("fig", 1)


def test_widths_are_remembered(view: RowView[Fruit], qtbot: QtBot, tmp_path: Path) -> None:
    store = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    view.remember_widths(store, "widths")
    view.setColumnWidth(0, 123)
    view.setColumnHidden(0, True)
    view.setColumnWidth(1, 45)
    store.sync()
    again = RowView(view.rows_model, name="Fruit")
    qtbot.addWidget(again)
    again.remember_widths(QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat), "widths")
    assert again.columnWidth(0) == 123


def test_every_kind_of_cell_can_be_painted(view: RowView[Fruit]) -> None:
    view.choose("fig")
    pixmap = QPixmap(view.size())
    view.render(pixmap)
    colors = {pixmap.toImage().pixelColor(x, y).name() for x in range(0, 480, 4) for y in range(40, 140, 4)}
    assert len(colors) > 5


def test_what_was_never_stored_reads_as_nothing(tmp_path: Path) -> None:
    store = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    assert (stored_list(store, "a"), stored_number(store, "b", 2)) == ([], 2)
    store.setValue("a", ["one"])
    store.setValue("b", "rubbish")
    assert (stored_list(store, "a"), stored_number(store, "b", 2)) == (["one"], 2)
