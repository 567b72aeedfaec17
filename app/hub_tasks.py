"""What the window asks the Hub, in a process of its own: no request, however slow, and no answer, however large, holds
up the window."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess

from app.words import Problem

Heard = Callable[[Any], None]
_GONE = Problem("The part of Snug that asks the Hub stopped.", "Try again.")
_END_MS = 500


def desk_command() -> list[str]:
    """How this program starts itself as the process that asks the Hub."""
    return [sys.executable, "hub"] if getattr(sys, "frozen", False) else [sys.executable, "-u", "-m", "app", "hub"]


@dataclass(frozen=True, slots=True)
class _Waiting:
    done: Heard
    failed: Callable[[Problem], None]
    heard: Heard


class HubTasks(QObject):
    """Starts the process with the first request. Answers come by calls in the UI thread, in any order."""

    def __init__(self, parent: QObject | None = None, *, command: Sequence[str] = ()) -> None:
        super().__init__(parent)
        self._command = list(command) or desk_command()
        self._process: QProcess | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._last = 0
        self._buffer = b""

    def ask(
        self,
        what: str,
        values: dict[str, Any] | None = None,
        *,
        done: Heard,
        failed: Callable[[Problem], None],
        heard: Heard = lambda _: None,
    ) -> int:
        """Asks; the number is for `drop`. `heard` gets events on the way."""
        self._last += 1
        self._waiting[self._last] = _Waiting(done, failed, heard)
        self._write({"id": self._last, "ask": what, "with": values or {}})
        return self._last

    def drop(self, number: int) -> None:
        """Cancels it; nothing more is heard of it."""
        if self._waiting.pop(number, None) is not None:
            self._write({"id": number, "say": "cancel"})

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

    def _write(self, message: dict[str, Any]) -> None:
        if self._process is None:
            self._process = self._started()
        self._process.write(json.dumps(message).encode() + b"\n")

    def _started(self) -> QProcess:
        process = QProcess(self)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.ForwardedErrorChannel)
        process.setWorkingDirectory(str(Path(__file__).resolve().parent.parent))
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._ended)
        process.errorOccurred.connect(self._ended)
        self._buffer = b""
        process.start(self._command[0], self._command[1:])
        return process

    def _read(self) -> None:
        if self._process is None:
            return
        self._buffer += self._process.readAllStandardOutput().data()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, said: dict[str, Any]) -> None:
        waiting = self._waiting.get(said["id"])
        if waiting is None:
            return
        if "event" in said:
            waiting.heard(said["event"])
            return
        self._waiting.pop(said["id"], None)
        if "problem" in said:
            waiting.failed(Problem(said["problem"]["message"], said["problem"]["hint"]))
        else:
            waiting.done(said["answer"])

    def _ended(self) -> None:
        """The process went away by itself: whoever waits hears it, and the next request starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        waiting, self._waiting = list(self._waiting.values()), {}
        for one in waiting:
            one.failed(_GONE)
