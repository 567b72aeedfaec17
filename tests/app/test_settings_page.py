"""The page Settings: what decides how the Hub is reached, who is logged in, and where things are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from app.pages.settings import SettingsPage, show_folder
from app.window import FIND, SETTINGS, MainWindow
from core import data_folder
from tests.app.conftest import MakeWindow
from tests.app.hub_models import hub_environment
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow

PATIENCE = 15_000


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub() as started:
        for name, value in hub_environment(started, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield started


def opened(window: MainWindow, qtbot: QtBot) -> SettingsPage:
    window.show_page(SETTINGS)
    qtbot.waitUntil(lambda: window.options.hub.as_text() != "", timeout=PATIENCE)
    return window.options


def test_each_setting_of_the_hub_is_shown_with_the_variable_that_decides_it(
    fake: FakeHub, make_window: MakeWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_full")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128")
    page = opened(make_window(), qtbot)
    shown = page.hub.as_text()
    assert f"Hub: {fake.url}, by HF_ENDPOINT" in shown
    assert f"Cache: {tmp_path / 'cache'}, by HF_HUB_CACHE" in shown
    assert "Offline: no" in shown
    assert "Token: given, by HF_TOKEN" in shown
    assert "Proxy: http://proxy.example:3128, by HTTPS_PROXY" in shown
    assert "Certificates: those that are usual" in shown
    assert "secret" not in shown
    assert "hf_full" not in shown
    assert page.who.text() == "Logged in as ada"


def test_who_logs_in_here_is_logged_in_on_the_page_find_too(
    fake: FakeHub, make_window: MakeWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window = make_window()
    window.show_page(FIND)
    page = opened(window, qtbot)
    assert page.who.text() == "Nobody is logged in"
    page.account.button.click()
    box = page.account.box
    assert box is not None
    box.token_given.emit("hf_plain")
    qtbot.waitUntil(lambda: page.who.text() == "Logged in as bob", timeout=PATIENCE)
    qtbot.waitUntil(lambda: window.finder.account.name == "bob", timeout=PATIENCE)
    assert f"Token: stored in {tmp_path / 'home'}" in page.hub.as_text()
    page.account.button.click()
    qtbot.waitUntil(lambda: page.who.text() == "Nobody is logged in", timeout=PATIENCE)
    qtbot.waitUntil(lambda: window.finder.account.name == "", timeout=PATIENCE)


def test_a_folder_is_shown_also_before_it_is_there(
    fake: FakeHub, make_window: MakeWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Path] = []
    monkeypatch.setattr("app.pages.settings.reveal", shown.append)
    page = opened(make_window(), qtbot)
    show_folder(tmp_path / "not" / "yet")
    button = next(one for one in page.findChildren(QPushButton) if one.accessibleName() == "Show the folder: Data")
    button.click()
    assert shown == [tmp_path, data_folder()]


def test_a_hub_that_cannot_be_asked_is_a_message(
    fake: FakeHub, make_window: MakeWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    window = make_window()
    window.show_page(SETTINGS)
    qtbot.waitUntil(lambda: window.options.banner.message != "", timeout=PATIENCE)
    assert window.options.banner.message == "The Hub does not accept your token."
    assert "snug login" not in window.options.banner.hint
