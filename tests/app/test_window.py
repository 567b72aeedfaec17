from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QTimer, QUrl
from PySide6.QtGui import QAccessible, QDropEvent
from PySide6.QtWidgets import QAbstractButton, QApplication, QFileDialog, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from app.job_queue import Closing
from app.job_record import read_records
from app.widgets.closing_box import ClosingBox
from app.window import ENTRIES, JOBS, MAKE, MODELS, MainWindow
from core import JobState, QuantizeJob, create, data_folder, jobs_folder, part_path, sample_folder
from tests.app.conftest import MakeWindow

CONTROL = Qt.KeyboardModifier.ControlModifier
JobFor = Callable[[str], QuantizeJob]


def name_of(widget: QWidget) -> str:
    interface = QAccessible.queryAccessibleInterface(widget)
    return interface.text(QAccessible.Text.Name) if interface else ""


def controls(page: QWidget) -> list[QWidget]:
    """Everything on it that the keyboard can reach."""
    found = [page, *page.findChildren(QWidget)]
    return [widget for widget in found if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.isVisible()]


def make_sample(window: MainWindow, qtbot: QtBot) -> None:
    window.open_path(sample_folder())
    qtbot.waitUntil(lambda: window.make.state == "content", timeout=10_000)
    window.show_page(MAKE)


def test_the_machine_is_shown_soon_after_the_window(window: MainWindow, qtbot: QtBot) -> None:
    assert window.page is window.machine
    qtbot.waitUntil(lambda: window.machine.state == "content")
    assert "Processor: " in window.machine.as_text()
    assert "Memory: " in window.machine.as_text()


def test_refreshing_changes_figures_without_building_anew(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: window.machine.state == "content")
    cards = list(window.machine._cards)
    with qtbot.waitSignal(window.machine.detected):
        qtbot.keyClick(window, Qt.Key.Key_F5)
    assert window.machine._cards == cards


def test_copying_the_machine_says_that_it_was_done(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: window.machine.state == "content")
    qtbot.keyClick(window.focusWidget(), Qt.Key.Key_C, CONTROL)
    assert QApplication.clipboard().text() == window.machine.as_text()
    assert window.machine.banner.message.startswith("Copied")


def test_every_page_has_a_key(window: MainWindow, qtbot: QtBot) -> None:
    for number in range(len(ENTRIES)):
        qtbot.keyClick(window, getattr(Qt.Key, f"Key_{number + 1}"), CONTROL)
        assert window.pages.currentIndex() == number


def test_a_folder_that_is_no_model_is_a_banner_with_a_hint(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.open_path(tmp_path)
    qtbot.waitUntil(lambda: window.models.banner.message != "")
    assert "config.json" in window.models.banner.message
    assert window.models.banner.hint != ""
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert window.models.banner.message == ""


def test_ctrl_o_asks_for_a_folder_from_anywhere(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(sample_folder()))
    qtbot.keyClick(window, Qt.Key.Key_O, CONTROL)
    qtbot.waitUntil(lambda: window.models.model is not None)
    assert window.page is window.models


def test_a_model_can_be_dropped_anywhere(window: MainWindow, qtbot: QtBot) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(sample_folder()))])
    position = QPoint(5, 5)
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(position, Qt.DropAction.CopyAction, data, buttons, keys))
    qtbot.waitUntil(lambda: window.models.model is not None)


def test_an_opened_model_is_described_and_listed_as_recent(window: MainWindow, qtbot: QtBot) -> None:
    window.show_page(MODELS)
    qtbot.mouseClick(window.models.sample, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.models.model is not None)
    text = window.models._facts.as_text()
    assert "Architecture: llama" in text
    assert "Parameters: 2.2 million" in text
    assert window.models.recent() == [str(sample_folder())]
    assert window.models.choose.isEnabled()


