from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

import core
from app.pages.make_options import first_folder, wanted_row
from app.window import JOBS, MAKE, MODELS, MainWindow
from app.worker_process import WorkerProcess
from core import JobState, QuantizeJob, sample_folder
from tests.imatrix import seeded_means, write_imatrix

MakeWindow = Callable[..., MainWindow]
SLOW = 30_000
ENTER = Qt.Key.Key_Return


def ready(window: MainWindow, qtbot: QtBot, folder: Path, *, source: Path | None = None) -> MainWindow:
    """The page Make with a model, ready to make it into `folder`."""
    window.show_page(MAKE)
    window.open_path(source or sample_folder())
    qtbot.waitUntil(lambda: window.make.state == "content", timeout=SLOW)
    window.make.detail.target.show_folder(folder)
    window.show_page(MAKE)
    return window


@pytest.fixture
def window(make_window: MakeWindow, qtbot: QtBot, tmp_path: Path) -> MainWindow:
    return ready(make_window(), qtbot, tmp_path)


def name_target(window: MainWindow, name: str) -> Path:
    window.make.detail.target.name.setText(name)
    return window.make.detail.target.path


def answer(window: MainWindow, word: str) -> None:
    next(b for b in window.make.banner.findChildren(QPushButton) if b.text() == word and b.isVisible()).click()


def test_every_recipe_is_listed_and_the_recommended_one_selected(window: MainWindow) -> None:
    options = window.make.options.rows
    assert len(options) == len(core.RECIPES)
    chosen = window.make.table.current()
    assert chosen is not None
    assert chosen.recommended
    assert window.make.make.text() == f"Make {chosen.recipe.name}"
    assert window.make.detail.target.name.text() == f"Sample-{chosen.recipe.name}.gguf"
    judged = " Judged with 512 tokens of context (all that it was trained for)."
    assert window.make.detail.summary.text() == chosen.recipe.summary + judged


def test_sizes_are_exact_on_hover(window: MainWindow) -> None:
    index = window.make.options.index(0, 1)
    assert index.data(Qt.ItemDataRole.ToolTipRole) == f"{window.make.options.rows[0].plan.file_bytes:,} bytes"


def test_choosing_another_row_changes_all_that_depends_on_it(window: MainWindow) -> None:
    window.make.table.choose("Q4_K_M")
    option = window.make.table.current()
    assert option is not None
    assert window.make.make.text() == "Make Q4_K_M"
    assert window.make.detail.target.path.name == "Sample-Q4_K_M.gguf"
    assert window.make.detail.memory.need.total == option.fit.total


def test_more_context_takes_more_memory_and_keeps_the_row(window: MainWindow, qtbot: QtBot) -> None:
    window.make.table.choose("Q6_K")
    for context in (256, 512):  # the sample was trained for no more
        before = window.make.detail.memory.need.kv
        window.make.context.setValue(context)
        qtbot.waitUntil(lambda before=before: window.make.detail.memory.need.kv != before, timeout=SLOW)  # type: ignore[misc]
    assert window.make.detail.memory.need.kv > before
    chosen = window.make.table.current()
    assert chosen is not None
    assert chosen.recipe.name == "Q6_K"
    assert window.settings.context == 512


def test_the_selection_follows_the_recommendation_until_another_row_is_chosen() -> None:
    def option(name: str, recommended: bool) -> Any:
        return SimpleNamespace(recipe=SimpleNamespace(name=name), recommended=recommended)

    options = [option("Q8_0", False), option("Q4_K_M", True)]
    assert wanted_row(options, None) == "Q4_K_M"
    assert wanted_row(options, option("Q8_0", True)) == "Q4_K_M"
    assert wanted_row(options, option("Q8_0", False)) == "Q8_0"
    assert wanted_row([option("Q8_0", False)], None) == "Q8_0"


def test_the_first_folder_is_beside_the_source_but_never_in_a_cache(tmp_path: Path) -> None:
    model = tmp_path / "models" / "llama"
    cached = tmp_path / "models--meta--llama" / "snapshots" / "0a1b2c"
    for folder in (model, cached):
        folder.mkdir(parents=True)
    assert first_folder(model, last="") == model.parent
    assert first_folder(model, last=str(tmp_path)) == tmp_path
    assert first_folder(model, last="/gone") == model.parent
    assert first_folder(cached, last="") == Path.home()
    assert first_folder(sample_folder(), last="") == Path.home()


