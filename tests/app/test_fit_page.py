"""The page Fit in the real window: ranking, the answer, the grid by keyboard, what is copied, and no stutter."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

import core
from app.pages.fit import FitPage, _differs
from app.pages.fit_answers import Source, pace, source_of_model
from app.tables.row_model import Role
from app.tasks import Tasks
from app.widgets.fit_detail import ANSWER, GRID, RUN
from app.window import FIT, MAKE, MODELS, MainWindow, make_app
from core import Hardware, Rate, sample_folder
from tests.app.known_models import known_model

pytestmark = pytest.mark.slow

SLOW = 20_000


def settle(page: FitPage, qtbot: QtBot) -> None:
    """Waits until everything that was asked has been answered."""
    kinds = ("detect", "fit-model", "fit-open", "fit", "fit-answer")
    busy = lambda: page._wait.isActive() or page._stale or any(page._tasks.busy(kind) for kind in kinds)  # noqa: E731
    qtbot.waitUntil(lambda: not busy(), timeout=SLOW)


@cache
def source(name: str) -> Source:
    """Planned once for all tests."""
    return source_of_model(known_model(name))


@cache
def machine(*gpus: str, ram: str = "16G") -> Hardware:
    """This processor with that memory and those GPUs."""
    return core.override(core.detect(), core.read_override(ram=ram, gpus=gpus))


@pytest.fixture
def page(qtbot: QtBot, tmp_path: Path) -> FitPage:
    """Three models on a machine with 16 GB of RAM and an RTX 4070; the best is chosen."""
    make_app([])
    tasks = Tasks()
    page = FitPage(tasks, QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat), context=4096)
    qtbot.addWidget(page, before_close_func=lambda _: tasks.close())
    page._take_sources([source(name) for name in ("Llama-3.2-3B", "Llama-3.3-70B", "Llama-3.1-8B")])
    page.resize(1000, 700)
    with qtbot.waitActive(page):
        page.show()
        page.activateWindow()
    page.take_hardware(machine("RTX 4070"))
    qtbot.waitUntil(lambda: page.detail.full is not None, timeout=SLOW)
    settle(page, qtbot)
    return page


def test_without_a_model_the_page_says_what_to_do(window: MainWindow, qtbot: QtBot) -> None:
    window.show_page(FIT)
    window.fit._tasks.drop("library")  # whatever models this computer has
    assert window.fit.state == "empty"
    assert not window.fit.make.isEnabled()
    opens = [b for b in window.fit.findChildren(QPushButton) if b.text() == "Open a model" and b.isVisible()]
    opens[-1].click()
    assert window.pages.currentIndex() == MODELS


def test_an_opened_model_is_judged_and_answered(window: MainWindow, qtbot: QtBot) -> None:
    window.open_path(sample_folder())
    qtbot.waitUntil(lambda: window.models.model is not None)
    window.show_page(FIT)
    qtbot.waitUntil(lambda: window.fit.detail.full is not None, timeout=SLOW)
    assert sample_folder() in [row.path for row in window.fit.rows.rows]
    assert window.fit.detail.full is not None
    assert window.fit.detail.full.path == sample_folder()
    assert window.fit.detail.advice.text() != ""


def test_models_opened_before_are_judged_too_and_a_lost_one_is_named(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.store.setValue("models/recent", [str(sample_folder()), str(tmp_path / "gone")])
    window.show_page(FIT)
    qtbot.waitUntil(lambda: window.fit.detail.full is not None, timeout=SLOW)
    assert sample_folder() in [row.path for row in window.fit.rows.rows]
    assert str(tmp_path / "gone") in window.fit._problems.toolTip()
    assert window.fit._problems.isVisible()


def test_models_of_the_library_are_judged_too(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(sample_folder(), models / "somebody" / "tiny")
    window._keep(replace(window.settings, library_folders=(str(models),)))
    window.show_page(FIT)
    qtbot.waitUntil(lambda: window.library.library is not None, timeout=SLOW)
    window.fit.look_wanted.emit()
    qtbot.waitUntil(lambda: window.fit.detail.full is not None, timeout=SLOW)
    assert models / "somebody" / "tiny" in [row.path for row in window.fit.rows.rows]


def test_what_does_most_for_this_machine_comes_first(page: FitPage) -> None:
    rows = page.rows.rows
    assert [row.model.name for row in rows] == ["Llama-3.1-8B", "Llama-3.2-3B", "Llama-3.3-70B"]
    assert [row.rank for row in rows] == [1, 2, 3]
    assert [str(row.fit.verdict) for row in rows] == ["fits", "fits", "no"]


def test_the_chosen_model_stays_chosen_when_its_rank_changes(page: FitPage, qtbot: QtBot) -> None:
    page.table.choose("Llama-3.3-70B")
    settle(page, qtbot)
    page.context.choose("65536")
    settle(page, qtbot)
    chosen = page.table.current()
    assert chosen is not None
    assert chosen.model.name == "Llama-3.3-70B"
    assert page.detail.full is not None
    assert page.detail.full.path == chosen.path


def test_a_verdict_follows_the_context_that_is_wanted(page: FitPage, qtbot: QtBot) -> None:
    before = page.rows.rows[0].fit
    page.context.choose("65536")
    settle(page, qtbot)
    assert page.rows.rows[0].fit.context == 65536
    assert page.rows.rows[0].fit.kv > before.kv


def test_a_verdict_follows_the_memory_that_is_free(page: FitPage, qtbot: QtBot) -> None:
    page.take_hardware(machine("RTX 4090", "RTX 4090", ram="128G"))
    settle(page, qtbot)
    assert {str(row.fit.verdict) for row in page.rows.rows} <= {"fits", "tight"}
    assert page.rows.rows[0].model.name == "Llama-3.3-70B"


def test_memory_that_moves_a_little_is_no_reason_to_judge_again() -> None:
    here = machine("RTX 4070")
    moved = replace(here, memory=replace(here.memory, available=here.memory.available - 1_000_000))
    freed = replace(here, memory=replace(here.memory, available=here.memory.available // 2))
    assert not _differs(here, moved)
    assert _differs(here, freed)


def test_the_three_wishes_give_what_they_say(page: FitPage, qtbot: QtBot) -> None:
    found = {}
    for want in ("quality", "balanced", "context"):
        page.want.choose(want)
        settle(page, qtbot)
        found[want] = page.rows.rows[0]
    assert found["quality"].quality >= found["balanced"].quality
    assert found["context"].fit.context > found["balanced"].fit.context


def test_what_was_wanted_is_remembered(page: FitPage) -> None:
    page.want.choose("context")
    page.context.choose("16384")
    page.cache.choose("q8_0")
    again = FitPage(page._tasks, page._store, context=4096)
    assert again.asked == page.asked
    again.deleteLater()


def test_the_answer_names_level_verdict_band_speed_and_what_would_change_it(page: FitPage, qtbot: QtBot) -> None:
    page.context.choose("65536")
    settle(page, qtbot)
    assert page.detail.full is not None
    answer = page.detail.full.answer
    assert answer.plan.recipe.name in page.detail.name.whole
    assert page.detail.memory.need.total == answer.fit.total
    assert "Band: " in page.detail.band.text()
    assert "tokens/s" in page.detail.facts.as_text()
    assert answer.counterfactuals
    assert all(change.words in page.detail.changes.text() for change in answer.counterfactuals)


def test_the_sum_is_shown_by_hover_and_by_key_and_adds_up(page: FitPage, qtbot: QtBot) -> None:
    assert page.detail.full is not None
    answer = page.detail.full.answer
    assert answer.arithmetic.words in page.detail.memory.toolTip()
    assert page.detail.sum.isHidden()
    page.detail.show_sum.setFocus()
    qtbot.keyClick(page.detail.show_sum, Qt.Key.Key_Space)
    assert not page.detail.sum.isHidden()
    assert answer.arithmetic.parts[0].words in page.detail.sum.text()
    assert sum(part.nbytes for part in answer.arithmetic.parts) == answer.arithmetic.total


def test_a_filter_hides_the_others_and_escape_brings_them_back(page: FitPage, qtbot: QtBot) -> None:
    page.filter.setFocus()
    qtbot.keyClicks(page.filter, "70b")
    assert page.table.model().rowCount() == 1
    qtbot.keyClick(page.filter, Qt.Key.Key_Escape)
    assert page.table.model().rowCount() == 3


def test_columns_sort_by_what_they_mean(page: FitPage) -> None:
    page.table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    names = [page.table.model().index(row, 0).data() for row in range(3)]
    assert names == ["Llama-3.2-3B", "Llama-3.1-8B", "Llama-3.3-70B"]


def test_make_this_opens_make_with_the_level_and_the_context(window: MainWindow, qtbot: QtBot) -> None:
    window.open_path(sample_folder())
    qtbot.waitUntil(lambda: window.make.state == "content", timeout=SLOW)
    window.show_page(FIT)
    page = window.fit
    qtbot.waitUntil(lambda: page.detail.full is not None, timeout=SLOW)
    page.detail.tabs.setCurrentIndex(GRID)
    page.detail.grid.view.setCurrentIndex(page.detail.grid.model.find("Q5_K_M", 4096))
    assert page.make.text() == "Make Q5_K_M"
    qtbot.keyClick(page.detail.grid.view, Qt.Key.Key_Return)
    assert window.pages.currentIndex() == MAKE

    def chosen() -> str:
        option = window.make.table.current()
        return option.recipe.name if option else ""

    qtbot.waitUntil(lambda: chosen() == "Q5_K_M", timeout=SLOW)
    assert window.make.context.value() == 4096


def test_the_grid_is_walked_by_arrow_keys_and_says_each_cell(page: FitPage, qtbot: QtBot) -> None:
    page.detail.tabs.setCurrentIndex(GRID)
    view, model = page.detail.grid.view, page.detail.grid.model
    view.setFocus()
    view.setCurrentIndex(model.find("Q6_K", 4096))
    qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Down)
    cell = view.current()
    assert cell is not None
    assert (cell.context, cell.level) == (8192, "Q5_K_M")
    assert page.detail.grid.line.text() == f"{cell.in_words}. {cell.sum_line}"
    assert view.currentIndex().data(Qt.ItemDataRole.AccessibleTextRole) == cell.in_words
    assert view.currentIndex().data(Role.CHIP) == cell.verdict
    assert view.currentIndex().data() == cell.verdict.capitalize()
    assert cell.sum_line in view.currentIndex().data(Qt.ItemDataRole.ToolTipRole)


def test_the_grid_shows_the_cache_that_is_chosen(page: FitPage, qtbot: QtBot) -> None:
    page.cache.choose("q4_0")
    settle(page, qtbot)
    grid = page.detail.grid
    assert grid.cache.key == "q4_0"
    assert {cell.kv_type for row in grid.model.rows for cell in row} == {"q4_0"}
    grid.cache.choose("q8_0")
    assert {cell.kv_type for row in grid.model.rows for cell in row} == {"q8_0"}


def test_more_context_never_makes_a_cell_better(page: FitPage) -> None:
    order = ["fits", "tight", "splits", "no"]
    for row in page.detail.grid.model.rows:
        ranks = [order.index(cell.verdict) for cell in row]
        assert ranks == sorted(ranks)


def test_the_grid_is_copied_as_text_with_all_caches(page: FitPage, qtbot: QtBot) -> None:
    page.detail.tabs.setCurrentIndex(GRID)
    page.detail.grid.view.setFocus()
    qtbot.keyClick(page.detail.grid.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    text = QApplication.clipboard().text()
    assert text.startswith("Cache f16\t4K\t8K\t16K\t32K\t64K\t128K\n")
    assert "Cache q4_0\t" in text
    assert "\nQ4_K_M\tFits 5." in text


def test_run_lines_are_copied_by_their_buttons(page: FitPage, qtbot: QtBot) -> None:
    page.detail.tabs.setCurrentIndex(RUN)
    lines = page.detail.full.answer.run_lines if page.detail.full else ()
    assert [line.program for line in lines] == ["llama.cpp", "Ollama", "LM Studio"]
    for line in lines:
        copies = page.detail.lines.findChildren(QPushButton)
        next(b for b in copies if b.accessibleName() == f"Copy for {line.program}").click()
        assert QApplication.clipboard().text() == line.text
        assert line.program in page.banner.message


def test_measuring_this_machine_makes_the_range_its_own(window: MainWindow, qtbot: QtBot) -> None:
    window.open_path(sample_folder())
    qtbot.waitUntil(lambda: window.models.model is not None)
    window.show_page(FIT)
    qtbot.waitUntil(lambda: window.fit.detail.full is not None, timeout=SLOW)
    assert window.fit.detail.measure.isVisible()
    window.fit.detail.measure.click()
    assert not window.fit.detail.measure.isEnabled()
    qtbot.waitUntil(lambda: window.fit._calibration is not None, timeout=SLOW)
    assert window.fit.detail.measure.isEnabled()


def test_the_machine_asked_about_is_the_one_that_is_judged(window: MainWindow, qtbot: QtBot) -> None:
    window.open_path(sample_folder())
    qtbot.waitUntil(lambda: window.models.model is not None)
    window.show_page(FIT)
    window.machine.ask_about(core.read_override(ram="4G:1G", gpus=["none"]))
    qtbot.waitUntil(lambda: "asked about" in window.fit.purpose.text(), timeout=SLOW)
    qtbot.waitUntil(lambda: window.fit.rows.rows != [] and window.fit.rows.rows[0].fit.budget < 10**9, timeout=SLOW)


def test_another_machine_is_not_measured(page: FitPage) -> None:
    assert not page.detail.measure.isVisible()
    assert "asked about" in page.purpose.text()


def test_tab_reaches_every_control_in_the_order_of_the_eye(page: FitPage, qtbot: QtBot) -> None:
    page.detail.tabs.setCurrentIndex(ANSWER)
    page.want.findChildren(QPushButton)[1].setFocus()
    wanted = [page.context.button, page.cache.button, page.filter, page.table]
    for widget in wanted:
        qtbot.keyClick(page.focusWidget(), Qt.Key.Key_Tab)
        assert page.focusWidget() is widget


def test_a_menu_choice_goes_by_up_and_down(page: FitPage, qtbot: QtBot) -> None:
    page.context.choose("4096")
    page.context.setFocus()
    qtbot.keyClick(page.context.button, Qt.Key.Key_Down)
    assert page.context.key == "8192"
    interface = QAccessible.queryAccessibleInterface(page.context.button)
    assert interface is not None
    assert interface.text(QAccessible.Text.Name) == "Context wanted: 8K tokens"


def test_a_pace_is_rounded_as_far_as_it_is_known() -> None:
    rate = Rate(4.21, 6.04, 9.97, "low", "guess")  # type: ignore[arg-type]
    assert pace(rate) == "4.2 to 10 tokens/s, likely 6.0 (low confidence)"


def test_judging_again_never_holds_up_the_window(page: FitPage, qtbot: QtBot) -> None:
    ticks: list[float] = []
    timer = QTimer(page, interval=2)
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    best = 1.0
    for context in ("8192", "16384", "32768", "65536"):
        ticks.clear()
        timer.start()
        page.context.choose(context)
        settle(page, qtbot)
        timer.stop()
        best = min(best, max(later - earlier for earlier, later in pairwise(ticks)))
    assert best < 0.05
