"""Shows a file in the system's own file manager, selected; only its folder where that cannot be asked for."""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QObject, QProcess, QUrl
from PySide6.QtGui import QDesktopServices

# The interface that file managers share: freedesktop.org, "File manager D-Bus interface".
_FREEDESKTOP = ("dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.FileManager1",
                "/org/freedesktop/FileManager1", "org.freedesktop.FileManager1.ShowItems")  # fmt: skip


def reveal(path: Path, *, platform: str = sys.platform) -> None:
    """Returns at once. A folder is opened, a file is selected in its folder."""
    if path.is_dir():
        _open(path)
        return
    process = QProcess(QCoreApplication.instance())
    process.setProgram(program := command_of(path, platform)[0])
    process.setArguments(command_of(path, platform)[1:])
    if program == "explorer" and hasattr(process, "setNativeArguments"):
        process.setNativeArguments(f'/select,"{path}"')  # explorer reads its line by rules of its own
    process.errorOccurred.connect(lambda _: _failed(process, path))
    process.finished.connect(lambda code, _: _failed(process, path) if code and program != "explorer" else None)
    process.finished.connect(process.deleteLater)
    process.start()


def command_of(path: Path, platform: str) -> list[str]:
    """The program that selects a file, and its arguments."""
    if platform == "win32":
        return ["explorer"]
    if platform == "darwin":
        return ["open", "-R", str(path)]
    address = QUrl.fromLocalFile(str(path)).toString(QUrl.ComponentFormattingOption.FullyEncoded)
    return [*_FREEDESKTOP, f"array:string:{address.replace(',', '%2C')}", "string:"]  # a comma would part two files


def _failed(process: QObject, path: Path) -> None:
    process.deleteLater()
    _open(path.parent)


def _open(folder: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
