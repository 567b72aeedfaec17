"""Putting a file under way on the disk while it is written, in a thread of its own, and noting how far that is."""

from __future__ import annotations

import threading

from core.errors import SnugError
from core.running.journal import Journal
from core.running.output import DiskFull, in_words
from core.running.split import SplitFile

SYNC_SECONDS = 1.0
STOP_SECONDS = 0.2


class Saver:
    """Once a second, syncs the parts, then marks in the journal what was in them before."""

    def __init__(self, file: SplitFile, journal: Journal) -> None:
        self._file, self._journal = file, journal
        self._saved = 0
        self.is_without_room = False  # for its marks
        self._error: BaseException | None = None
        self._wake, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="saver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def check(self) -> None:
        """Raises what went wrong."""
        if self._error is not None:
            raise self._error

    def is_done(self) -> bool:
        """Whether everything is on the disk by now; does not wait for the second to pass."""
        self.check()
        self._wake.set()
        return self._saved == self._journal.count

    def stop(self) -> None:
        """Returns within a moment, even while the disk takes its time; then the thread ends when that is over."""
        self._end.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        try:
            while not self._end.is_set() and self._error is None:
                self._wake.wait(SYNC_SECONDS)
                self._wake.clear()
                if not self._end.is_set():
                    self._save()
        except BaseException as error:  # whoever waits for this thread must know
            self._error = error

    def _save(self) -> None:
        count = self._journal.count
        if count == self._saved:
            return
        try:
            self._file.sync()
        except SnugError as error:
            self._journal.forget_unsynced()
            self._error = error
            return
        try:
            with in_words(self._journal.path):
                self._journal.mark(count)
            self._file.check_there()
            self._saved, self.is_without_room = count, False
        except DiskFull:
            self.is_without_room = True  # next time
        except SnugError as error:
            self._error = error
