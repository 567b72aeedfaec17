"""A job's work on the disk as one thing: the parts of its file, the journal of what is in them, and what keeps both.

The order that nothing may change: rows are written to a part; then their line to the journal. A thread of its own puts
the parts on the disk, and after that the mark that says so: nobody who encodes waits for a disk.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import kernels
from core.errors import Cancelled, SnugError
from core.plan import Plan, PlannedTensor
from core.running.checksum import checksum
from core.running.control import Control, Stop
from core.running.journal import Found, Head, Journal, Written
from core.running.output import RESERVE_BYTES, DiskFull, in_words, part_path, sync_folder
from core.running.saver import Saver
from core.running.split import PlannedPart, SplitFile

RETRY_SECONDS = 1.0
CHECKED_BYTES = 64 << 20  # of what is on the disk for good, so much is looked at again before a job goes on
_PIECE = 8 << 20
_KEPT = (Stop.PAUSE, Stop.KEEP)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job writes: its target as it was named, and the parts of the planned file."""

    target: Path
    plan: Plan
    parts: Sequence[PlannedPart]
    overwrite: bool


class Unfinished:
    """The work. Leaving it removes everything, unless the job is complete or can go on later: then it `is_kept`.

    `waits`: whether a full disk is waited for; without, DiskFull is raised.
    """

    def __init__(self, place: Place, head: Head, control: Control, *, waits: bool = False) -> None:
        self.place, self.head = place, head
        self.file = SplitFile(place.plan, place.parts, overwrite=place.overwrite)
        self.journal = Journal(place.target)
        self.planned = {planned.name: planned for planned in place.plan.tensors}
        self.done: list[Written] = []
        self.is_kept = False
        self._is_ours = self._is_named = self._resumes = False
        self._control, self._waits = control, waits
        self._without_room: set[int] = set()
        self._saver = Saver(self.file, self.journal)

    def __enter__(self) -> Unfinished:
        return self

    def begin(self, *, resume: bool) -> None:
        """Takes the files: new, or with `resume` as they were left, if they are of this job; `done` is what they hold.

        Raises SnugError when they are not to be had.
        """
        with in_words(self.place.target):
            self.journal.open()
            found = self.journal.found
            self._resumes = resume and is_of(found, self.head) and are_whole(self.place.parts)
            if not self._resumes:
                self._is_ours = True
                self.journal.begin(self.head)
            self.file.begin(resume=self._resumes)
            self._is_ours = True
            sync_folder(self.place.parts[0].path.parent)
            if self._resumes:
                lost = set(self._lost_rows())
                self.journal.go_on(lost)
                self.done = [written for written in found.written.values() if written not in lost]
        self._saver.start()

    def done_rows(self) -> dict[str, list[range]]:
        """What was done before, by tensor."""
        rows: dict[str, list[range]] = {}
        for written in self.done:
            rows.setdefault(written.tensor, []).append(range(written.first, written.first + written.count))
        return rows

    def put(self, planned: PlannedTensor, first: int, count: int, data: memoryview) -> None:
        """Writes `count` encoded rows, from `first` on, and notes them. Safe from several threads."""
        written = self._written(planned, first, count, checksum(data))
        self._patiently(lambda: self.file.write(written.offset, data))
        self._patiently(lambda: self._note(written))

    def _lost_rows(self) -> Iterator[Written]:
        """Of what the journal tells, that which the parts do not hold.

        Looked at is what is not marked as synced, and the last of the rest; if that is not as it should be, all.
        """
        synced = self.journal.found.synced
        sure, seen = len(synced), 0
        while sure and seen < CHECKED_BYTES:
            sure -= 1
            seen += synced[sure].length
        last = [written for written in synced[sure:] if not self._is_there(written)]
        yield from last
        for written in [*self.journal.found.unsynced, *(synced[:sure] if last else ())]:
            if not self._is_there(written):
                yield written

    def _is_there(self, written: Written) -> bool:
        """Whether the parts hold these rows. Raises Cancelled when the job is to end meanwhile."""
        if self._control.is_stopped():
            raise Cancelled
        planned = self.planned.get(written.tensor)
        if planned is None or written != self._written(planned, written.first, written.count, written.checksum):
            return False
        return checksum(self.file.read(written.offset, written.length)) == written.checksum

    def _written(self, planned: PlannedTensor, first: int, count: int, checksum: int) -> Written:
        tensor = planned.tensor
        each = kernels.FORMATS[planned.format].row_bytes(tensor.columns)
        offset = self.place.plan.header_bytes + planned.offset + first * each
        return Written(planned.name, first, count, tensor.rows, offset, count * each, checksum)

    def _note(self, written: Written) -> None:
        with in_words(self.place.target):
            self.journal.add(written)

    def _patiently(self, work: Callable[[], None]) -> None:
        """Does it; while the disk is full, again and again. Raises Cancelled when the job is to end meanwhile."""
        me = threading.get_ident()
        try:
            while True:
                try:
                    return work()
                except DiskFull:
                    if not self._waits:
                        raise
                    self._without_room.add(me)
                    if self._control.wait(RETRY_SECONDS):
                        raise Cancelled from None
        finally:
            self._without_room.discard(me)

    @property
    def is_without_room(self) -> bool:
        """Whether somebody waits for room on its disk now."""
        return bool(self._without_room) or self._saver.is_without_room

    def bytes_left(self) -> int:
        """Bytes that its parts will still take of their disk. Raises OSError."""
        files = [part_path(part.path).stat() for part in self.place.parts]
        taken = sum(min(found.st_size, getattr(found, "st_blocks", 0) * 512) for found in files)
        return sum(part.file_bytes for part in self.place.parts) - taken

    def check(self) -> None:
        """Raises what went wrong while the work was put on the disk."""
        self._saver.check()

    def is_saved(self) -> bool:
        """Whether all that was put is on the disk by now; hurries if not. Raises what went wrong."""
        return self._saver.is_done()

    def finish(self) -> None:
        """Gives the complete and checked file its final name; whatever happens meanwhile, a resume ends well."""
        with in_words(self.place.target):
            self._saver.stop()
            self.journal.begin_naming()
            self.file.finish()
        self._is_named = True

    def note_made(self, result: dict[str, Any]) -> None:
        """Notes what this target has come to, while others of the job are not so far."""
        with suppress(OSError):  # the file is good all the same
            self.journal.note_made(result)

    def note_end(self, result: dict[str, Any]) -> None:
        """Notes what the whole job has come to, while this journal is still there."""
        with suppress(OSError):  # the files are good all the same
            self.journal.note_end(result)

    def forget(self) -> None:
        """Removes the journal: all is done, and there is nothing left to go on with."""
        self.journal.remove()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._saver.stop()
        if self._is_ours and not self._is_named:
            self.is_kept = self.file.keep = self._is_worth_keeping(error)
            if not self.is_kept:
                self.journal.remove()
        self.file.__exit__(kind, error, trace)
        self.journal.close()

    def _is_worth_keeping(self, error: BaseException | None) -> bool:
        if not self.journal.count and not (self._resumes and self.journal.found.written):
            return False  # there is nothing to keep
        if isinstance(error, SnugError):
            return error.resumable
        return (isinstance(error, Exception) and not isinstance(error, Cancelled)) or self._control.stop in _KEPT


def missing_room(works: Sequence[Unfinished]) -> int:
    """Bytes that disks lack for the rest of all the files on them, if somebody waits for them now; else 0."""
    folders = {work: work.place.parts[0].path.parent for work in works}
    with suppress(OSError):
        full = {folders[work].stat().st_dev: folders[work] for work in works if work.is_without_room}
        left = dict.fromkeys(full, RESERVE_BYTES)
        for work in works if full else ():
            if (device := folders[work].stat().st_dev) in left:
                left[device] += work.bytes_left()
        return sum(max(1, left[device] - shutil.disk_usage(full[device]).free) for device in full)
    return 1


def is_of(found: Found, head: Head) -> bool:
    """Whether a journal is of the same job on the same source."""
    return found.head is not None and (found.head.job, found.head.source) == (head.job, head.source)


def are_whole(parts: Iterable[PlannedPart]) -> bool:
    """Whether all unfinished parts are there, in full length."""
    try:
        return all(part_path(part.path).stat().st_size == part.file_bytes for part in parts)
    except OSError:
        return False
