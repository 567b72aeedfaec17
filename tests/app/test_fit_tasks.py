"""The window's end of the process that judges: the newest request wins, and a process that went away is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from app.fit_tasks import FitTasks
from app.words import Problem

# Answers each request with its number and what was asked, after a row; at "die" it ends, at "wait" it says nothing.
ECHO = """
import sys
from app.fit_lines import packed, unpacked
for line in sys.stdin.buffer:
    number, what, values = unpacked(line)
    if values.get("die"):
        sys.exit(3)
    if values.get("wait"):
        continue
    for said in ((number, "row", values), (number, "done", (what, number))):
        sys.stdout.buffer.write(packed(*said))
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def tasks(qtbot: QtBot) -> Iterator[FitTasks]:
    made = FitTasks(command=(sys.executable, "-c", ECHO))
    yield made
    made.close()


class Heard:
    """What one request was told."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.done: list[Any] = []
        self.failed: list[Problem] = []

    def ask(self, tasks: FitTasks, what: str, **values: Any) -> Heard:
        tasks.ask(what, values, done=self.done.append, failed=self.failed.append, row=self.rows.append)
        return self


def test_rows_come_before_the_end(tasks: FitTasks, qtbot: QtBot) -> None:
    heard = Heard().ask(tasks, "judge", a=1)
    assert tasks.busy("judge")
    qtbot.waitUntil(lambda: heard.done != [])
    assert (heard.rows, heard.done, heard.failed) == ([{"a": 1}], [("judge", 1)], [])
    assert not tasks.busy("judge")


def test_the_newest_of_a_kind_is_heard_and_other_kinds_beside_it(tasks: FitTasks, qtbot: QtBot) -> None:
    first, other = Heard().ask(tasks, "judge"), Heard().ask(tasks, "answer")
    second = Heard().ask(tasks, "judge")
    qtbot.waitUntil(lambda: second.done != [] and other.done != [])
    assert (first.rows, first.done, first.failed) == ([], [], [])


def test_a_process_that_went_away_is_told_and_another_one_started(tasks: FitTasks, qtbot: QtBot) -> None:
    waiting = Heard().ask(tasks, "answer", wait=True)
    dying = Heard().ask(tasks, "judge", die=True)
    qtbot.waitUntil(lambda: dying.failed != [])
    assert [problem.message for problem in waiting.failed] == ["The part of Snug that judges models stopped."]
    again = Heard().ask(tasks, "judge")
    qtbot.waitUntil(lambda: again.done != [])


def test_one_that_cannot_be_started_is_told_too(qtbot: QtBot) -> None:
    tasks = FitTasks(command=("/nowhere/at/all",))
    heard = Heard().ask(tasks, "judge")
    qtbot.waitUntil(lambda: heard.failed != [])
    tasks.close()


def test_nothing_is_heard_after_the_end(tasks: FitTasks, qtbot: QtBot) -> None:
    heard = Heard().ask(tasks, "judge")
    tasks.close()
    qtbot.wait(100)
    assert (heard.done, heard.failed) == ([], [])
