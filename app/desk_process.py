"""A process beside the window that answers lines with lines; it starts with the first, and again after it is gone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, Signal

_END_MS = 500


def desk_command(name: str) -> list[str]:
    """How this program starts itself as the process `name`, from source and frozen alike."""
    return [sys.executable, name] if getattr(sys, "frozen", False) else [sys.executable, "-u", "-m", "app", name]


class DeskProcess(QObject):
    """`started`: a process begins; `heard`: a line of it; `gone`: it went away by itself."""

    started = Signal()
    heard = Signal(bytes)
    gone = Signal()

    def __init__(self, command: Sequence[str], parent: QObject) -> None:
        super().__init__(parent)
        self._command = list(command)
        self._process: QProcess | None = None
        self._buffer = b""

    def write(self, line: bytes) -> None:
        if self._process is None:
            self._process = self._begun()
        self._process.write(line)

    def close(self) -> None:
        """Ends the process; nothing is heard any more."""
        process, self._process = self._process, None
        if process is None:
            return
        process.blockSignals(True)
        process.closeWriteChannel()
        if not process.waitForFinished(_END_MS):
            process.kill()
            process.waitForFinished(_END_MS)

    def _begun(self) -> QProcess:
        process = QProcess(self)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.ForwardedErrorChannel)
        process.setWorkingDirectory(str(Path(__file__).resolve().parent.parent))
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._ended)
        process.errorOccurred.connect(self._ended)
        self._buffer = b""
        self.started.emit()
        process.start(self._command[0], self._command[1:])
        return process

    def _read(self) -> None:
        if self._process is None:
            return
        self._buffer += self._process.readAllStandardOutput().data()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self.heard.emit(line)

    def _ended(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        self.gone.emit()
