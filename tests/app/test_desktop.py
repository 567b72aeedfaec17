from __future__ import annotations

import sys
from typing import Any

import pytest
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QSystemTrayIcon
from pytestqt.qtbot import QtBot

from app.desktop import APP, Desktop, has_session_bus, notify_command


@pytest.fixture
def sent(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    sent: list[Any] = []
    monkeypatch.setattr(Desktop, "_signal", lambda _, arguments: sent.append(arguments))
    return sent


def test_progress_goes_to_the_dock_only_when_it_has_changed(sent: list[Any]) -> None:
    desktop = Desktop(QIcon())
    for fraction in (0.5, 0.5001, 0.6):
        desktop.show_progress(fraction, 2)
    desktop.close()
    assert [(app, values["progress"], values["progress-visible"], values["count"]) for app, values in sent] == [
        (APP, 0.5, True, 2), (APP, 0.6, True, 2), (APP, 0.0, False, 0),
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="a bus of Linux desktops")
def test_without_a_bus_nothing_happens(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.desktop.Path.exists", lambda _: False)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", lambda: False)
    assert not has_session_bus()
    desktop = Desktop(QIcon())
    desktop.show_progress(0.5, 1)
    desktop.notify("a.gguf: done", "It is whole.")
    desktop.close()


@pytest.mark.skipif(sys.platform != "linux", reason="a bus of Linux desktops")
def test_a_bus_that_does_not_answer_holds_nothing_up(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/at/all")
    Desktop(QIcon()).show_progress(0.5, 1)


def test_a_notification_is_the_systems_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x")
    monkeypatch.setattr("app.desktop.has_session_bus", lambda: True)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert notify_command("-t", "b", platform="linux") == ("notify-send", "--app-name=Snug", "--", "-t", "b")
    assert notify_command("t", 'b"', platform="darwin")[-2:] == ("t", 'b"')
    assert notify_command("t", "b", platform="win32") == ()
