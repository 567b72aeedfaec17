from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot

from app.job_record import JobRecord
from app.pages.jobs import log_text
from app.widgets.job_actions import fill_menu
from app.window import JOBS, MainWindow
from core import (
    Failed,
    JobFolder,
    JobState,
    Limits,
    Progress,
    QuantizeJob,
    create,
    jobs_folder,
    load_settings,
    settings_file,
)

JobFor = Callable[[str], QuantizeJob]


def finish(window: MainWindow, qtbot: QtBot, job: QuantizeJob) -> JobRecord:
    window.show_page(JOBS)
    id = window.queue.add(job).id
    qtbot.waitUntil(lambda: window.queue.open_jobs() == [] and not window.queue.is_working)
    record = window.queue.record(id)
    assert record is not None
    return record


def shown(window: MainWindow) -> list[str]:
    return [name for name, button in window.jobs.doings.buttons.items() if button.isVisible()]


def answer(window: MainWindow, word: str) -> None:
    next(button for button in window.jobs.banner._buttons if button.text() == word).click()


def running(window: MainWindow, qtbot: QtBot, job: QuantizeJob) -> str:
    window.show_page(JOBS)
    id = window.queue.add(job).id
    qtbot.waitUntil(lambda: state_of(window, id) == JobState.RUNNING and progress_of(window, id) is not None)
    return id


def state_of(window: MainWindow, id: str) -> JobState:
    record = window.queue.record(id)
    assert record is not None
    return record.state


def progress_of(window: MainWindow, id: str) -> Progress | None:
    record = window.queue.record(id)
    return record.progress if record else None


def order_of(window: MainWindow) -> list[str]:
    return [record.target.stem for record in window.queue.open_jobs()]


def test_without_jobs_the_page_says_so(window: MainWindow) -> None:
    window.show_page(JOBS)
    assert window.jobs.state == "empty"


