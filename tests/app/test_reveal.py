"""Showing a file in the file manager: selected where that can be, else its folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QDesktopServices
from pytestqt.qtbot import QtBot

from app.reveal import command_of, reveal


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: found.append(url.toLocalFile()))
    return found


def bus(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> Path:
    """A dbus-send of our own that notes what it is asked."""
    program, noted = folder / "bin" / "dbus-send", folder / "asked"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {noted}.part\nmv {noted}.part {noted}\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return noted


def test_each_system_is_asked_in_its_own_way() -> None:
    path = Path("/models/a, b.gguf")
    assert command_of(path, "darwin") == ["open", "-R", "/models/a, b.gguf"]
    assert command_of(path, "win32") == ["explorer"]
    program, *arguments = command_of(path, "linux")
    assert program == "dbus-send"
    assert arguments[-3:] == [
        "org.freedesktop.FileManager1.ShowItems", "array:string:file:///models/a%2C%20b.gguf", "string:",
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the file manager")
def test_the_file_manager_selects_the_file(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    noted = bus(tmp_path, monkeypatch, 0)
    (tmp_path / "x.gguf").write_bytes(b"")
    reveal(tmp_path / "x.gguf", platform="linux")
    qtbot.waitUntil(noted.exists)
    assert f"array:string:file://{tmp_path}/x.gguf" in noted.read_text()
    qtbot.wait(50)
    assert opened == []


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the file manager")
@pytest.mark.parametrize("there", [True, False], ids=["it refuses", "there is none"])
def test_without_such_a_file_manager_the_folder_is_opened(
    there: bool, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    if there:
        bus(tmp_path, monkeypatch, 1)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "x.gguf").write_bytes(b"")
    reveal(tmp_path / "x.gguf", platform="linux")
    qtbot.waitUntil(lambda: opened == [str(tmp_path)])


def test_a_folder_is_opened(tmp_path: Path, opened: list[str]) -> None:
    reveal(tmp_path)
    assert opened == [str(tmp_path)]