def test_every_control_has_an_accessible_name(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    make_sample(window, qtbot)
    record = window.queue.add(job_for("plain"))
    qtbot.waitUntil(lambda: window.queue.open_jobs() == [])
    window.jobs.choose(record.id)
    for tab in range(window.jobs.tabs.count()):
        window.jobs.tabs.setCurrentIndex(tab)
        for number in range(len(ENTRIES)):
            window.show_page(number)
            nameless = [widget for widget in controls(window) if not name_of(widget).strip() and named(widget)]
            assert nameless == []


def named(widget: QWidget) -> bool:
    """Whether a name is due: not for the inside of a spin box, nor for a row of tabs, whose tabs have theirs."""
    inside = isinstance(widget, QLineEdit) and widget.objectName() == "qt_spinbox_lineedit"
    return not inside and widget.metaObject().className() != "QTabBar"


def test_the_tab_key_goes_as_the_eye_does_and_comes_back(window: MainWindow, qtbot: QtBot) -> None:
    make_sample(window, qtbot)
    window.make.table.setFocus()
    seen = [window.focusWidget()]
    for _ in range(20):
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
        if window.focusWidget() is seen[0]:
            break
        seen.append(window.focusWidget())
    assert seen[:3] == [window.make.table, window.make.detail.target.name, window.make.detail.target.browse]
    assert window.make.make in seen
    assert window.make.context in seen


def test_a_focus_ring_can_be_seen(window: MainWindow, qtbot: QtBot) -> None:
    window.show_page(MODELS)
    window.models.sample.setFocus()
    qtbot.wait(20)
    with_ring = window.models.sample.grab().toImage()
    window.models.open_file.setFocus()
    qtbot.wait(20)
    assert with_ring != window.models.sample.grab().toImage()


def test_every_page_fits_into_the_least_window(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    make_sample(window, qtbot)
    window.queue.add(job_for("plain"))
    qtbot.waitUntil(lambda: window.queue.open_jobs() == [])
    for page in (window.machine, window.models, window.make, window.jobs):
        needed = page.layout().minimumSize()
        assert needed.height() <= window.minimumHeight()
        assert needed.width() + window.side.width() <= window.minimumWidth()


def test_geometry_and_page_are_remembered(window: MainWindow, make_window: Callable[[], MainWindow]) -> None:
    window.resize(781, 611)
    window.show_page(MODELS)
    window.close()
    window.store.sync()
    again = make_window()
    assert (again.width(), again.height(), again.page) == (781, 611, again.models)


@pytest.mark.parametrize(
    ("answer", "state", "stays"),
    [
        (Closing.PAUSE, JobState.PAUSED, True),
        (Closing.DETACH, JobState.RUNNING, True),
        (Closing.CANCEL, JobState.CANCELLED, False),
    ],
)
def test_closing_while_a_job_runs_asks_what_shall_become_of_it(
    window: MainWindow,
    qtbot: QtBot,
    job_for: JobFor,
    monkeypatch: pytest.MonkeyPatch,
    answer: Closing,
    state: JobState,
    *,
    stays: bool,
) -> None:
    answers = iter([None, answer])
    monkeypatch.setattr("app.window.ask_closing", lambda *_: next(answers))
    with qtbot.waitSignal(window.queue.progress):
        record = window.queue.add(job_for("a-slow"))
    assert not window.close()
    assert window.queue.running() != []
    assert window.close()
    assert [found.state for found in read_records(jobs_folder())] == [state]
    assert part_path(record.target).exists() == stays
    record.folder.order({"stop": "throw away"})
    qtbot.waitUntil(lambda: record.folder.owner() is None)


def test_logging_out_pauses_without_a_question(
    window: MainWindow, qtbot: QtBot, job_for: JobFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.window.ask_closing", lambda *_: pytest.fail("nobody is there to answer"))
    with qtbot.waitSignal(window.queue.progress):
        window.queue.add(job_for("a-slow"))
    window.end_session()
    assert window.close()
    assert [found.state for found in read_records(jobs_folder())] == [JobState.PAUSED]


def test_the_next_start_says_that_all_is_paused(
    window: MainWindow, make_window: Callable[[], MainWindow], qtbot: QtBot, job_for: JobFor
) -> None:
    with qtbot.waitSignal(window.queue.progress):
        record = window.queue.add(job_for("a-slow"))
    window.queue.close(Closing.PAUSE)
    again = make_window()
    again.show_page(JOBS)
    qtbot.waitUntil(lambda: again.jobs.notice.message == "All is paused: 1 job to do.")
    again.jobs.hold_button.click()
    qtbot.waitUntil(lambda: [job.state for job in again.queue.open_jobs()] == [JobState.RUNNING])
    assert again.queue.open_jobs()[0].id == record.id


def test_the_box_at_the_end_says_what_each_answer_does(window: MainWindow, qtbot: QtBot) -> None:
    names = [f"model-{number}.gguf" for number in range(9)]
    for closing, button in ClosingBox(window, names).choices.items():
        box = ClosingBox(window, names)
        QTimer.singleShot(0, box.choices[closing].click)
        box.exec()
        assert (box.chosen, button.text()) == (closing, box.choices[closing].text())
    box = ClosingBox(window, names)
    QTimer.singleShot(0, box.reject)
    box.exec()
    assert box.chosen is None
    assert box.text().endswith("model-5.gguf\nand 3 more")


def test_a_bug_is_said_in_the_window_and_told_in_the_terminal(
    window: MainWindow, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        raise ValueError("three legs")
    except ValueError as error:
        window.show_bug(error)
    assert window.machine.banner.message == "This is a bug in Snug: ValueError: three legs"
    assert "Traceback" in capsys.readouterr().err


def test_the_side_bar_counts_what_is_open(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    record = window.queue.add(job_for("a-slow"))
    button = window.side._group.button(JOBS)
    assert button.accessibleName() == "Jobs, 1 open"
    window.queue.cancel(record.id)
    qtbot.waitUntil(lambda: button.accessibleName() == "Jobs")


def test_every_button_on_every_page_has_a_word_or_a_tooltip(window: MainWindow) -> None:
    buttons = window.findChildren(QAbstractButton)
    silent = [b for b in buttons if not (b.text().strip() or b.toolTip()) and b.parent().objectName() != "qt_x"]
    own = [b for b in silent if not b.metaObject().className().startswith("QTable") and b.isVisible()]
    assert own == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("settings.json", '{"theme": "purple", "context": 1000000000000, "threads": -4}'),
        ("settings.json", "[" * 200_000),
        ("window.ini", "[window]\ngeometry=garbage\npage=\xb2\n[widths]\njobs=a, b, c, d, e, f, g\n"),
        ("window.ini", "[window]\npage=99\n[widths]\njobs=99999999999, -5, 0, 4, 5, 6, 7\n"),
    ],
)
def test_spoiled_settings_never_keep_the_window_from_opening(file: str, text: str, make_window: MakeWindow) -> None:
    data_folder().mkdir(parents=True, exist_ok=True)
    (data_folder() / file).write_text(text, encoding="utf-8")
    window = make_window()
    assert window.page is window.machine
    assert window.make.context.value() == 4096


def test_a_long_history_is_listed_at_once(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    qtbot.waitUntil(lambda: not window.tasks.busy("history"))
    for number in range(20):
        create(jobs_folder(), job_for(str(number)))
    resets: list[None] = []
    window.jobs.model.modelReset.connect(lambda: resets.append(None))
    window.queue.add_earlier(read_records(jobs_folder()))
    assert len(window.jobs.model.rows) == 20
    assert window.jobs.state == "content"
    assert len(resets) == 1
