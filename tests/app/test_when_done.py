from __future__ import annotations

from collections.abc import Callable

import pytest
from pytestqt.qtbot import QtBot

from app.when_done import WAIT_SECONDS, WhenDone
from app.widgets.banner import Banner
from app.widgets.job_limits import JobLimits
from app.window import MainWindow
from core import QuantizeJob, Settings

JobFor = Callable[[str], QuantizeJob]


@pytest.fixture
def done(qtbot: QtBot) -> list[str]:
    return []


@pytest.fixture
def banner(qtbot: QtBot) -> Banner:
    banner = Banner()
    qtbot.addWidget(banner)
    return banner


def made(banner: Banner, done: list[str]) -> WhenDone:
    return WhenDone(banner, {"sleep": lambda: done.append("sleep"), "quit": lambda: done.append("quit")})


def test_nothing_is_what_happens_unless_something_is_wished(banner: Banner, done: list[str]) -> None:
    when = made(banner, done)
    when.begin()
    assert (when.is_counting, banner.message) == (False, "")


def test_there_is_time_to_say_no(banner: Banner, done: list[str]) -> None:
    when = made(banner, done)
    when.choose("sleep")
    when.begin()
    assert banner.message == f"All is done. This machine goes to sleep in {WAIT_SECONDS} s."
    banner._buttons[0].click()
    assert (when.is_counting, done) == (False, [])


def test_after_that_time_it_happens(banner: Banner, done: list[str]) -> None:
    when = made(banner, done)
    when.choose("quit")
    when.begin()
    for _ in range(WAIT_SECONDS):
        when._tick()
    assert (when.is_counting, done) == (False, ["quit"])


@pytest.mark.parametrize("can", [True, False])
def test_sleep_is_offered_only_where_there_is_such_a_thing(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, *, can: bool
) -> None:
    monkeypatch.setattr("app.widgets.job_limits.can_sleep", lambda: can)
    limits = JobLimits(Settings())
    qtbot.addWidget(limits)
    words = [limits.when_done.itemText(at) for at in range(limits.when_done.count())]
    assert words == ["Nothing", *(["Put this machine to sleep"] if can else []), "Close Snug"]
    with qtbot.waitSignal(limits.when_done_changed) as heard:
        limits.when_done.setCurrentText("Close Snug")
    assert heard.args == ["quit"]


def test_the_window_counts_when_the_last_job_is_done(window: MainWindow, qtbot: QtBot, job_for: JobFor) -> None:
    window.jobs.limits.when_done.setCurrentText("Close Snug")
    window.queue.add_all([job_for("a"), job_for("b")])
    qtbot.waitUntil(lambda: window.when_done.is_counting)
    assert all(record.is_over for record in window.queue.records())
    window.queue.add(job_for("c-slow"))
    assert not window.when_done.is_counting