def test_a_finished_job_shows_its_result_and_what_can_be_done(
    window: MainWindow, qtbot: QtBot, job_for: JobFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = finish(window, qtbot, job_for("plain"))
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    jobs = window.jobs
    assert shown(window) == ["open", "remove"]
    assert f"File: {record.target}" in jobs.facts.as_text()
    jobs.doings.buttons["open"].click()
    assert opened == [str(record.target.parent)]
    jobs.doings.buttons["remove"].click()
    assert jobs.state == "empty"


def test_a_failed_job_says_what_happened_and_what_to_do(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    finish(window, qtbot, job_for("x-failed"))
    assert window.jobs.facts.as_text() == (
        "What happened: The disk filled up while writing.\nWhat to do: Free some space."
    )
    assert window.jobs.chip.accessibleName() == "Failed"
    window.jobs.doings.buttons["retry"].click()
    assert len(window.queue.records()) == 2
    current = window.jobs.table.current()
    assert current is not None
    assert current.id == window.queue.records()[0].id


def test_a_running_job_can_be_cancelled_from_the_list(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    window.show_page(JOBS)
    with qtbot.waitSignal(window.queue.progress):
        window.queue.add(job_for("a-slow"))
    qtbot.waitUntil(lambda: window.jobs.progress.amount.text() != "")
    window.jobs.doings.buttons["cancel"].click()
    answer(window, "Throw away")
    assert window.jobs.chip.accessibleName() == "Cancelling"
    qtbot.waitUntil(lambda: window.jobs.chip.accessibleName() == "Cancelled", timeout=1000)


def test_a_new_job_is_selected(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    finish(window, qtbot, job_for("plain"))
    record = window.queue.add(job_for("a-slow"))
    current = window.jobs.table.current()
    assert current is not None
    assert current.id == record.id


def test_the_log_is_read_when_it_is_looked_at(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    finish(window, qtbot, job_for("x-crash"))
    window.jobs.tabs.setCurrentWidget(window.jobs.log)
    qtbot.waitUntil(lambda: "a line for the log" in window.jobs.log.toPlainText())


def test_jobs_of_earlier_sessions_are_listed(
    make_window: Callable[[], MainWindow], qtbot: QtBot, job_for: JobFor
) -> None:
    folder = create(jobs_folder(), job_for("old"))
    folder.append(Failed("The disk was full."))
    window = make_window()
    qtbot.waitUntil(lambda: [record.id for record in window.jobs.model.rows] == [folder.id])
    assert window.jobs.model.rows[0].state == JobState.FAILED


def test_a_log_starts_with_the_notes_and_the_details_of_a_failure(tmp_path: Path) -> None:
    failure = Failed("A bug.", details="Traceback ...")
    record = JobRecord(JobFolder(tmp_path), QuantizeJob("/m", "Q8_0", "/t"), notes=("New kernels.",), failure=failure)
    (tmp_path / "log.txt").write_text("last words")
    assert log_text(record) == "New kernels.\nTraceback ...\nlast words"
    (tmp_path / "log.txt").unlink()
    assert log_text(JobRecord(JobFolder(tmp_path), record.job)) == "Nothing was logged."


def test_cancelling_can_keep_what_is_done_and_it_goes_on_from_there(
    window: MainWindow, qtbot: QtBot, job_for: JobFor
) -> None:
    id = running(window, qtbot, job_for("a-slow"))
    qtbot.keyClick(window.jobs.table, Qt.Key.Key_Escape)
    assert window.jobs.banner.message == "Stop making a-slow.gguf?"
    answer(window, "Keep what is done")
    qtbot.waitUntil(lambda: state_of(window, id) == JobState.CANCELLED)
    assert shown(window) == ["resume", "retry", "remove"]
    window.jobs.doings.buttons["resume"].click()
    qtbot.waitUntil(lambda: state_of(window, id) == JobState.RUNNING)
    assert len(window.queue.records()) == 1


def test_jobs_are_paused_moved_and_removed_by_keyboard(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    first = running(window, qtbot, job_for("a-slow"))
    window.queue.add_all([job_for("b"), job_for("c"), job_for("d")])
    table, alt = window.jobs.table, Qt.KeyboardModifier.AltModifier
    table.setFocus()
    window.jobs.choose(window.queue.open_jobs()[3].id)
    qtbot.keyClick(table, Qt.Key.Key_Up, alt)
    qtbot.keyClick(table, Qt.Key.Key_Up, alt)
    assert order_of(window) == ["a-slow", "d", "b", "c"]
    qtbot.keyClick(table, Qt.Key.Key_Down, alt)
    assert order_of(window) == ["a-slow", "b", "d", "c"]
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert window.jobs.chip.accessibleName() == "Paused"
    window.jobs.cancel()
    current = table.current()
    assert current is not None
    assert current.state == JobState.CANCELLED
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    assert len(window.queue.records()) == 3
    window.jobs.choose(first)
    qtbot.keyClick(table, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: state_of(window, first) == JobState.PAUSED)


def test_a_job_is_dragged_to_another_place(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    running(window, qtbot, job_for("a-slow"))
    b, c, d = window.queue.add_all([job_for("b"), job_for("c"), job_for("d")])
    table = window.jobs.table
    row = table.visualRect(table.model().index(1, 0))
    table.drop_at(d.id, row.topLeft())
    assert order_of(window) == ["a-slow", "d", "b", "c"]
    table.drop_at(d.id, table.visualRect(table.model().index(3, 0)).bottomLeft())
    assert order_of(window) == ["a-slow", "b", "c", "d"]
    table.drop_at(c.id, table.visualRect(table.model().index(0, 0)).topLeft())
    assert order_of(window) == ["a-slow", "c", "b", "d"]
    draggable = [bool(table.model().flags(table.model().index(i, 0)) & Qt.ItemFlag.ItemIsDragEnabled) for i in range(4)]
    assert draggable == [False, True, True, True]
    assert b.id in [record.id for record in window.queue.open_jobs()]


def test_the_menu_has_all_that_fits(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    running(window, qtbot, job_for("a-slow"))
    waiting = window.queue.add(job_for("b"))
    menu, wanted = QMenu(), list[str]()
    fill_menu(menu, waiting, wanted.append, foreign=False, main=True)
    texts = [entry.text() for entry in menu.actions()]
    assert texts == ["Pause", "Cancel", "Edit…", "Duplicate", "Move up", "Move down", "Copy as command", "Also as"]
    menu.actions()[3].trigger()
    assert wanted == ["duplicate"]
    window.jobs.do("duplicate")
    assert order_of(window) == ["a-slow", "b", "b-2"]
    window.jobs.do("command")
    assert QApplication.clipboard().text().startswith("snug quantize ")


def test_the_same_is_made_of_other_models_by_a_click(
    window: MainWindow, qtbot: QtBot, job_for: JobFor, tmp_path: Path
) -> None:
    running(window, qtbot, job_for("a-slow"))
    several = replace(job_for("b"), also=(("Q8_0", str(tmp_path / "b-8.gguf")),), imatrix="b.imatrix")
    record, others = window.queue.add(several), ["hub:org/Large@0a1b", str(tmp_path / "Small & Quick")]
    (tmp_path / f"Large-{several.recipe}.gguf").touch()
    menu = QMenu()
    models = [several.source, *others]
    fill_menu(menu, record, window.jobs.do, foreign=False, main=False, models=models)
    same = {entry.text(): entry for entry in menu.actions()[-1].menu().actions()}
    assert list(same) == ["All 2 models", "", "org/Large", "Small && Quick"]
    window.jobs.choose(record.id)
    same["All 2 models"].trigger()
    large, small = [made.job for made in window.queue.open_jobs() if made.job.source in others]
    assert isinstance(large, QuantizeJob)
    assert isinstance(small, QuantizeJob)
    level = several.recipe
    assert [Path(each.target).name for each in large.each] == [f"Large-{level}-2.gguf", "Large-Q8_0-2.gguf"]
    assert [Path(each.target).name for each in small.each] == [f"Small-&-Quick-{level}.gguf", "Small-&-Quick-Q8_0.gguf"]
    assert (large.source, small.source) == tuple(others)
    assert not large.imatrix


def test_models_at_hand_are_those_opened_before(window: MainWindow, tmp_path: Path) -> None:
    assert window.jobs.doings.models() == window.models.recent()
    window.models._remember(tmp_path)
    assert str(tmp_path) in window.jobs.doings.models()


def test_more_levels_of_a_model_are_a_click_each(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    running(window, qtbot, job_for("a-Q4_K_M-slow"))
    record = window.queue.open_jobs()[0]
    menu = QMenu()
    fill_menu(menu, record, window.jobs.do, foreign=False, main=False)
    levels = {entry.text(): entry for entry in menu.actions()[-1].menu().actions()}
    assert {"Q8_0", "Q6_K"} <= set(levels)
    assert not {"Q4_K_M", "IQ2_XS"} & set(levels)
    window.jobs.choose(record.id)
    levels["Q8_0"].trigger()
    window.jobs.choose(record.id)
    levels["Q6_K"].trigger()
    assert order_of(window) == ["a-Q4_K_M-slow", "a-Q8_0-slow", "a-Q6_K-slow"]
    assert [job.recipe for job in window.queue.open_jobs()] == ["Q4_K_M", "Q8_0", "Q6_K"]


def test_one_more_level_of_a_job_that_waits_is_made_in_the_same_reading(
    window: MainWindow, qtbot: QtBot, job_for: JobFor
) -> None:
    running(window, qtbot, job_for("a-slow"))
    record = window.queue.add(job_for("b-Q4_K_M"))
    window.jobs.choose(record.id)
    for level in ("Q8_0", "Q6_K"):
        window.jobs.do(f"also {level}")
    changed = window.queue.record(record.id)
    assert changed is not None
    assert [path.stem for path in changed.targets] == ["b-Q4_K_M", "b-Q8_0", "b-Q6_K"]
    assert changed.folder.read_job() == changed.job
    assert order_of(window) == ["a-slow", "b-Q4_K_M"]
    menu = QMenu()
    fill_menu(menu, changed, window.jobs.do, foreign=False, main=False)
    assert not {"Q4_K_M", "Q8_0", "Q6_K"} & {entry.text() for entry in menu.actions()[-1].menu().actions()}


def test_one_more_level_whose_file_is_there_replaces_it_in_no_job_that_may_replace_others(
    window: MainWindow, qtbot: QtBot, job_for: JobFor
) -> None:
    running(window, qtbot, job_for("a-slow"))
    record = window.queue.add(replace(job_for("b-Q4_K_M"), overwrite=True))
    record.target.with_name("b-Q8_0.gguf").write_bytes(b"of somebody")
    window.jobs.choose(record.id)
    window.jobs.do("also Q8_0")
    *_, same, alone = window.queue.open_jobs()
    assert (same.job, alone.recipe) == (record.job, "Q8_0")
    assert isinstance(alone.job, QuantizeJob)
    assert not alone.job.overwrite


def test_limits_reach_the_work_and_the_settings(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    id = running(window, qtbot, job_for("a-slow"))
    window.jobs.limits_button.click()
    window.jobs.limits.numbers["job_threads"].setValue(2)
    window.jobs.limits.mains.setChecked(True)
    qtbot.waitUntil(lambda: "threads 2" in getattr(window.queue.record(id), "notes", ()), timeout=2000)
    assert window.queue.limits == Limits(threads=2, only_on_mains=True)
    kept = load_settings(settings_file())
    assert (kept.job_threads, kept.job_only_on_mains) == (2, True)


def test_pausing_everything_is_said_and_ended_on_the_page(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    id = running(window, qtbot, job_for("a-slow"))
    window.jobs.hold_button.click()
    assert window.jobs.notice.message == "All is paused: 1 job to do."
    qtbot.waitUntil(lambda: state_of(window, id) == JobState.PAUSED)
    window.jobs.hold_button.click()
    assert window.jobs.notice.message == ""
    qtbot.waitUntil(lambda: state_of(window, id) == JobState.RUNNING)


def test_a_second_window_says_so_and_decides_nothing_about_what_waits(
    window: MainWindow, make_window: Callable[[], MainWindow], qtbot: QtBot, job_for: JobFor
) -> None:
    id = running(window, qtbot, job_for("a-slow"))
    waiting = window.queue.add(job_for("b"))
    second = make_window()
    second.show_page(JOBS)
    qtbot.waitUntil(lambda: len(second.jobs.model.rows) == 2)
    assert second.jobs.notice.message == f"Another window of Snug (process {os.getpid()}) runs the jobs."
    second.jobs.choose(waiting.id)
    assert not second.jobs.doings.buttons["resume"].isVisible()
    assert not second.jobs.doings.buttons["pause"].isEnabled()
    assert not second.jobs.doings.buttons["cancel"].isEnabled()
    second.jobs.cancel()
    assert second.jobs.banner.message == ""
    second.jobs.do("up")
    assert order_of(window) == ["a-slow", "b"]
    assert state_of(second, id) == JobState.RUNNING


def test_a_worker_that_says_nothing_is_called_silent(
    window: MainWindow, qtbot: QtBot, job_for: JobFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = running(window, qtbot, job_for("a-slow"))
    assert window.queue.silent_for(id) < 20
    monkeypatch.setattr(window.queue, "silent_for", lambda _: 75.0)
    window.jobs._look_again()
    assert window.jobs.progress.tensor.whole == "The worker has said nothing for 75 s."


def test_an_answered_question_leaves_the_keyboard_on_the_page(
    window: MainWindow, qtbot: QtBot, job_for: JobFor
) -> None:
    running(window, qtbot, job_for("a-slow"))
    window.jobs.cancel()
    answer(window, "Go on")
    assert window.focusWidget() is window.jobs.table


@pytest.mark.slow
def test_a_thousand_jobs_are_listed_without_a_stutter(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    qtbot.waitUntil(lambda: not window.tasks.busy("history"))
    window.show_page(JOBS)
    window.queue.hold()
    with qtbot.waitSignal(window.queue.listed):
        records = window.queue.add_all([job_for(str(number)) for number in range(1000)])
    steps = []
    for step in range(15):
        began = time.process_time()  # of the event loop's own work: other programs may hold it up
        window.jobs.choose(records[step * 30].id)
        window.jobs.table.shift(1)
        window.queue._look()
        QApplication.processEvents()
        steps.append(time.process_time() - began)
    assert len(window.jobs.model.rows) == 1000
    assert sorted(steps)[7] < 0.05
