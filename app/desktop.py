"""What the desktop shows of the work while nobody looks at the window: progress on the dock's icon, and a notification.

Each is a courtesy that may be missing: without a bus, a tray or a program for it, nothing happens, and nothing waits.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QSystemTrayIcon

APP = "application://snug.desktop"
_LAUNCHER = ("/com/canonical/unity/launcherentry/1", "com.canonical.Unity.LauncherEntry", "Update")
_STEPS = 200


def has_session_bus() -> bool:
    """Whether there is a bus to talk to; Qt would try to start one."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS")) or Path(f"/run/user/{os.getuid()}/bus").exists()


class Desktop(QObject):
    """One for the whole program."""

    def __init__(self, icon: QIcon, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._icon = icon
        self._tray: QSystemTrayIcon | None = None
        self._shown: tuple[int, int] | None = None

    def show_progress(self, fraction: float | None, count: int) -> None:
        """On the dock's icon: how far the work is, None: not at all, and how many jobs are open."""
        shown = (-1 if fraction is None else round(fraction * _STEPS), count)
        if shown == self._shown:
            return
        self._shown = shown
        values = {
            "progress": max(0.0, min(1.0, fraction or 0.0)),
            "progress-visible": fraction is not None,
            "count": count,
            "count-visible": count > 0,
        }
        self._signal([APP, values])

    def notify(self, title: str, text: str) -> None:
        """A notification of the system's own, where it has such a thing."""
        if QSystemTrayIcon.isSystemTrayAvailable() and QSystemTrayIcon.supportsMessages():
            if self._tray is None:
                self._tray = QSystemTrayIcon(self._icon, self)
                self._tray.setToolTip("Snug")
                self._tray.show()
            self._tray.showMessage(title, text, self._icon)
            return
        command = notify_command(title, text)
        if command:
            QProcess.startDetached(command[0], list(command[1:]))

    def close(self) -> None:
        """Leaves nothing behind on the dock and in the tray."""
        self.show_progress(None, 0)
        if self._tray is not None:
            self._tray.hide()

    def _signal(self, arguments: list[Any]) -> None:
        if not has_session_bus():
            return
        from PySide6.QtDBus import QDBusConnection, QDBusMessage  # only here: not every system has it

        message = QDBusMessage.createSignal(*_LAUNCHER)
        message.setArguments(arguments)
        QDBusConnection.sessionBus().send(message)  # returns at once, whoever listens


def notify_command(title: str, text: str, *, platform: str = sys.platform) -> tuple[str, ...]:
    """The program that shows a notification; empty where there is none."""
    if platform == "darwin":
        script = "on run {title, body}\ndisplay notification body with title title\nend run"
        return ("osascript", "-e", script, title, text)
    if platform.startswith("linux") and has_session_bus() and shutil.which("notify-send"):
        return ("notify-send", "--app-name=Snug", "--", title, text)
    return ()