def test_a_job_is_made_followed_and_shown_in_jobs(window: MainWindow, qtbot: QtBot) -> None:
    target = name_target(window, "plain.gguf")
    qtbot.mouseClick(window.make.make, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.make.panel.chip.isVisible(), timeout=SLOW)
    assert target.is_file()
    assert window.make.panel.chip.accessibleName() == "Done"
    assert window.make.make.text() == "Make another"
    assert window.settings.last_target_folder == str(target.parent)
    window.make.panel.jobs.click()
    record = window.jobs.table.current()
    assert record is not None
    assert (window.pages.currentIndex(), record.target) == (JOBS, target)


def test_an_existing_file_is_never_replaced_without_a_yes(window: MainWindow, qtbot: QtBot) -> None:
    target = name_target(window, "plain.gguf")
    target.write_text("precious")
    window.make.act()
    qtbot.waitUntil(lambda: window.make.banner.message == "plain.gguf exists already.")
    answer(window, "Keep")
    assert (target.read_text(), window.queue.records()) == ("precious", [])
    window.make.act()
    qtbot.waitUntil(lambda: window.make.banner.message != "")
    answer(window, "Replace")
    qtbot.waitUntil(lambda: window.queue.records() != [] and window.queue.records()[0].state == JobState.DONE)
    assert target.read_text() == "unfinished"
    assert window.queue.records()[0].job.overwrite


