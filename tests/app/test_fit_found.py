"""The page Fit with what the page Find has found, against a Hub of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.pages.fit_answers import FOUND
from app.window import FIND, FIT
from tests.app.conftest import MakeWindow
from tests.app.hub_models import hub_environment, hub_models
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow

PATIENCE = 30_000


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub(hub_models(tmp_path / "models")) as started:
        for name, value in hub_environment(started, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield started


def test_the_models_of_the_last_search_are_judged_too(fake: FakeHub, make_window: MakeWindow, qtbot: QtBot) -> None:
    window = make_window(worker_command=())
    window.show_page(FIND)
    lists, fit = window.finder.lists, window.fit
    with qtbot.waitSignal(lists.began):
        lists.filters.text.setText("org")
    qtbot.waitUntil(lambda: lists.state == "found", timeout=PATIENCE)
    ids = {row.id for row in lists.found.rows}
    window.show_page(FIT)

    def found() -> set[str]:
        return {row.name for row in fit.rows.rows if row.wanted.where == FOUND}

    def looked() -> bool:
        fit.look_wanted.emit()
        return found() != set()

    qtbot.waitUntil(looked, timeout=PATIENCE)
    assert found() <= ids
    row = next(row for row in fit.rows.rows if row.wanted.where == FOUND)
    fit._settle()
    fit.table.choose(row.key)
    qtbot.waitUntil(lambda: fit.make.isEnabled() and fit._chosen == row.key, timeout=PATIENCE)
    fit.make.click()
    assert window.pages.currentIndex() == FIND
    assert window.finder.panel.row is not None
    assert window.finder.panel.row.id == row.name
