from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtGui import QDesktopServices
from pytestqt.qtbot import QtBot

from app.job_record import JobRecord
from app.pages.jobs import log_text
from app.window import JOBS, MainWindow
from core import Failed, JobFolder, JobState, QuantizeJob, create, jobs_folder

JobFor = Callable[[str], QuantizeJob]


def finish(window: MainWindow, qtbot: QtBot, job: QuantizeJob) -> JobRecord:
    window.show_page(JOBS)
    id = window.queue.add(job).id
    qtbot.waitUntil(lambda: window.queue.open_jobs() == [] and not window.queue.is_working)
    record = window.queue.record(id)
    assert record is not None
    return record


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
    visible = [b.isVisible() for b in (jobs.cancel_button, jobs.retry_button, jobs.open_button, jobs.remove_button)]
    assert visible == [False, False, True, True]
    assert f"File: {record.job.target}" in jobs.facts.as_text()
    jobs.open_button.click()
    assert opened == [str(record.target.parent)]
    jobs.remove_button.click()
    assert jobs.state == "empty"


def test_a_failed_job_says_what_happened_and_what_to_do(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    finish(window, qtbot, job_for("x-failed"))
    assert window.jobs.facts.as_text() == (
        "What happened: The disk filled up while writing.\nWhat to do: Free some space."
    )
    assert window.jobs.chip.accessibleName() == "Failed"
    window.jobs.retry_button.click()
    assert len(window.queue.records()) == 2
    current = window.jobs.table.current()
    assert current is not None
    assert current.id == window.queue.records()[0].id


def test_a_running_job_can_be_cancelled_from_the_list(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    window.show_page(JOBS)
    with qtbot.waitSignal(window.queue.progress):
        window.queue.add(job_for("a-slow"))
    qtbot.waitUntil(lambda: window.jobs.progress.amount.text() != "")
    window.jobs.cancel_button.click()
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
