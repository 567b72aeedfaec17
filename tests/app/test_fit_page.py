"""The page Fit in the real window: ranking, the answer, the grid by keyboard, what is copied, and no stutter."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

import core
from app.fit_tasks import FitTasks
from app.pages.fit import FitPage, _differs
from app.pages.fit_answers import KNOWN, Judged, Wanted, pace
from app.tables.row_model import Role
from app.widgets.fit_detail import ANSWER, GRID, RUN
from app.window import FIND, FIT, MAKE, MODELS, MainWindow, make_app
from core import Hardware, Rate, sample_folder

pytestmark = pytest.mark.slow

SLOW = 30_000
# Tokens of context that the sample was trained for.
TRAINED = 512
SMALL, MIDDLE, LARGE = (f"meta-llama/Llama-{name}-Instruct" for name in ("3.2-3B", "3.1-8B", "3.3-70B"))


def busy(page: FitPage) -> bool:
    return (
        page._wait.isActive()
        or page._soon.isActive()
        or page._filled.isActive()
        or page._is_stale
        or any(map(page._tasks.busy, ("judge", "answer")))
    )


def settle(page: FitPage, qtbot: QtBot) -> None:
    """Waits until everything that was asked has been answered."""
    qtbot.waitUntil(lambda: not busy(page), timeout=SLOW)


def row_of(page: FitPage, key: str) -> Judged | None:
    return next((row for row in page.rows.rows if row.key == key), None)


@cache
def machine(*gpus: str, ram: str = "16G") -> Hardware:
    """This processor with that memory and those GPUs."""
    return core.override(core.detect(), core.read_override(ram=ram, gpus=gpus))


@pytest.fixture(scope="module")
def desk() -> Iterator[FitTasks]:
    """One process for all tests of the page: it opens each model once."""
    make_app([])
    tasks = FitTasks()
    yield tasks
    tasks.close()


@pytest.fixture
def page(qtbot: QtBot, tmp_path: Path, desk: FitTasks) -> FitPage:
    """Three models on a machine with 16 GB of RAM and an RTX 4070; the best is chosen."""
    page = FitPage(desk, QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat), context=4096)
    qtbot.addWidget(page, before_close_func=lambda _: desk._waiting.clear())
    page.resize(1000, 700)
    with qtbot.waitActive(page):
        page.show()
        page.activateWindow()
    page.take_hardware(machine("RTX 4070"))
    page.take_wanted([Wanted(key, key, KNOWN) for key in (SMALL, LARGE, MIDDLE)])
    qtbot.waitUntil(lambda: page.detail.full is not None and page.state == "content", timeout=SLOW)
    settle(page, qtbot)
    return page


def fit_shown(window: MainWindow, qtbot: QtBot, path: Path) -> FitPage:
    """The page Fit with its answer about the model at `path`."""
    window.open_path(path)
    qtbot.waitUntil(lambda: window.models.model is not None and window.models.model.path == path)
    window.show_page(FIT)
    page = window.fit
    qtbot.waitUntil(lambda: page.detail.full is not None and page.detail.full.key == str(path), timeout=SLOW)
    qtbot.waitUntil(lambda: page.state == "content", timeout=SLOW)
    return page


def test_without_a_model_the_well_known_ones_are_ranked(window: MainWindow, qtbot: QtBot) -> None:
    window.show_page(FIT)
    assert window.fit.state == "loading"
    assert not window.fit.make.isEnabled()
    qtbot.waitUntil(lambda: window.fit.state == "content" and not busy(window.fit), timeout=SLOW)
    assert {row.wanted.where for row in window.fit.rows.rows} >= {KNOWN}
    assert len([row for row in window.fit.rows.rows if row.wanted.where == KNOWN]) > 20
    assert window.fit.make.text() == "See it in Find"


def test_a_model_of_the_hub_is_looked_at_on_the_page_find(window: MainWindow, qtbot: QtBot) -> None:
    window.show_page(FIT)
    qtbot.waitUntil(lambda: window.fit.state == "content" and not busy(window.fit), timeout=SLOW)
    window.fit.table.choose(SMALL)
    qtbot.waitUntil(lambda: window.fit._shown() is not None, timeout=SLOW)
    qtbot.keyClick(window.fit.table, Qt.Key.Key_Return)
    assert window.pages.currentIndex() == FIND
    assert window.finder.panel.row is not None
    assert window.finder.panel.row.id == SMALL


def test_an_opened_model_is_judged_and_answered(window: MainWindow, qtbot: QtBot) -> None:
    page = fit_shown(window, qtbot, sample_folder())
    qtbot.waitUntil(lambda: row_of(page, str(sample_folder())) is not None, timeout=SLOW)
    assert page.detail.advice.text() != ""


def test_models_opened_before_are_judged_too_and_a_lost_one_is_named(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.store.setValue("models/recent", [str(sample_folder()), str(tmp_path / "gone")])
    window.show_page(FIT)
    qtbot.waitUntil(lambda: window.fit._problems.isVisible(), timeout=SLOW)
    assert row_of(window.fit, str(sample_folder())) is not None
    assert "gone" in window.fit._problems.toolTip()


def test_models_of_the_library_come_and_go_with_it(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    models = tmp_path / "models"
    folder = models / "somebody" / "tiny"
    shutil.copytree(sample_folder(), folder)
    window._keep(replace(window.settings, library_folders=(str(models),)))
    window.show_page(FIT)
    qtbot.waitUntil(lambda: row_of(window.fit, str(folder)) is not None, timeout=SLOW)
    shutil.rmtree(folder)
    window.show_page(MODELS)
    window.show_page(FIT)
    qtbot.waitUntil(lambda: row_of(window.fit, str(folder)) is None, timeout=SLOW)


def test_a_gguf_file_is_judged_as_it_is(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    plan = core.make_plan(core.open_model(sample_folder()), core.find_recipe("Q4_K_M"))
    file = tmp_path / "mine.gguf"
    file.write_bytes(plan.header)
    os.truncate(file, plan.file_bytes)
    page = fit_shown(window, qtbot, file)
    full = page.detail.full
    assert full is not None
    assert (full.level, full.is_made) == ("Q4_K_M", True)
    assert str(file) in full.run_lines[0].text
    assert page.make.text() == "How to run it"
    page.make.click()
    assert page.detail.tabs.currentIndex() == RUN


def test_what_does_most_for_this_machine_comes_first(page: FitPage) -> None:
    rows = page.rows.rows
    assert [row.name for row in rows] == [MIDDLE, SMALL, LARGE]
    assert [row.rank for row in rows] == [1, 2, 3]
    assert page.detail.full is not None
    assert page.detail.full.key == MIDDLE
    assert [str(row.fit.verdict) for row in rows] == ["fits", "fits", "no"]


def test_the_chosen_model_stays_chosen_when_its_rank_changes(page: FitPage, qtbot: QtBot) -> None:
    page.table.choose(LARGE)
    settle(page, qtbot)
    page.context.choose("65536")
    settle(page, qtbot)
    chosen = page.table.current()
    assert chosen is not None
    assert chosen.name == LARGE
    assert page.detail.full is not None
    assert page.detail.full.key == chosen.key


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
    assert page.rows.rows[0].name == LARGE


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
    answer = page.detail.full
    assert answer.level in page.detail.name.whole
    assert page.detail.memory.need.total == answer.fit.total
    assert "Band: " in page.detail.band.text()
    assert "tokens/s" in page.detail.facts.as_text()
    assert answer.counterfactuals
    assert all(change.words in page.detail.changes.text() for change in answer.counterfactuals)


def test_the_sum_is_shown_by_hover_and_by_key_and_adds_up(page: FitPage, qtbot: QtBot) -> None:
    assert page.detail.full is not None
    answer = page.detail.full
    assert answer.arithmetic.words in page.detail.memory.toolTip()
    assert page.detail.sum.isHidden()
    page.detail.show_sum.setFocus()
    qtbot.keyClick(page.detail.show_sum, Qt.Key.Key_Space)
    assert not page.detail.sum.isHidden()
    qtbot.keyClick(page.table, Qt.Key.Key_S, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: page.detail.sum.isHidden())
    qtbot.keyClick(page.table, Qt.Key.Key_S, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: not page.detail.sum.isHidden())
    assert answer.arithmetic.parts[0].words in page.detail.sum.text()
    assert sum(part.nbytes for part in answer.arithmetic.parts) == answer.arithmetic.total


def test_a_filter_hides_the_others_and_escape_brings_them_back(page: FitPage, qtbot: QtBot) -> None:
    page.filter.setFocus()
    qtbot.keyClicks(page.filter, "70b")
    assert page.table.model().rowCount() == 1
    qtbot.keyClick(page.filter, Qt.Key.Key_Escape)
    assert page.table.model().rowCount() == 3


def test_columns_sort_by_what_they_mean(page: FitPage) -> None:
    page.table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    names = [page.table.model().index(row, 0).data() for row in range(3)]
    assert names == [SMALL, MIDDLE, LARGE]


def test_make_this_opens_make_with_the_level_and_the_context(window: MainWindow, qtbot: QtBot) -> None:
    page = fit_shown(window, qtbot, sample_folder())
    page.detail.tabs.setCurrentIndex(GRID)
    page.detail.grid.view.setCurrentIndex(page.detail.grid.model.find("Q5_K_M", TRAINED))
    assert page.make.text() == "Make Q5_K_M"
    qtbot.keyClick(page.detail.grid.view, Qt.Key.Key_Return)
    assert window.pages.currentIndex() == MAKE

    def chosen() -> str:
        option = window.make.table.current()
        return option.recipe.name if option else ""

    qtbot.waitUntil(lambda: chosen() == "Q5_K_M", timeout=SLOW)
    assert window.make.context.value() == TRAINED


def test_a_model_trained_for_less_is_judged_with_that_and_leaves_what_is_wanted_of_others(
    window: MainWindow, qtbot: QtBot
) -> None:
    page = fit_shown(window, qtbot, sample_folder())
    page.context.choose("131072")
    settle(page, qtbot)
    assert page.detail.full is not None
    assert page.detail.full.fit.context == TRAINED
    assert "trained for 512 tokens of context" in page.detail.advice.text()
    row = row_of(page, str(sample_folder()))
    assert row is not None
    assert "(all that it was trained for)" in row.fit.reason
    qtbot.mouseClick(page.make, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.make.table.current() is not None, timeout=SLOW)
    assert (window.make.context.value(), page.context.key) == (131072, "131072")
    option = window.make.table.current()
    assert option is not None
    assert option.fit.context == TRAINED
    assert "(all that it was trained for)" in option.reason


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
    assert page.detail.grid.line.text() == cell.explained
    assert sum(cell.parts) == cell.needs == page.detail.grid.memory.need.total
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
    lines = page.detail.full.run_lines if page.detail.full else ()
    assert [line.program for line in lines] == ["llama.cpp", "Ollama", "LM Studio"]
    for line in lines:
        copies = page.detail.lines.findChildren(QPushButton)
        next(b for b in copies if b.accessibleName() == f"Copy for {line.program}").click()
        assert QApplication.clipboard().text() == line.text
        assert line.program in page.banner.message


def test_make_this_opens_a_model_that_is_not_open(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(sample_folder(), other)
    fit_shown(window, qtbot, sample_folder())
    page = fit_shown(window, qtbot, other)
    qtbot.waitUntil(lambda: page.rows.position_of(str(sample_folder())) is not None, timeout=SLOW)
    page.table.choose(str(sample_folder()))
    qtbot.waitUntil(lambda: page.detail.full is not None and page.detail.full.key == str(sample_folder()), timeout=SLOW)
    level = page.detail.full.level if page.detail.full else ""
    page.make.click()
    qtbot.waitUntil(lambda: window.pages.currentIndex() == MAKE, timeout=SLOW)

    def chosen() -> str:
        option = window.make.table.current()
        return option.recipe.name if option else ""

    qtbot.waitUntil(lambda: chosen() == level, timeout=SLOW)
    assert window.make.model is not None
    assert window.make.model.path == sample_folder()


def test_make_recommends_what_fit_does(window: MainWindow, qtbot: QtBot) -> None:
    page = fit_shown(window, qtbot, sample_folder())
    for want, context in (("quality", "2048"), ("context", "4096"), ("balanced", "8192")):
        page.want.choose(want)
        page.context.choose(context)
        settle(page, qtbot)
        assert window.make.context.value() == int(context)
        window.show_page(MAKE)

        def starred() -> str:
            return next((option.recipe.name for option in window.make.options.rows if option.recommended), "")

        qtbot.waitUntil(lambda: not window.tasks.busy("options"), timeout=SLOW)
        assert page.detail.full is not None
        assert starred() == page.detail.full.advice.recipe
        window.show_page(FIT)
        settle(page, qtbot)


def test_the_context_of_make_is_that_of_fit(window: MainWindow, qtbot: QtBot) -> None:
    window.make.context.setValue(32768)
    assert window.fit.context.key == "32768"
    window.fit.context.choose("16384")
    assert window.make.context.value() == 16384


def test_measuring_this_machine_is_kept_for_the_next_time(window: MainWindow, qtbot: QtBot) -> None:
    page = fit_shown(window, qtbot, sample_folder())
    assert page.detail.measure.isVisible()
    page.detail.measure.click()
    assert not page.detail.measure.isEnabled()
    qtbot.waitUntil(lambda: page.detail.measure.isEnabled(), timeout=SLOW)
    assert core.kept_calibration(core.detect()) is not None
    assert core.kept_calibration(machine("RTX 4070")) is None


def test_the_machine_asked_about_is_the_one_that_is_judged(window: MainWindow, qtbot: QtBot) -> None:
    page = fit_shown(window, qtbot, sample_folder())
    window.machine.ask_about(core.read_override(ram="4G:1G", gpus=["none"]))
    qtbot.waitUntil(lambda: "asked about" in page.purpose.text(), timeout=SLOW)
    qtbot.waitUntil(lambda: page.rows.rows != [] and page.rows.rows[0].fit.budget < 10**9, timeout=SLOW)


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


def tab_to(page: FitPage, qtbot: QtBot, reached: Callable[[QWidget], bool]) -> QWidget:
    """Presses Tab until it is reached."""
    for _ in range(20):
        qtbot.keyClick(page.focusWidget(), Qt.Key.Key_Tab)
        focus = page.focusWidget()
        if focus is not None and reached(focus):
            return focus
    raise AssertionError("Tab does not reach it")


def test_the_keyboard_alone_chooses_a_model_reads_its_sum_copies_a_run_line_and_walks_the_grid(
    page: FitPage, qtbot: QtBot
) -> None:
    detail = page.detail
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Down)
    settle(page, qtbot)
    assert detail.full is not None
    assert detail.full.key == page.rows.rows[1].key
    tabs = tab_to(page, qtbot, lambda widget: widget is detail.tabs.tabBar())
    tab_to(page, qtbot, lambda widget: widget is detail.show_sum)
    qtbot.keyClick(page.focusWidget(), Qt.Key.Key_Space)
    assert detail.full.arithmetic.words in detail.sum.text()
    tabs.setFocus()
    qtbot.keyClick(tabs, Qt.Key.Key_Right)
    assert detail.tabs.currentIndex() == RUN
    tab_to(page, qtbot, lambda widget: widget.accessibleName() == "Copy for Ollama")
    qtbot.keyClick(page.focusWidget(), Qt.Key.Key_Space)
    assert QApplication.clipboard().text() == detail.full.run_lines[1].text
    tabs.setFocus()
    qtbot.keyClick(tabs, Qt.Key.Key_Right)
    assert detail.tabs.currentIndex() == GRID
    tab_to(page, qtbot, lambda widget: widget is detail.grid.view)
    qtbot.keyClick(page.focusWidget(), Qt.Key.Key_Right)
    cell = detail.grid.view.current()
    assert cell is not None
    assert cell.context == 8192
    page.want.findChildren(QPushButton)[1].setFocus()
    qtbot.keyClick(page.focusWidget(), Qt.Key.Key_Right)
    assert page.want.key == "context"


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
