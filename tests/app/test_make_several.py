"""Several levels in one job, made on the page Make and shown on the page Jobs, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

import core
from app import words
from app.theme import SIZES
from app.window import JOBS, MAKE, MainWindow
from core import JobState, QuantizeJob, sample_folder
from tests.app.hub_models import asking
from tests.fake_hub import FakeHub, FakeRepo

MakeWindow = Callable[..., MainWindow]
SLOW = 30_000


def ready(window: MainWindow, qtbot: QtBot, folder: Path) -> MainWindow:
    window.open_path(sample_folder())
    qtbot.waitUntil(lambda: window.make.state == "content", timeout=SLOW)
    window.make.detail.target.show_folder(folder)
    window.show_page(MAKE)
    return window


@pytest.fixture
def window(make_window: MakeWindow, qtbot: QtBot, tmp_path: Path) -> MainWindow:
    return ready(make_window(), qtbot, tmp_path)


def click_box(window: MainWindow, qtbot: QtBot, level: str) -> None:
    """Where the tick of the level is painted."""
    table = window.make.table
    position = window.make.options.position_of(level)
    assert position is not None
    index = table.model().index(position, 0)
    table.scrollTo(index)
    cell = table.visualRect(index)
    point = QPoint(cell.left() + SIZES.s + SIZES.tick // 2, cell.center().y())
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=point)


def ticked(window: MainWindow) -> list[str]:
    return [option.recipe.name for option in window.make.options.ticked()]


def make(window: MainWindow, qtbot: QtBot, *levels: str) -> QuantizeJob:
    """The job of these levels, put into the queue with the button."""
    before = len(window.queue.records())
    window.make.options.tick(levels)
    qtbot.mouseClick(window.make.make, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(window.queue.records()) > before, timeout=SLOW)
    job = window.queue.record(window.make.job.id)
    assert job is not None
    assert isinstance(job.job, QuantizeJob)
    return job.job


def targets(job: QuantizeJob) -> dict[str, str]:
    return {each.recipe: Path(each.target).name for each in job.each}


def test_ticks_make_one_job_with_a_file_for_each(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    page = window.make
    for level in ("Q4_K_M", "Q8_0", "F16"):
        click_box(window, qtbot, level)
    click_box(window, qtbot, "F16")
    assert sorted(ticked(window)) == ["Q4_K_M", "Q8_0"]
    assert page.make.text() == "Make 2 files"
    assert page.detail.target.name.text() == "Sample-{type}.gguf"
    qtbot.mouseClick(page.make, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.panel.chip.isVisible(), timeout=SLOW)
    (record,) = window.queue.records()
    assert isinstance(record.job, QuantizeJob)
    assert targets(record.job) == {"Q4_K_M": "Sample-Q4_K_M.gguf", "Q8_0": "Sample-Q8_0.gguf"}
    assert ticked(window) == []
    assert sorted(path.name for path in tmp_path.glob("*.gguf")) == ["Sample-Q4_K_M.gguf", "Sample-Q8_0.gguf"]


def test_one_tick_is_what_is_made_whatever_row_is_looked_at(window: MainWindow, qtbot: QtBot) -> None:
    click_box(window, qtbot, "Q8_0")
    window.make.table.choose("Q4_K_M")
    assert window.make.make.text() == "Make Q8_0"
    assert window.make.detail.target.path.name == "Sample-Q8_0.gguf"
    click_box(window, qtbot, "Q8_0")
    assert window.make.make.text() == "Make Q8_0", "the row that was clicked is selected"


def test_what_all_take_together_is_said(window: MainWindow, qtbot: QtBot) -> None:
    costs = window.make.detail.costs
    window.make.options.tick(("Q4_K_M", "Q8_0", "F16"))
    qtbot.waitUntil(lambda: costs.whole.startswith("3 files in one reading. Takes "), timeout=SLOW)
    size = sum(option.plan.file_bytes for option in window.make.options.ticked())
    assert f"Takes {words.exact(size)} of " in costs.whole
    assert "Sample-F16.gguf" in costs.toolTip()


def test_the_whole_way_by_keyboard(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    page, key = window.make, Qt.Key
    page.table.setFocus()
    page.table.choose("Q4_K_M")
    rows = [option.recipe.name for option in page.options.rows]
    other = rows[rows.index("Q4_K_M") + 1]
    for pressed in (key.Key_Space, key.Key_Down, key.Key_Space):
        qtbot.keyClick(window.focusWidget(), pressed)
    assert sorted(ticked(window)) == sorted(["Q4_K_M", other])
    qtbot.keyClick(window.focusWidget(), key.Key_Tab)
    assert window.focusWidget() is page.detail.target.name
    page.detail.target.name.selectAll()
    qtbot.keyClicks(page.detail.target.name, "mine")
    qtbot.keyClick(page.detail.target.name, key.Key_Return)
    qtbot.waitUntil(lambda: page.panel.chip.isVisible(), timeout=SLOW)
    assert {path.name for path in tmp_path.glob("*.gguf")} == {"mine-Q4_K_M.gguf", f"mine-{other}.gguf"}


def test_two_quick_clicks_on_a_box_are_two_clicks(window: MainWindow, qtbot: QtBot) -> None:
    table = window.make.table
    window.make.options.tick(("Q8_0",))
    table.choose("Q8_0")
    cell = table.visualRect(table.currentIndex())
    point = QPoint(cell.left() + SIZES.s, cell.center().y())
    qtbot.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=point)
    assert (ticked(window), window.queue.records()) == ([], [])


def test_an_assistive_program_reads_and_turns_a_tick(window: MainWindow) -> None:
    table, role = window.make.table, Qt.ItemDataRole.CheckStateRole
    table.choose("Q8_0")
    index = table.currentIndex().siblingAtColumn(0)
    assert index.flags() & Qt.ItemFlag.ItemIsUserCheckable
    assert table.model().setData(index, Qt.CheckState.Checked, role)
    assert (ticked(window), index.data(role)) == (["Q8_0"], Qt.CheckState.Checked)
    assert table.model().setData(index, Qt.CheckState.Unchecked.value, role)
    assert ticked(window) == []
    assert not table.model().setData(index.siblingAtColumn(1), Qt.CheckState.Checked, role)


def test_ticks_stay_while_the_figures_change_and_go_with_the_model(window: MainWindow, qtbot: QtBot) -> None:
    window.make.options.tick(("Q4_K_M", "Q8_0"))
    before = window.make.options.rows
    window.make.context.setValue(32_768)
    qtbot.waitUntil(lambda: window.make.options.rows is not before, timeout=SLOW)
    assert sorted(ticked(window)) == ["Q4_K_M", "Q8_0"]
    assert window.make.model is not None
    window.make.show_model(window.make.model)
    assert ticked(window) == []


def test_each_file_that_is_there_already_is_named_before_it_is_replaced(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    for level in ("Q8_0", "F16"):
        (tmp_path / f"Sample-{level}.gguf").write_text("precious")
    window.make.options.tick(("Q4_K_M", "Q8_0", "F16"))
    window.make.act()
    qtbot.waitUntil(lambda: window.make.banner.message.endswith("exist already."), timeout=SLOW)
    assert all(name in window.make.banner.message for name in ("Sample-Q8_0.gguf", "Sample-F16.gguf"))
    assert "Q4_K_M" not in window.make.banner.message
    next(b for b in window.make.banner.findChildren(QPushButton) if b.text() == "Replace").click()
    qtbot.waitUntil(lambda: window.queue.records() != [], timeout=SLOW)
    assert window.queue.records()[0].job.overwrite


def test_the_page_jobs_tells_each_file_and_does_with_all_what_it_does_with_one(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    job = make(window, qtbot, "Q4_K_M", "Q8_0")
    qtbot.waitUntil(lambda: not window.queue.is_working, timeout=SLOW)
    window.show_page(JOBS)
    jobs = window.jobs
    record = jobs.table.current()
    assert record is not None
    assert (record.name, record.recipe) == (f"{Path(job.target).name} and 1 more", ", ".join(targets(job)))
    told = jobs.facts.as_text()
    assert "Q8_0: Sample-Q8_0.gguf, 10 B" in told
    assert "Q4_K_M: Sample-Q4_K_M.gguf, 20 B" in told
    assert "Together: 30 B" in told
    jobs.do("command")
    assert QApplication.clipboard().text().count("--type") == 2
    window.queue.hold()
    jobs.do("duplicate")
    jobs.choose(record.id)
    jobs.do("duplicate")
    names = [[path.name for path in each.targets] for each in window.queue.open_jobs()]
    assert names == [[f"Sample-{level}-{n}.gguf" for level in targets(job)] for n in (2, 3)]
    assert f"Q8_0: {tmp_path}/Sample-Q8_0-3.gguf" in jobs.facts.as_text()


def waiting(window: MainWindow, qtbot: QtBot) -> str:
    """A job of two levels that has not begun."""
    window.queue.hold()
    make(window, qtbot, "Q4_K_M", "Q8_0")
    return window.make.job.id


def test_a_job_of_several_is_changed_before_it_begins(window: MainWindow, qtbot: QtBot) -> None:
    window.make.detail.target.name.setText("mine-{type}-x.gguf")
    id = waiting(window, qtbot)
    window.jobs.choose(id)
    window.jobs.do("edit")
    qtbot.waitUntil(lambda: window.page is window.make and sorted(ticked(window)) == ["Q4_K_M", "Q8_0"], timeout=SLOW)
    qtbot.waitUntil(lambda: window.make.state == "content", timeout=SLOW)
    assert window.make.detail.target.name.text() == "mine-{type}-x.gguf"
    window.make.options.turn("F16")
    window.make.act()
    qtbot.waitUntil(lambda: window.make.panel.isVisible(), timeout=SLOW)
    (record,) = window.queue.records()
    assert record.id == id
    assert isinstance(record.job, QuantizeJob)
    assert targets(record.job) == {level: f"mine-{level}-x.gguf" for level in ("Q4_K_M", "Q8_0", "F16")}
    assert record.folder.read_job() == record.job


def test_what_the_page_does_not_show_of_a_job_stays_as_it_is(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.queue.hold()
    job = QuantizeJob(str(sample_folder()), "Q8_0", str(tmp_path / "a.gguf"), pure=True, card=False, threads=1)
    record = window.queue.add(job)
    window._edit_job(record.id)
    qtbot.waitUntil(lambda: window.make.banner.message != "" and window.make.state == "content", timeout=SLOW)
    window.make.table.choose("Q4_0")
    window.make.act()
    qtbot.waitUntil(lambda: window.make.panel.isVisible(), timeout=SLOW)
    changed = window.queue.record(record.id)
    assert changed is not None
    assert isinstance(changed.job, QuantizeJob)
    assert (changed.job.recipe, changed.job.pure, changed.job.card, changed.job.threads) == ("Q4_0", True, False, 1)


def test_a_job_from_the_hub_is_changed_before_it_begins(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = FakeRepo("org/model", {path.name: path.read_bytes() for path in sample_folder().iterdir()})
    with FakeHub([repo]) as fake, asking(fake, monkeypatch, tmp_path):
        window.queue.hold()
        pair = (("Q4_0", str(tmp_path / "m-Q4_0.gguf")),)
        job = QuantizeJob("hub:org/model", "Q8_0", str(tmp_path / "m-Q8_0.gguf"), keep_download=True, also=pair)
        record = window.queue.add(job)
        window.jobs.choose(record.id)
        window.jobs.do("edit")
        qtbot.waitUntil(lambda: sorted(ticked(window)) == ["Q4_0", "Q8_0"], timeout=SLOW)
        window.make.options.tick(("Q6_K", "Q8_0"))
        window.make.act()
        qtbot.waitUntil(lambda: window.make.panel.isVisible(), timeout=SLOW)
    changed = window.queue.record(record.id)
    assert changed is not None
    assert isinstance(changed.job, QuantizeJob)
    assert (changed.job.source, changed.job.keep_download) == ("hub:org/model", True)
    assert targets(changed.job) == {"Q8_0": "m-Q8_0.gguf", "Q6_K": "m-Q6_K.gguf"}


def test_another_model_is_not_taken_for_that_of_a_job_to_be_changed(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.queue.hold()
    record = window.queue.add(QuantizeJob(str(tmp_path / "gone"), "Q8_0", str(tmp_path / "a.gguf")))
    window._edit_job(record.id)
    qtbot.waitUntil(lambda: window.models.banner.message != "", timeout=SLOW)
    ready(window, qtbot, tmp_path)
    assert window.make.banner.message == ""


@pytest.mark.slow
def test_the_real_worker_makes_both_in_one_job(make_window: MakeWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window = ready(make_window(worker_command=()), qtbot, tmp_path)
    make(window, qtbot, "Q4_0", "Q8_0")
    sizes = {option.recipe.name: option.plan.file_bytes for option in window.make.options.rows}
    qtbot.waitUntil(lambda: window.make.panel.chip.isVisible(), timeout=SLOW)
    (record,) = window.queue.records()
    assert (record.state, record.failure) == (JobState.DONE, None)
    for path, level in zip(record.targets, ("Q8_0", "Q4_0"), strict=True):
        assert path.stat().st_size == sizes[level]
        assert core.verify_file(path).ok
    window.show_page(JOBS)
    window.jobs.choose(record.id)
    assert window.jobs.facts.as_text().count("off by") == 2
    assert len(window.jobs.tensors.rows) == sum(result["tensors"] for result in record.made)
    assert not window.jobs.tensor_table.isColumnHidden(1)