def test_what_cannot_work_is_said_before_it_begins(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.make.detail.target.show_folder(tmp_path / "gone")
    window.make.act()
    qtbot.waitUntil(lambda: "does not exist" in window.make.banner.message)
    assert window.queue.records() == []
    assert window.make.make.isEnabled()


def test_cancel_ends_the_job_and_can_be_retried(window: MainWindow, qtbot: QtBot) -> None:
    target = name_target(window, "a-slow.gguf")
    window.make.act()
    qtbot.waitUntil(lambda: window.queue.records() != [] and window.queue.records()[0].progress is not None)
    window.make.panel.cancel.click()
    answer(window, "Throw away")
    qtbot.waitUntil(lambda: window.make.panel.chip.isVisible(), timeout=1000)
    assert window.make.panel.chip.accessibleName() == "Cancelled"
    assert not Path(f"{target}.snug-part").exists()
    window.make.panel.retry.click()
    qtbot.waitUntil(lambda: window.make.panel.progress.isVisible())
    assert len(window.queue.records()) == 2


def test_a_job_is_paused_and_goes_on_from_the_page(window: MainWindow, qtbot: QtBot) -> None:
    name_target(window, "a-slow.gguf")
    window.make.act()
    qtbot.waitUntil(lambda: window.queue.records() != [] and window.queue.records()[0].progress is not None)
    window.make.panel.pause.click()
    qtbot.waitUntil(lambda: window.make.panel.progress.heading.whole == "a-slow.gguf is paused")
    window.make.panel.resume.click()
    qtbot.waitUntil(lambda: window.queue.records()[0].state == JobState.RUNNING)
    assert len(window.queue.records()) == 1


def test_a_job_that_waits_is_changed_in_its_place(window: MainWindow, qtbot: QtBot) -> None:
    for name in ("a-slow.gguf", "b.gguf", "c.gguf"):
        name_target(window, name)
        window.make.act()
        qtbot.waitUntil(lambda: window.make.panel.isVisible())
        window.make.act()
    waiting = window.queue.open_jobs()[1]
    window.jobs.choose(waiting.id)
    window.jobs.do("edit")
    qtbot.waitUntil(lambda: window.page is window.make and window.make.state == "content")
    assert window.make.banner.message == "b.gguf waits while you change it."
    assert window.make.detail.target.name.text() == "b.gguf"
    window.make.table.choose("Q8_0")
    name_target(window, "b8.gguf")
    window.make.act()
    qtbot.waitUntil(lambda: window.make.panel.isVisible())
    assert [(job.target.name, job.recipe) for job in window.queue.open_jobs()][1] == ("b8.gguf", "Q8_0")
    assert window.queue.open_jobs()[1].id == waiting.id
    assert waiting.folder.read_job() == window.queue.open_jobs()[1].job


def test_escape_asks_before_it_stops_a_job(window: MainWindow, qtbot: QtBot) -> None:
    name_target(window, "a-slow.gguf")
    window.make.act()
    qtbot.waitUntil(lambda: window.make.panel.progress.isVisible())
    qtbot.keyClick(window.make.panel.cancel, Qt.Key.Key_Escape)
    assert window.make.banner.message == "Stop making a-slow.gguf?"
    qtbot.keyClick(window.make, Qt.Key.Key_Escape)
    assert window.make.banner.message == ""
    assert len(window.queue.open_jobs()) == 1
    qtbot.keyClick(window.make, Qt.Key.Key_Escape)
    answer(window, "Throw away")
    qtbot.waitUntil(lambda: window.queue.open_jobs() == [], timeout=1000)


def test_a_crash_is_told_with_its_signal_and_never_shown_as_done(window: MainWindow, qtbot: QtBot) -> None:
    name_target(window, "x-killed.gguf")
    window.make.act()
    qtbot.waitUntil(lambda: window.make.panel.chip.isVisible())
    assert window.make.panel.chip.accessibleName() == "Failed"
    assert "The worker crashed (signal 9, SIGKILL)" in window.make.panel.facts.as_text()


def test_several_jobs_wait_for_one_another(window: MainWindow, qtbot: QtBot) -> None:
    for name in ("a-slow.gguf", "b-slow.gguf"):
        name_target(window, name)
        window.make.act()
        qtbot.waitUntil(lambda: window.make.panel.isVisible())
        if name == "a-slow.gguf":
            window.make.act()
    assert window.make.panel.progress.heading.whole == "b-slow.gguf waits for 1 other job"


def test_the_whole_way_with_the_keyboard_alone(make_window: MakeWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window = make_window()
    qtbot.keyClick(window, str(MODELS + 1), Qt.KeyboardModifier.ControlModifier)
    assert window.focusWidget() is window.models.open_folder
    for _ in range(2):
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
    assert window.focusWidget() is window.models.sample
    qtbot.keyClick(window.focusWidget(), ENTER)
    qtbot.waitUntil(lambda: window.focusWidget() is window.models.choose, timeout=SLOW)
    qtbot.waitUntil(lambda: window.make.state == "content", timeout=SLOW)
    qtbot.keyClick(window.focusWidget(), ENTER)
    assert window.focusWidget() is window.make.table
    window.make.detail.target.show_folder(tmp_path)
    qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Down)
    chosen = window.make.table.current()
    assert chosen is not None
    qtbot.keyClick(window.focusWidget(), ENTER)
    target = tmp_path / f"Sample-{chosen.recipe.name}.gguf"
    qtbot.waitUntil(target.is_file, timeout=SLOW)


@pytest.mark.slow
def test_the_real_worker_makes_a_file_that_opens(make_window: MakeWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window = ready(make_window(worker_command=()), qtbot, tmp_path)
    window.make.table.choose("Q4_0")
    expected = window.make.table.current()
    ticks: list[float] = []
    timer = QTimer(interval=5)
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    timer.start()
    window.make.act()
    qtbot.waitUntil(lambda: window.make.panel.chip.isVisible(), timeout=SLOW)
    assert max(later - sooner for sooner, later in pairwise(ticks)) < 0.5  # 0.07 s on a quiet machine
    record = window.queue.records()[0]
    assert (record.state, record.failure) == (JobState.DONE, None)
    assert expected is not None
    assert record.target.stat().st_size == expected.plan.file_bytes
    assert core.verify_file(record.target).ok
    window.jobs.choose(record.id)
    assert len(window.jobs.tensors.rows) == record.result["tensors"]


@pytest.mark.usefixtures("no_memory_kills")
def test_the_real_worker_killed_is_a_crash(make_window: MakeWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window = ready(make_window(worker_command=()), qtbot, tmp_path)
    job = QuantizeJob(str(sample_folder()), "Q4_K_M", str(tmp_path / "x.gguf"), backend="reference")
    worker = window.queue._workers.of(window.queue.add(job).id)
    assert isinstance(worker, WorkerProcess)
    qtbot.waitUntil(lambda: worker.pid > 0)
    os.kill(worker.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: window.queue.open_jobs() == [])
    record = window.queue.records()[0]
    assert record.failure is not None
    assert record.state == JobState.FAILED
    assert record.failure.message == "The worker crashed (signal 9, SIGKILL): something outside Snug ended it."
    assert list(tmp_path.glob("*.gguf")) == []


def test_a_quantized_source_needs_a_tick(make_window: MakeWindow, qtbot: QtBot, tmp_path: Path) -> None:
    source = tmp_path / "small.gguf"
    job = QuantizeJob(str(sample_folder()), "Q8_0", str(source), backend="reference")
    assert isinstance(list(core.run(job))[-1], core.Done)
    window = ready(make_window(), qtbot, tmp_path, source=source)
    assert window.make.model is not None
    assert window.make.model.quantized_formats
    assert window.make.detail.again.isVisible()
    name_target(window, "plain.gguf")
    window.make.act()
    assert window.make.banner.message == "This model has been quantized before."
    assert window.focusWidget() is window.make.detail.again
    window.make.detail.again.setChecked(True)
    window.make.act()
    qtbot.waitUntil(lambda: window.queue.records() != [], timeout=SLOW)
    assert window.queue.records()[0].job.allow_requantize


@pytest.fixture
def matrix(window: MainWindow, tmp_path: Path) -> str:
    """The file of an importance matrix of the model that is open."""
    assert window.make.model is not None
    return str(write_imatrix(tmp_path / "imatrix.gguf", seeded_means(window.make.model)))


def test_the_drawer_is_closed_and_says_what_is_set(window: MainWindow, qtbot: QtBot, matrix: str) -> None:
    more = window.make.detail.more
    assert not more.isVisible()
    assert more.toggle.text() == "Options"
    qtbot.mouseClick(more.toggle, Qt.MouseButton.LeftButton)
    assert more.isVisible()
    more.longer.setChecked(True)
    more.matrix_chosen.emit(matrix)
    qtbot.waitUntil(lambda: more.toggle.text() == "Options (2)", timeout=SLOW)
    assert more.browse.text() == "imatrix.gguf"
    assert "21 tensors, measured on some text.txt, more.txt (7 chunks)." in more.browse.toolTip()
    qtbot.mouseClick(more.toggle, Qt.MouseButton.LeftButton)
    assert not more.isVisible()
    assert more.toggle.accessibleName() == "More options, 2 of them set, closed"


def test_the_drawer_is_reached_by_keyboard(window: MainWindow, qtbot: QtBot, matrix: str) -> None:
    more = window.make.detail.more
    more.matrix_chosen.emit(matrix)
    qtbot.waitUntil(lambda: more.matrix == matrix, timeout=SLOW)
    window.make.detail.target.browse.setFocus()
    qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
    assert window.focusWidget() is more.toggle
    qtbot.keyClick(more.toggle, ENTER)
    for expected in (more.longer, more.browse, more.clear):
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
        assert window.focusWidget() is expected
        assert expected.accessibleName() or expected.text()
    qtbot.keyClick(more.clear, ENTER)
    assert more.matrix == ""
    qtbot.keyClick(more.longer, Qt.Key.Key_Space)
    assert more.effort == "best"
    assert window.settings.effort == "best"


def test_options_reach_the_job(window: MainWindow, qtbot: QtBot, matrix: str) -> None:
    name_target(window, "plain.gguf")
    more = window.make.detail.more
    more.longer.setChecked(True)
    more.matrix_chosen.emit(matrix)
    qtbot.waitUntil(lambda: more.matrix == matrix, timeout=SLOW)
    window.make.act()
    qtbot.waitUntil(lambda: window.queue.records() != [], timeout=SLOW)
    job = window.queue.records()[0].job
    assert (job.effort, job.imatrix) == ("best", matrix)


def test_the_table_follows_the_importance_matrix(window: MainWindow, qtbot: QtBot, matrix: str) -> None:
    def bits() -> float:
        return next(o.plan.bits_per_weight for o in window.make.options.rows if o.recipe.name == "IQ3_XXS")

    before = bits()
    window.make.detail.more.matrix_chosen.emit(matrix)
    qtbot.waitUntil(lambda: bits() < before, timeout=SLOW)


def test_what_needs_importance_opens_the_drawer(window: MainWindow, qtbot: QtBot) -> None:
    window.make.table.choose("IQ2_XS")
    window.make.act()
    assert window.make.banner.message == "IQ2_XS has too few bits to be made without an importance matrix."
    assert window.focusWidget() is window.make.detail.more.browse
    assert window.queue.records() == []
    qtbot.waitUntil(lambda: is_seen(window))


def is_seen(window: MainWindow) -> bool:
    """Whether the selected row of the table is whole in sight."""
    table = window.make.table
    return table.viewport().rect().contains(table.visualRect(table.currentIndex()))


def test_a_file_that_is_no_matrix_of_this_model_is_not_taken(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    more = window.make.detail.more
    for file, words in (("none.dat", "is no importance matrix"), ("other.gguf", "knows none of the tensors")):
        (tmp_path / "none.dat").write_bytes(b"nothing of the kind")
        write_imatrix(tmp_path / "other.gguf", {"blk.99.attn_q.weight": np.ones((1, 4), np.float32)})
        more.matrix_chosen.emit(str(tmp_path / file))
        qtbot.waitUntil(lambda words=words: words in window.make.banner.message, timeout=SLOW)
        assert more.matrix == ""


def test_another_model_forgets_the_matrix_but_not_the_effort(window: MainWindow, qtbot: QtBot, matrix: str) -> None:
    more = window.make.detail.more
    more.longer.setChecked(True)
    more.matrix_chosen.emit(matrix)
    qtbot.waitUntil(lambda: more.matrix == matrix, timeout=SLOW)
    assert window.make.model is not None
    window.make.show_model(window.make.model)
    assert (more.matrix, more.effort, more.browse.text()) == ("", "best", "None")


def test_what_making_it_takes_is_said_below_the_name(window: MainWindow, qtbot: QtBot) -> None:
    costs = window.make.detail.costs
    qtbot.waitUntil(lambda: "of memory" in costs.whole, timeout=SLOW)
    assert costs.whole.startswith("Takes ")
    before = costs.whole
    window.make.table.choose("Q4_0")
    qtbot.waitUntil(lambda: costs.whole != before and "of memory" in costs.whole, timeout=SLOW)


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four million bytes are free, on every disk."""
    usage = shutil.disk_usage(tmp_path)._replace(free=4_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def test_a_job_that_cannot_work_is_refused_with_one_click_to_one_that_does(
    small_disk: None, window: MainWindow, qtbot: QtBot
) -> None:
    window.make.table.choose("F16")
    name_target(window, "a-running.gguf")
    qtbot.waitUntil(lambda: "The disk is too small" in window.make.detail.costs.whole, timeout=SLOW)
    window.make.act()
    qtbot.waitUntil(lambda: "The disk is too small" in window.make.banner.message, timeout=SLOW)
    (way,) = [b for b in window.make.banner.findChildren(QPushButton) if b.text().startswith("Take ")]
    assert way.hasFocus()
    level = way.text().removeprefix("Take ")
    qtbot.keyClick(way, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: len(window.queue.records()) == 1, timeout=SLOW)
    (record,) = window.queue.records()
    assert record.job.recipe == level
    chosen = window.make.table.current()
    assert chosen is not None
    assert chosen.recipe.name == level


def test_another_disk_is_shown_as_the_folder_of_the_new_file(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    job = QuantizeJob(str(sample_folder()), "F16", str(other / "a-running.gguf"))
    window.make._take(core.Alternative("folder", str(other), "write there", job))
    assert window.make.detail.target.folder == other
    qtbot.waitUntil(lambda: len(window.queue.records()) == 1, timeout=SLOW)


def test_the_page_says_that_kernels_are_prepared(window: MainWindow, qtbot: QtBot) -> None:
    name_target(window, "a-preparing.gguf")
    window.make.act()
    qtbot.waitUntil(lambda: "Preparing kernels" in window.make.panel.progress.amount.text(), timeout=SLOW)
    assert window.make.panel.progress.amount.isVisible()
    assert window.make.panel.progress.heading.whole == "Preparing: a-preparing.gguf"
    assert window.make.panel.progress.bar.maximum() == 0


def test_a_float_source_is_not_called_quantized(window: MainWindow) -> None:
    assert window.make.model is not None
    assert not window.make.model.quantized_formats
    assert not window.make.detail.again.isVisible()


def test_without_a_model_the_page_says_what_to_do(make_window: MakeWindow, qtbot: QtBot) -> None:
    window = make_window()
    window.show_page(MAKE)
    assert window.make.state == "empty"
    assert window.focusWidget() is window.make.make
    qtbot.keyClick(window.make.make, ENTER)
    assert window.pages.currentIndex() == MODELS
