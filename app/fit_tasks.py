"""What the page Fit asks of the process that judges models: the newest request of a kind wins, as with Tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from PySide6.QtCore import QObject, QProcess

from app.fit_lines import packed, unpacked
from app.words import Problem

Heard = Callable[[Any], None]
_GONE = Problem("The part of Snug that judges models stopped.", "Change what you ask, and it starts again.")
_END_MS = 500


def desk_command() -> list[str]:
    """How this program starts itself as the process that judges."""
    return [sys.executable, "judge"] if getattr(sys, "frozen", False) else [sys.executable, "-u", "-m", "app", "judge"]


@dataclass(frozen=True, slots=True)
class _Waiting:
    number: int
    done: Heard
    failed: Callable[[Problem], None]
    row: Heard


class FitTasks(QObject):
    """Starts the process with the first request. Answers come by calls in the UI thread."""

    def __init__(self, parent: QObject | None = None, *, command: Sequence[str] = ()) -> None:
        super().__init__(parent)
        self._command = list(command) or desk_command()
        self._process: QProcess | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._last = 0
        self._buffer = b""

    def ask(
        self,
        what: str,
        values: dict[str, Any],
        *,
        done: Heard,
        failed: Callable[[Problem], None],
        row: Heard = lambda _: None,
    ) -> None:
        """Asks; what was asked of the same kind before is heard no more."""
        self._last += 1
        self._waiting[what] = _Waiting(self._last, done, failed, row)
        if self._process is None:
            self._process = self._started()
        self._process.write(packed(self._last, what, values))

    def busy(self, what: str) -> bool:
        return what in self._waiting

    def close(self) -> None:
        """Ends the process; nothing is heard any more."""
        self._waiting.clear()
        process, self._process = self._process, None
        if process is None:
            return
        process.blockSignals(True)
        process.closeWriteChannel()
        if not process.waitForFinished(_END_MS):
            process.kill()
            process.waitForFinished(_END_MS)

    def _started(self) -> QProcess:
        process = QProcess(self)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.ForwardedErrorChannel)
        process.setWorkingDirectory(str(Path(__file__).resolve().parent.parent))
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._ended)
        process.errorOccurred.connect(self._ended)
        self._buffer = b""
        Thread(target=_prepare, name="snug-fit-prepare", daemon=True).start()
        process.start(self._command[0], self._command[1:])
        return process

    def _read(self) -> None:
        if self._process is None:
            return
        self._buffer += self._process.readAllStandardOutput().data()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._hear(*unpacked(line))

    def _hear(self, number: int, kind: str, value: Any) -> None:
        what = next((what for what, waiting in self._waiting.items() if waiting.number == number), "")
        if not what:
            return
        waiting = self._waiting[what]
        if kind == "row":
            waiting.row(value)
            return
        del self._waiting[what]
        if kind == "done":
            waiting.done(value)
        else:
            waiting.failed(value)

    def _ended(self) -> None:
        """The process went away by itself: whoever waits hears it, and the next request starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        waiting, self._waiting = list(self._waiting.values()), {}
        for one in waiting:
            one.failed(_GONE)


def _prepare() -> None:
    """Imports what the answers are made of, so that the first one does not hold up the window."""
    import core

    for name in ("Answer", "Calibration", "Hardware", "Want"):
        getattr(core, name)
