"""The page Machine: live figures with their sources, and asking about another machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from app.machine_figures import GpuText, read_figures
from app.pages.machine import MachinePage
from app.tasks import Tasks
from app.window import MAKE, MainWindow
from core import Measured, Override, SnugError, sample_folder

GIB = 1024**3


@pytest.fixture
def page(window: MainWindow, qtbot: QtBot) -> MachinePage:
    qtbot.waitUntil(lambda: window.machine.state == "content")
    return window.machine


def ask(page: MachinePage, qtbot: QtBot, **texts: str) -> None:
    """Types into the editor and presses Enter."""
    page.edit()
    for name, text in texts.items():
        page.editor.fields[name].setText(text)
    with qtbot.waitSignal(page.detected):
        qtbot.keyClick(page.editor.fields["ram"], Qt.Key.Key_Return)


def test_every_figure_says_on_hover_where_it_comes_from(page: MachinePage) -> None:
    processor, memory = page._cards[:2]
    assert "Source: " in memory._figure.toolTip()
    assert "Confidence: high." in memory._figure.toolTip()
    assert "Source: " in processor._name.toolTip()
    assert all("Source: " in value.toolTip() for value in processor._facts._values.values())


def test_figures_are_looked_at_again_while_the_page_is_seen(page: MachinePage, qtbot: QtBot) -> None:
    assert page._timer.isActive()
    assert page._timer.interval() == 2000
    page.window().show_page(MAKE)
    assert not page._timer.isActive()


def test_another_machine_is_asked_about_with_enter_and_left_again(page: MachinePage, qtbot: QtBot) -> None:
    here = page.hardware
    assert here is not None
    assert page.strip.isHidden()
    ask(page, qtbot, ram="16G", cores="4")
    assert page.hardware is not None
    assert (page.hardware.memory.total, page.hardware.cpu.usable_cores) == (16 * GIB, 4)
    assert page.here is not None
    assert page.here.memory.total == here.memory.total
    assert page.strip.isVisible()
    assert "another machine: 16 GiB of RAM" in page._strip_text.text()
    assert page._cards[1]._pill.text() == "Given by you"
    assert page.editor.isHidden()
    with qtbot.waitSignal(page.detected):
        page.back.click()
    assert page.hardware.memory.total == here.memory.total
    assert page.strip.isHidden()
    assert page.editor.fields["ram"].text() == ""


def test_a_gpu_is_added_by_its_name_and_removed(page: MachinePage, qtbot: QtBot) -> None:
    page.edit()
    page.editor.add.click()
    (line,) = page.editor.lines
    line.name.setText("4070")
    with qtbot.waitSignal(page.detected):
        page.editor.ask.click()
    assert page.hardware is not None
    assert [gpu.name for gpu in page.hardware.gpus] == ["GeForce RTX 4070"]
    line.removed.emit()
    assert page.editor.lines == []


def test_what_makes_no_sense_is_said_and_changes_nothing(page: MachinePage, qtbot: QtBot) -> None:
    page.edit()
    page.editor.fields["ram"].setText("lots")
    page.editor.ask.click()
    assert page.banner.message == "lots is not a size of memory."
    assert page.given is None
    assert page.editor.isVisible()


def test_escape_closes_the_editor_and_ctrl_e_opens_it(page: MachinePage, qtbot: QtBot) -> None:
    qtbot.keyClick(page, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    assert page.editor.isVisible()
    assert page.editor.fields["ram"].hasFocus()
    qtbot.keyClick(page.editor.fields["ram"], Qt.Key.Key_Escape)
    assert page.editor.isHidden()
    assert page.other.hasFocus()


def test_every_field_of_the_editor_has_a_name(page: MachinePage) -> None:
    page.edit()
    page.editor.add.click()
    assert all(field.accessibleName() for field in page.editor.findChildren(QLineEdit))


def test_verdicts_on_the_page_make_are_for_the_machine_asked_about(
    window: MainWindow, page: MachinePage, qtbot: QtBot
) -> None:
    window.models.open_path(sample_folder())
    qtbot.waitUntil(lambda: window.make.model is not None)
    window.show_page(MAKE)
    qtbot.waitUntil(lambda: window.make.state == "content")
    page.ask_about(Override(memory_total=512 * 1024**2, gpus=()))
    qtbot.waitUntil(lambda: window.make.options.rows[0].fit.verdict == "no")
    assert "another machine" in window.make.purpose.text()
    page.reset()
    qtbot.waitUntil(lambda: window.make.options.rows[0].fit.verdict != "no")
    assert "this machine" in window.make.purpose.text()


def test_figures_given_are_forgotten_with_the_session(
    page: MachinePage, qtbot: QtBot, make_window: Callable[[], MainWindow]
) -> None:
    ask(page, qtbot, ram="16G")
    assert make_window().machine.given is None


def test_what_was_measured_is_shown_with_its_source(page: MachinePage, qtbot: QtBot) -> None:
    with qtbot.waitSignal(page.detected):
        page._take_measured(Measured(20 * 10**9, 10**9, 5 * 10**8, Path.home()))
    assert "Bandwidth: 20 GB/s" in page.as_text()


@pytest.mark.slow
def test_looking_and_measuring_never_hold_up_the_window(page: MachinePage, qtbot: QtBot) -> None:
    """For the machine that runs the tests may be busy, only a stall is a failure; the figure is in the benchmarks."""
    ticks: list[float] = []
    timer = QTimer(page, interval=5)
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start()
    page._measure()
    for _ in range(4):
        page.refresh()
        qtbot.wait(250)
    timer.stop()
    assert max(later - sooner for sooner, later in pairwise(ticks)) < 0.5


def test_figures_as_typed_become_an_override() -> None:
    texts = {"ram": "32G", "ram_free": "20G", "bandwidth": "60", "cores": "8", "disk": "100G"}
    given = read_figures(texts, [GpuText("RTX 4090", free="20G", bandwidth="1000")], no_gpu=False)
    assert (given.memory_total, given.memory_available, given.memory_bandwidth) == (32 * GIB, 20 * GIB, 60 * 10**9)
    assert (given.cores, given.disk_free) == (8, 100 * GIB)
    assert given.gpus is not None
    assert (given.gpus[0].total, given.gpus[0].free, given.gpus[0].bandwidth) == (24 * GIB, 20 * GIB, 10**12)
    assert not read_figures({}, [GpuText()], no_gpu=False)
    assert read_figures({}, [GpuText("4090")], no_gpu=True).gpus == ()


@pytest.mark.parametrize(
    ("texts", "gpu"),
    [
        ({"cores": "many"}, GpuText()),
        ({"cores": "0"}, GpuText()),
        ({"bandwidth": "fast"}, GpuText()),
        ({"bandwidth": "-4"}, GpuText()),
        ({"disk": "x"}, GpuText()),
        ({}, GpuText("Frobnicator")),
        ({}, GpuText("Frobnicator", free="4G")),
    ],
)
def test_figures_that_make_no_sense_are_refused(texts: dict[str, str], gpu: GpuText) -> None:
    with pytest.raises(SnugError):
        read_figures(texts, [gpu], no_gpu=False)


def test_a_page_without_a_window_needs_no_machine(qtbot: QtBot) -> None:
    page = MachinePage(Tasks())
    qtbot.addWidget(page)
    assert page.state == "loading"
    assert page.findChildren(QLabel)
