"""The journal of a file under way: which rows of which tensors are written, so that a later run can go on there.

TARGET.snug-journal lies beside TARGET.snug-part. Every line has a checksum of its own, which the journal's random id
goes into: a torn line, or what an older file left in its place, is never taken for one. The first line says which job
and which source it is of. Then come, each a JSON array,

    ["rows", number, tensor, first, count, rows, offset, length, checksum]    written to the part before
    ["synced", number]     the rows of all lines before this number are on the disk for good
    ["lost", numbers]      the rows of these lines are not in the part after all
    ["naming"]             complete and checked: from here on the parts get their final names
    ["made", result]       it has its name, which not all other targets of the job have; what was told of it
    ["ended", result]      this one and all other targets of the job have their names; what was told of them

Rows after the last `synced` count as far as their checksum is that of what the part holds: after a kill they are there,
after a loss of power they may not be.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from core.errors import SnugError
from core.paths import expanded
from core.running.open_file import OpenFile
from core.running.output import ahead_path, lock_file, part_path, sync_folder

VERSION = 1
_SUFFIX = ".snug-journal"
_MOST_BYTES = 1 << 28


def journal_path(target: Path | str) -> Path:
    """The name of the journal of a target: beside it, with `.snug-journal` at the end."""
    target = expanded(target)
    return target.with_name(target.name + _SUFFIX)


@dataclass(frozen=True, slots=True)
class Head:
    """Whose journal it is: hashes of the job and what is known of the source, the names of its parts, and its size."""

    job: str
    source: list[dict[str, Any]]
    parts: list[str]
    tensors: int
    nbytes: int
    id: str = ""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Written:
    """Rows of a tensor of `rows` that were written: `offset` counts as if the file were one, header and all."""

    tensor: str
    first: int
    count: int
    rows: int
    offset: int
    length: int
    checksum: int


@dataclass(slots=True)
class Found:
    """What a journal tells: its rows by the numbers of their lines, and where the last good line ends."""

    head: Head | None = None
    written: dict[int, Written] = field(default_factory=dict)
    synced_before: int = 0
    is_naming: bool = False
    made: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    end: int = 0

    @property
    def synced(self) -> list[Written]:
        """Those that are on the disk for good, in order."""
        return [written for number, written in sorted(self.written.items()) if number < self.synced_before]

    @property
    def unsynced(self) -> list[Written]:
        return [written for number, written in sorted(self.written.items()) if number >= self.synced_before]


def read_journal(data: bytes) -> Found:
    """All that can be trusted in the bytes of a journal; without a head nothing can."""
    found, at = Found(), 0
    for line in data.split(b"\n")[:-1]:
        at += len(line) + 1
        values = _checked(line, found.head.id if found.head else "")
        if values is None:
            continue
        if found.head is None:
            found.head = _head_of(values)
            if found.head is None:
                return Found()
        else:
            _take(found, values)
        found.end = at
    return found


def _checked(line: bytes, id: str) -> Any:
    """The values on a line; None when its checksum is another."""
    checksum, _, text = line.partition(b" ")
    with suppress(ValueError, RecursionError):
        if len(checksum) == 8 and int(checksum, 16) == crc32(text, crc32(id.encode())):
            return json.loads(text)
    return None


def _head_of(values: Any) -> Head | None:
    try:
        head = Head(**values)
    except TypeError:
        return None
    return head if head.version == VERSION else None


def _take(found: Found, values: list[Any]) -> None:
    kind, *rest = values
    if kind == "rows":
        found.written[rest[0]] = Written(*rest[1:])
    elif kind == "synced":
        found.synced_before = max(found.synced_before, rest[0])
    elif kind == "lost":
        for number in rest[0]:
            found.written.pop(number, None)
    elif kind == "naming":
        found.is_naming = True
    elif kind == "made":
        found.made = rest[0]
    elif kind == "ended":
        found.result = rest[0]


def _line(values: Any, id: str) -> bytes:
    text = json.dumps(values, separators=(",", ":")).encode()
    return b"%08x %s\n" % (crc32(text, crc32(id.encode())), text)


class Journal:
    """A journal that is open and this process's alone. Raises OSError when it cannot be written."""

    def __init__(self, target: Path | str) -> None:
        self.path, self._ahead = journal_path(target), ahead_path(target)
        self.found = Found()
        self.count = 0  # lines of rows so far
        self._id = ""
        self._end = 0
        self._marked = 0  # where the last mark ends
        self._file = OpenFile(self.path)
        self._lock = threading.Lock()

    def open(self) -> None:
        """Takes the file for this process, new or as it was left. Raises SnugError while another job has it."""
        self._file.open()
        if not lock_file(self._file.descriptor) or not self._file.is_there():
            self.close()
            name = self.path.name.removesuffix(_SUFFIX)
            raise SnugError(f"Another job is writing {name} right now.", "Wait for it, or give another name.")
        self.found = read_journal(self._file.read(0, _MOST_BYTES))

    def begin(self, head: Head) -> None:
        """Starts anew: when this returns, nothing of what was in it before can come back."""
        self._id, self.count = secrets.token_hex(8), 0
        self._forget_ahead()
        values = {name: getattr(head, name) for name in Head.__slots__} | {"id": self._id}
        self._file.cut(0)
        self._end = 0
        self._append(_line(values, ""))
        self.sync()
        self._marked = self._end
        sync_folder(self.path.parent)

    def go_on(self, lost: Iterable[Written] = ()) -> None:
        """Continues what was found, without the rows that were `lost`."""
        assert self.found.head
        self._id = self.found.head.id
        self.count = max((*self.found.written, self.found.synced_before - 1), default=-1) + 1
        self._file.cut(self.found.end)
        self._end = self.found.end
        numbers = {written: number for number, written in self.found.written.items()}
        if gone := [numbers[written] for written in lost]:
            self._append(_line(["lost", gone], self._id))
        self.sync()
        self._marked = self._end

    def add(self, written: Written) -> None:
        """Notes rows that have been written. Safe from several threads."""
        with self._lock:
            values = [getattr(written, name) for name in Written.__slots__]
            self._append(_line(["rows", self.count, *values], self._id))
            self.count += 1

    def mark(self, count: int) -> None:
        """Notes that the rows of the first `count` lines are on the disk, and puts that there too."""
        with self._lock:
            self._append(_line(["synced", count], self._id))
            end = self._end
        self.sync()
        self._marked = end

    def forget_unsynced(self) -> None:
        """After a sync that failed, nobody knows what of the rows since the last mark has reached the disk."""
        with self._lock, suppress(OSError):
            self._file.cut(self._marked)
            self._end = self._marked
            self.sync()

    def begin_naming(self) -> None:
        """Notes that the file is complete and checked."""
        self._note(["naming"])

    def note_made(self, result: dict[str, Any]) -> None:
        """Notes that nothing is left to do for this one of several targets, whatever becomes of the others."""
        self._note(["made", result])

    def note_end(self, result: dict[str, Any]) -> None:
        """Notes that nothing is left to do, for whoever comes while the journals of several targets are removed."""
        self._note(["ended", result])

    def _note(self, values: list[Any]) -> None:
        with self._lock:
            self._append(_line(values, self._id))
        self.sync()

    def sync(self) -> None:
        self._file.sync()

    def _append(self, line: bytes) -> None:
        self._file.write(self._end, line)  # a line that found no room is written over by the next
        self._end += len(line)

    def remove(self) -> None:
        self._forget_ahead()  # first: nothing is left behind alone
        with suppress(OSError):
            if os.name == "nt":  # where no open file can be removed
                self.close()
            self.path.unlink(missing_ok=True)

    def _forget_ahead(self) -> None:
        with suppress(OSError):  # whatever is there, nothing of another source or job is taken from it
            self._ahead.unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()


