from __future__ import annotations

import time
from threading import Event, current_thread, main_thread

import pytest
from pytestqt.qtbot import QtBot

from app.tasks import Tasks
from app.words import Problem
from core import SnugError


def unexpected(value: object) -> None:
    raise AssertionError(value)


def test_work_is_done_elsewhere_and_heard_here(qtbot: QtBot) -> None:
    tasks, heard = Tasks(), []
    tasks.run("look", lambda: current_thread() is main_thread(), done=heard.append, failed=unexpected)
    qtbot.waitUntil(lambda: heard == [False])
    assert not tasks.busy("look")


def test_an_error_comes_as_a_problem_in_words(qtbot: QtBot) -> None:
    tasks, heard = Tasks(), []

    def fail() -> None:
        raise SnugError("No such model.", "Open another.")

    tasks.run("look", fail, done=unexpected, failed=heard.append)
    qtbot.waitUntil(lambda: heard == [Problem("No such model.", "Open another.")])


def test_only_the_newest_of_a_kind_is_heard(qtbot: QtBot) -> None:
    tasks, heard, gate = Tasks(), [], Event()

    def old() -> str:
        gate.wait(5)
        return "old"

    tasks.run("look", old, done=heard.append, failed=unexpected)
    tasks.run("look", lambda: "new", done=heard.append, failed=unexpected)
    qtbot.waitUntil(lambda: heard == ["new"])
    gate.set()
    qtbot.wait(50)
    assert heard == ["new"]


def test_closing_does_not_wait_and_nothing_is_heard_after(qtbot: QtBot) -> None:
    tasks, gate = Tasks(), Event()
    tasks.run("look", lambda: gate.wait(5), done=unexpected, failed=unexpected)
    start = time.monotonic()
    tasks.close()
    assert time.monotonic() - start < 0.1
    gate.set()
    qtbot.wait(50)


def test_a_bug_is_printed_with_its_traceback(qtbot: QtBot, capsys: pytest.CaptureFixture[str]) -> None:
    tasks, heard = Tasks(), []
    tasks.run("look", lambda: {}["missing"], done=unexpected, failed=heard.append)
    qtbot.waitUntil(lambda: len(heard) == 1)
    assert "KeyError: 'missing'" in capsys.readouterr().err
