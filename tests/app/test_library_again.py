"""The action Reproduce of the page Library: a job that makes a file once more and says whether it is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QPushButton
from pytestqt.qtbot import QtBot

import core
from app.pages.library import MADE_HERE
from app.window import JOBS, LIBRARY, MainWindow
from core import JobState, QuantizeJob, ReproduceJob, sample_folder
from tests.app.conftest import MakeWindow
from tests.core.library.stores import lone_home

SLOW = 30_000


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that Snug has made on this computer, where the library looks for such files."""
    lone_home(monkeypatch, tmp_path)
    folder = tmp_path / "made"
    folder.mkdir()
    core.save_settings(core.settings_file(), core.Settings(last_target_folder=str(folder)))
    job = QuantizeJob(str(sample_folder()), "Q8_0", str(folder / "Sample-Q8_0.gguf"), backend="reference")
    assert isinstance(list(core.run(job))[-1], core.Done)
    return Path(job.target)


def holding(window: MainWindow) -> MainWindow:
    """The window, whose jobs wait."""
    window.queue.hold()
    return window


def reproduce(window: MainWindow, qtbot: QtBot) -> None:
    """Presses the button for the file."""
    page = window.library
    window.show_page(LIBRARY)
    qtbot.waitUntil(lambda: not window.tasks.busy("library") and page.state == "content", timeout=SLOW)
    page.table.choose(next(item.id for item in page.rows.rows if item.origin == MADE_HERE))
    assert page.again_button.isVisible()
    qtbot.mouseClick(page.again_button, Qt.MouseButton.LeftButton)


def choose_model(window: MainWindow, qtbot: QtBot) -> None:
    page = window.library
    qtbot.waitUntil(lambda: page.banner.message != "", timeout=SLOW)
    assert "somebody's disk" in page.banner.message
    (choose,) = [b for b in page.banner.findChildren(QPushButton) if b.isVisible()]
    assert choose.text() == "Choose the model…"
    assert choose.hasFocus()
    qtbot.keyClick(choose, Qt.Key.Key_Space)


def test_the_value_of_an_origin_is_the_one_of_core() -> None:
    assert core.Origin.SNUG == MADE_HERE


def test_what_the_card_does_not_tell_is_asked_for(
    made: Path, make_window: MakeWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(sample_folder()))
    window = holding(make_window())
    reproduce(window, qtbot)
    choose_model(window, qtbot)
    qtbot.waitUntil(lambda: window.queue.records() != [], timeout=SLOW)
    job = window.queue.records()[0].job
    assert isinstance(job, ReproduceJob)
    assert (job.file, job.source) == (str(made), str(sample_folder()))
    assert window.pages.currentIndex() == JOBS
    assert window.jobs.name.whole == "Sample-Q8_0.gguf once more"
    reproduce(window, qtbot)
    choose_model(window, qtbot)
    qtbot.waitUntil(lambda: "Another job is already making" in window.library.banner.message, timeout=SLOW)


def test_what_a_job_of_this_computer_has_made_needs_no_question(
    made: Path, make_window: MakeWindow, qtbot: QtBot
) -> None:
    done = core.create(core.jobs_folder(), QuantizeJob(str(sample_folder()), "Q8_0", str(made)))
    done.append(core.Done({"target": str(made), "file_bytes": made.stat().st_size}))
    window = holding(make_window())
    qtbot.waitUntil(lambda: len(window.queue.records()) == 1)
    reproduce(window, qtbot)
    qtbot.waitUntil(lambda: len(window.queue.open_jobs()) == 1, timeout=SLOW)
    assert window.queue.open_jobs()[0].job.source == str(sample_folder())


@pytest.mark.slow
def test_the_real_worker_says_that_it_is_the_same(
    made: Path, make_window: MakeWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(sample_folder()))
    window = make_window(worker_command=())
    before = sorted(path.name for path in made.parent.iterdir())
    reproduce(window, qtbot)
    choose_model(window, qtbot)
    qtbot.waitUntil(lambda: bool(window.queue.records()) and window.queue.records()[0].is_over, timeout=SLOW)
    record = window.queue.records()[0]
    assert (record.state, record.failure) == (JobState.DONE, None)
    assert "Result: The same file, byte for byte" in window.jobs.facts.as_text()
    assert sorted(path.name for path in made.parent.iterdir()) == before