def peek(target: Path | str) -> Found:
    """What the journal of a target tells, if there is one."""
    try:
        return read_journal(journal_path(target).read_bytes())
    except OSError:
        return Found()


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What an interrupted job left of a target. Bytes are those of the file to be; `when`: seconds since the epoch."""

    bytes_done: int
    bytes_total: int
    tensors_done: int
    tensors_total: int
    when: float


def leftovers(target: Path | str) -> Leftovers | None:
    """What a job to `target` left to go on with, whether or not it runs at this moment; None: nothing."""
    found = peek(target)
    if found.head is None:
        return None
    try:
        when = journal_path(target).stat().st_mtime
    except OSError:
        return None
    rows: Counter[str] = Counter()
    for written in found.written.values():
        rows[written.tensor] += written.count
    wanted = {written.tensor: written.rows for written in found.written.values()}
    done = sum(rows[name] >= count for name, count in wanted.items())
    return Leftovers(sum(w.length for w in found.written.values()), found.head.nbytes, done, found.head.tensors, when)


def throw_away(target: Path | str) -> None:
    """Removes what an interrupted job left of a target. Raises SnugError while a job is writing it."""
    journal = Journal(target)
    names = {part_path(target).name}
    if journal.path.is_file():
        with suppress(OSError):
            journal.open()
    try:
        if journal.found.head:
            names.update(part_path(name).name for name in journal.found.head.parts if name == Path(name).name)
        for name in names:
            with suppress(OSError):
                journal.path.with_name(name).unlink(missing_ok=True)
        journal.remove()
    finally:
        journal.close()
