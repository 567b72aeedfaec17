"""One worker process: a job goes in as a JSON line, events come out as JSON lines, and every ending gets a name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from app.desk_process import desk_command
from core import (
    DETACH,
    Assignment,
    Event,
    Failed,
    Progress,
    Stop,
    assignment_line,
    from_json,
    memory_kills,
    order_line,
    stop_order,
    worker_ended,
)

PATIENCE_MS = {Stop.THROW_AWAY: 600, Stop.KEEP: 5000, Stop.PAUSE: 5000}


def worker_command() -> list[str]:
    """How this program starts itself as a worker, from source and frozen alike."""
    return desk_command("worker")


class WorkerProcess(QObject):
    """Runs one job: `heard` for each event, then `ended` once, with a Failed for a worker that never said how.

    The signals carry the id of the job.
    """

    heard = Signal(str, object)
    ended = Signal(str, object)

    def __init__(self, task: Assignment, *, command: Sequence[str] = (), parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._task, self._id = task, task.folder.id if task.folder else ""
        self._command = list(command) or worker_command()
        self._buffer = b""
        self._memory_kills = memory_kills()
        self._over = self._has_begun = False
        self._process = QProcess(self)
        if task.folder is not None:
            self._process.setStandardErrorFile(str(task.folder.log), QProcess.OpenModeFlag.Append)
        self._process.setWorkingDirectory(str(Path(__file__).resolve().parent.parent))
        self._process.readyReadStandardOutput.connect(self._read)
        self._process.finished.connect(self._finished)
        self._process.errorOccurred.connect(self._error)
        self._killer = QTimer(self, singleShot=True)
        self._killer.timeout.connect(self._process.kill)

    @property
    def pid(self) -> int:
        return self._process.processId()

    def start(self) -> None:
        self._process.start(self._command[0], self._command[1:])
        self._process.write(assignment_line(self._task))

    def order(self, order: dict[str, Any]) -> None:
        """Says something to it. Returns at once."""
        self._process.write(order_line(order))

    def stop(self, stop: Stop) -> None:
        """Asks it to end, and makes it end soon after. Returns at once.

        One that still starts would not hear for seconds, and has written nothing yet: it is ended without being asked.
        """
        if not self._has_begun:
            self._process.kill()
            return
        self.order(stop_order(stop))
        self._killer.start(PATIENCE_MS[stop])

    def wait(self, milliseconds: int) -> None:
        """Until it has ended by itself, or it is made to: for the moment the window closes."""
        self._killer.stop()
        if self._process.state() != QProcess.ProcessState.NotRunning and not self._process.waitForFinished(
            milliseconds
        ):
            self._process.kill()
            self._process.waitForFinished(1000)

    def detach(self) -> bool:
        """Lets it work on when this process ends; nothing more is heard of it. False when it is not there any more."""
        process = self._process
        if not process.waitForStarted() and process.state() != QProcess.ProcessState.Running:
            return False
        self.blockSignals(True)
        process.blockSignals(True)
        self.order(DETACH)
        while process.bytesToWrite() and process.waitForBytesWritten(1000):
            pass
        # Qt kills the child of a QProcess that is destroyed, if it knows of one.
        process.setProcessState(QProcess.ProcessState.NotRunning)
        return True

    def _read(self) -> None:
        self._buffer += self._process.readAllStandardOutput().data()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            if (event := _parse(line)) is not None:
                self._has_begun = self._has_begun or isinstance(event, Progress)
                self.heard.emit(self._id, event)

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        kills = memory_kills() - self._memory_kills
        self._end(worker_ended(crashed=status == QProcess.ExitStatus.CrashExit, code=code, memory_kills=kills))

    def _error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._end(Failed("The worker could not be started.", self._process.errorString()))

    def _end(self, failure: Failed) -> None:
        self._killer.stop()
        if not self._over:
            self._over = True
            self.ended.emit(self._id, failure)


def _parse(line: bytes) -> Event | None:
    """The event on a line; None for a line that is none, which is never worth a job."""
    try:
        return from_json(json.loads(line))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
