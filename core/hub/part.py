"""A file under way: bytes written wherever they come, a journal of what is there, and the hash that follows behind.

The journal is one line of JSON (what file, which boot of the machine), then a line `start end` for bytes written, and
`sync n` once the first n lines are surely on the disk. After kill -9 all lines hold; after a crash of the machine only
those that are synced. Both names end in .incomplete, as other tools of the cache expect of a file under way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import psutil

SEGMENT = 32 << 20
NOTE_BYTES = 1 << 18
SYNC_BYTES = 256 << 20
_PIECE = 1 << 20


@dataclass(slots=True)
class Segment:
    """Bytes `start` to `end` that one connection fetches; those before `at` are written, before `noted` journaled."""

    start: int
    end: int
    at: int
    noted: int


def part_files(blob: Path) -> tuple[Path, Path]:
    """The part of a file and its journal."""
    return blob.with_name(f"{blob.name}.snug.incomplete"), blob.with_name(f"{blob.name}.journal.incomplete")


def bytes_kept(blob: Path, size: int) -> int:
    """How many bytes of this file an earlier try has left."""
    part, journal = part_files(blob)
    return sum(end - start for start, end in _kept(part, journal, size, blob.name))


class Part:
    """The part of the file whose content is called `blob.name`: SHA-256, or git's SHA-1 for small files."""

    def __init__(self, blob: Path, size: int) -> None:
        self.blob, self.size = blob, size
        self.path, self._journal_path = part_files(blob)
        for own in (self.path, self._journal_path, _new_journal(self._journal_path)):
            if own.is_symlink():  # whoever put it there: nothing is written through it
                own.unlink()
        kept = _kept(self.path, self._journal_path, size, blob.name)
        self.segments = list(_segments(kept, size))
        self._lock = threading.Lock()
        self._file = open(self.path, "r+b" if kept else "w+b", buffering=0)  # noqa: SIM115 - it lives with the part
        self._journal = _start_journal(self._journal_path, kept, size, blob.name)
        self._lines, self._front = len(kept), 0
        self._hash = _Follower(self)

    def write(self, segment: Segment, at: int, data: bytes) -> None:
        """Puts `data` at the segment's end so far, `at`. Raises ValueError if that is elsewhere, or the part closed."""
        with self._lock:
            if at != segment.at:
                raise ValueError(f"bytes for {at} come where {segment.at} is next")
            self._file.seek(at)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            segment.at += len(data)
            if segment.at - segment.noted >= NOTE_BYTES or segment.at == segment.end:
                self._note(segment)

    def _note(self, segment: Segment) -> None:
        self._journal.write(b"%d %d\n" % (segment.noted, segment.at))
        self._lines += 1
        segment.noted = segment.at

    @property
    def done(self) -> int:
        """Bytes written."""
        return sum(segment.at - segment.start for segment in self.segments)

    @property
    def is_complete(self) -> bool:
        return all(segment.at == segment.end for segment in self.segments)

    def front(self) -> int:
        """Bytes written without a gap from the start."""
        while self._front < len(self.segments) and self.segments[self._front].at == self.segments[self._front].end:
            self._front += 1
        return self.segments[self._front].at if self._front < len(self.segments) else self.size

    def start_over(self) -> None:
        """Forgets all that is there."""
        self._hash.stop()
        with self._lock:
            self._file.truncate(0)
            self._journal.close()
            self._journal = _start_journal(self._journal_path, [], self.size, self.blob.name)
            self.segments, self._lines, self._front = list(_segments([], self.size)), 0, 0
        self._hash = _Follower(self)

    def as_one(self) -> None:
        """Starts over with a single segment, for a server that sends files only whole."""
        self.start_over()
        self.segments[:] = [Segment(0, self.size, 0, 0)] if self.size else []

    @property
    def hashed(self) -> int:
        return self._hash.hashed

    @property
    def matches(self) -> bool | None:
        """Whether the whole file is what it should be; None while that is not known. Raises OSError of the reading."""
        if self._hash.error:
            raise self._hash.error
        return self._hash.digest == self.blob.name if self._hash.digest else None

    def wait(self, seconds: float) -> None:
        """Until the hash has followed, but no longer than that."""
        self._hash.join(seconds)

    def sync(self) -> None:
        """Puts what is journaled on the disk for good."""
        with self._lock:
            lines = self._lines
        os.fsync(self._file.fileno())
        with self._lock:
            self._journal.write(b"sync %d\n" % lines)

    def close(self) -> None:
        """Journals what is there and lets go of the files: nothing is written from here on."""
        self._hash.stop()
        with self._lock:
            if self._file.closed:
                return
            try:
                for segment in self.segments:
                    if segment.at > segment.noted:
                        self._note(segment)
            finally:  # also on a disk that takes nothing any more
                self._file.close()
                self._journal.close()

    def finish(self) -> None:
        """Gives the complete and checked file its name."""
        os.fsync(self._file.fileno())
        self.close()
        os.replace(self.path, self.blob)
        self._journal_path.unlink(missing_ok=True)
        _sync_folder(self.blob.parent)


