"""What other windows do in the folder of the jobs, and which window is the first."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from app.job_record import JobRecord, read_record
from core import JobFolder, Lock, take_lock

MOST_NEW = 20  # folders that are read in one look
_SPOILED = (OSError, ValueError, TypeError, RecursionError)


class FirstWindow:
    """Of all windows on a folder, the one that runs the jobs: it holds a lock, which goes with it however it ends."""

    def __init__(self, root: Path) -> None:
        self._path = root / "window"
        self._lock: Lock | None = None
        self.is_me = self.try_again()

    def try_again(self) -> bool:
        """Whether this window is the first one now."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._lock or take_lock(self._path)
            if self._lock is not None:
                self._lock.write(str(os.getpid()).encode())
        except OSError:  # where nothing can be locked, nobody else can be there
            self.is_me = True
            return True
        self.is_me = self._lock is not None
        return self.is_me

    def pid(self) -> int:
        """The process of the first window; 0 where it is not known."""
        with suppress(OSError, ValueError):
            return int(self._path.read_text(encoding="ascii"))
        return 0

    def leave(self) -> None:
        if self._lock is not None:
            self._lock.release()


class JobWatch:
    """Finds jobs that were put into the folder, and what became of those that this window has no part in."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._spoiled: set[str] = set()

    def new_ones(self, known: Collection[str]) -> list[JobRecord]:
        """Some of the jobs that are in the folder and not `known`; those that cannot be read are passed over."""
        try:
            names = sorted(set(os.listdir(self._root)).difference(known, self._spoiled))
        except OSError:
            return []
        found: list[JobRecord] = []
        for name in names:
            folder = JobFolder(self._root / name)
            if len(found) < MOST_NEW and (folder.path / "job.json").is_file():
                try:
                    found.append(read_record(folder))
                except _SPOILED:
                    self._spoiled.add(name)
        return found


def read_again(before: JobRecord) -> JobRecord | None:
    """The job as its folder tells of it now; None where nothing has changed."""
    try:
        size = (before.folder.path / "events.jsonl").stat().st_size
    except OSError:
        size = 0
    if size == before.read and before.folder.owner() is None:
        return None
    try:
        record = read_record(before.folder)
    except _SPOILED:
        return None
    return None if record.owner is None and record.read == before.read else record
