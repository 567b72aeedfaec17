"""One worker process: a job goes in as a JSON line, events come out as JSON lines, and every ending gets a name."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from core import Event, Failed, JobFolder, QuantizeJob, from_json, job_line

PATIENCE_MS = 600
_SIGKILL = 9
_VMSTAT = Path("/proc/vmstat")


def worker_command() -> list[str]:
    """How this program starts itself as a worker, from source and frozen alike."""
    return (
        [sys.executable, "worker"] if getattr(sys, "frozen", False) else [sys.executable, "-u", "-m", "app", "worker"]
    )


def killed_for_memory() -> int:
    """How many processes the kernel has killed for lack of memory since it started; 0 where it does not say."""
    try:
        lines = _VMSTAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def ending(*, crashed: bool, code: int, memory_kills: int) -> Failed:
    """What to say of a worker that went away without a result; `code` is the signal when it `crashed`."""
    if crashed and code == _SIGKILL and memory_kills > 0:
        return Failed(
            "The computer ran out of memory, and the system stopped the worker.",
            "Close other programs, or choose fewer threads, and retry.",
        )
    if crashed:
        return Failed(
            f"The worker crashed (signal {code}).",
            "Your other files are untouched. The log of the job may say more; retry starts it again.",
        )
    return Failed(
        f"The worker stopped without a result (exit code {code}).", "The log of the job says what it last did."
    )


class WorkerProcess(QObject):
    """Runs one job: `heard` for each event, then `ended` once, with a Failed for a worker that never said how."""

    heard = Signal(object)
    ended = Signal(object)

    def __init__(self, folder: JobFolder, *, command: Sequence[str] = (), parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._command = list(command) or worker_command()
        self._buffer = b""
        self._memory_kills = killed_for_memory()
        self._over = False
        self._process = QProcess(self)
        self._process.setStandardErrorFile(str(folder.log), QProcess.OpenModeFlag.Append)
        self._process.setWorkingDirectory(str(Path(__file__).resolve().parent.parent))
        self._process.readyReadStandardOutput.connect(self._read)
        self._process.finished.connect(self._finished)
        self._process.errorOccurred.connect(self._error)
        self._killer = QTimer(self, singleShot=True, interval=PATIENCE_MS)
        self._killer.timeout.connect(self._process.kill)

    @property
    def pid(self) -> int:
        return self._process.processId()

    def start(self, job: QuantizeJob) -> None:
        self._process.start(self._command[0], self._command[1:])
        self._process.write(job_line(job))

    def stop(self) -> None:
        """Asks it to end, and makes it end soon after. Returns at once."""
        self._process.terminate()
        self._killer.start()

    def stop_now(self) -> None:
        """Ends it before returning: for the moment the window closes."""
        self._process.terminate()
        if not self._process.waitForFinished(PATIENCE_MS):
            self._process.kill()
            self._process.waitForFinished(PATIENCE_MS)

    def _read(self) -> None:
        self._buffer += self._process.readAllStandardOutput().data()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            if (event := _parse(line)) is not None:
                self.heard.emit(event)

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        kills = killed_for_memory() - self._memory_kills
        self._end(ending(crashed=status == QProcess.ExitStatus.CrashExit, code=code, memory_kills=kills))

    def _error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._end(Failed("The worker could not be started.", self._process.errorString()))

    def _end(self, failure: Failed) -> None:
        self._killer.stop()
        if not self._over:
            self._over = True
            self.ended.emit(failure)


def _parse(line: bytes) -> Event | None:
    """The event on a line; None for a line that is none, which is never worth a job."""
    try:
        return from_json(json.loads(line))
    except (ValueError, TypeError, AttributeError):
        return None