class _Follower:
    """Hashes the part behind its front in a thread of its own, so that the hash is known when the last byte comes."""

    def __init__(self, part: Part) -> None:
        self.hashed = 0
        self.digest = ""
        self.error: OSError | None = None
        self._part = part
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._follow()
        except OSError as error:
            self.error = error

    def _follow(self) -> None:
        part, synced, piece = self._part, 0, bytearray(_PIECE)
        state = hashlib.sha256() if len(part.blob.name) == 64 else hashlib.sha1(b"blob %d\0" % part.size)
        with open(part.path, "rb", buffering=0) as file:
            while self.hashed < part.size and not self._stop.is_set():
                wanted = min(part.front() - self.hashed, _PIECE)
                count = file.readinto(memoryview(piece)[:wanted]) if wanted else 0
                if not count:
                    self._stop.wait(0.01)
                    continue
                state.update(memoryview(piece)[:count])
                self.hashed += count
                if self.hashed - synced >= SYNC_BYTES:
                    synced = self.hashed
                    part.sync()
        if self.hashed == part.size:
            self.digest = state.hexdigest()


def _segments(kept: list[tuple[int, int]], size: int) -> Iterator[Segment]:
    """The whole file in order: what is there, and the gaps cut to the length of a request."""
    at = 0
    for start, end in [*kept, (size, size)]:
        while at < start:
            stop = min(start, at + SEGMENT)
            yield Segment(at, stop, at, at)
            at = stop
        if end > start:
            yield Segment(start, end, end, end)
        at = end


def _kept(part: Path, journal: Path, size: int, etag: str) -> list[tuple[int, int]]:
    """The ranges, in order and apart, that are in the part by the journal; [] when either does not tell."""
    try:
        length = part.stat().st_size
        lines = journal.read_bytes().split(b"\n")[:-1]
        head = json.loads(lines[0])
        if (head["etag"], head["size"]) != (etag, size):
            return []
        return _merged(_trusted(lines[1:], same_boot=head["boot"] == boot()), min(length, size))
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _trusted(lines: list[bytes], *, same_boot: bool) -> list[tuple[int, int]]:
    ranges, synced = [], 0
    for line in lines:
        first, second = line.split()
        if first == b"sync":
            synced = int(second)
        else:
            ranges.append((int(first), int(second)))
    return ranges if same_boot else ranges[:synced]


def _merged(ranges: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        start, end = max(start, found[-1][1] if found else 0), min(end, length)
        if end <= start:
            continue
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return found


def _new_journal(path: Path) -> Path:
    """Where a journal is written before it takes its name."""
    return path.with_name(path.name.replace(".journal.", ".journal-new."))


def _start_journal(path: Path, kept: list[tuple[int, int]], size: int, etag: str) -> FileIO:
    """A new journal of what is kept. Whatever was synced before counts as not synced until the next time."""
    head = json.dumps({"etag": etag, "size": size, "boot": boot()}).encode()
    lines = [head, *(b"%d %d" % found for found in kept), b""]
    new = _new_journal(path)
    new.write_bytes(b"\n".join(lines))
    os.replace(new, path)
    return open(path, "ab", buffering=0)


def boot() -> str:
    """A name for this run of the machine."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return str(int(psutil.boot_time()) // 16)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
