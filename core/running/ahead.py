"""What has come from the Hub for rows that are not in the journal yet, kept beside it: a kill costs none of that.

TARGET.snug-ahead is cut into cells of 128 KiB. The head of each says of which file of which commit its bytes are and
where in that they begin, and has the checksum of all this. A cell is written over as soon as its rows are in the
journal: the file is as large as what was on its way at once, some tens of MB whatever the model, and most of what is
written to it has been replaced before the system puts it on the disk, which nobody asks for. While the new file is
checked, the rows of the source that are looked at stay in it to the end.

No byte of the result depends on it: what is torn or of another source is fetched again, and where there is no room to
spare, nothing is kept. It goes when the journal goes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt

from core.running.checksum import checksum
from core.running.open_file import OpenFile
from core.running.slabs import gaps

CELL_BYTES = 1 << 17
MOST_BYTES = 512 << 20
SPARED_BYTES = 32 << 20  # of the disk: the journal needs room more than this does
_HEAD = struct.Struct("<16sQII")  # whose, the first byte's place in that file, how many, checksum
_STEP = _HEAD.size + CELL_BYTES

Bytes = npt.NDArray[np.uint8]


@dataclass(slots=True, eq=False)
class Cell:
    """Bytes `start` on of a file. `left`: how many of them are not in the journal, for all that is known."""

    number: int
    file: str
    start: int
    length: int
    left: int

    @property
    def bytes(self) -> range:
        return range(self.start, self.start + self.length)


Taken = tuple[Cell, int]


class Ahead:
    """The file, open; safe for several threads. `source` and a name among `files` tell whose bytes are good."""

    def __init__(self, path: Path, source: str, files: Iterable[str]) -> None:
        self._keys = {name: hashlib.sha256(f"{source}\n{name}".encode()).digest()[:16] for name in files}
        self._file = OpenFile(path, getattr(os, "O_NOFOLLOW", 0))
        self._lock = threading.Lock()
        self._found: list[Cell] = []  # of an earlier run
        self._free: list[int] = []
        self._cells = 0
        self._is_off = False
        with self._or_off():
            self._open()

    def _open(self) -> None:
        with suppress(FileNotFoundError):
            found = os.lstat(self._file.path)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # whoever put it there: it is not written to
                os.unlink(self._file.path)
        self._cells = ceil(os.fstat(self._file.open()).st_size / _STEP)
        names = {key: name for name, key in self._keys.items()}
        for number in range(self._cells):
            head = self._file.read(number * _STEP, _HEAD.size).ljust(_HEAD.size, b"\0")
            key, start, length, _ = _HEAD.unpack(head)
            if key in names and 0 < length <= CELL_BYTES:
                self._found.append(Cell(number, names[key], start, length, length))
            else:
                self._free.append(number)

    def fill(self, file: str, start: int, buffer: Bytes) -> tuple[list[range], list[Taken]]:
        """Puts into `buffer`, bytes `start` on of a file, those of them that are kept: what is still to be fetched,
        and what was used, to be settled when it is in the journal.
        """
        wanted = range(start, start + len(buffer))
        with self._lock:
            found = [cell for cell in self._found if cell.file == file and _common(cell.bytes, wanted)]
        taken: list[Taken] = []
        for cell in found:
            same = _common(cell.bytes, wanted)
            if data := self._read(cell):
                piece = data[same.start - cell.start : same.stop - cell.start]
                buffer[same.start - start : same.stop - start] = np.frombuffer(piece, np.uint8)
                taken.append((cell, len(same)))
        return list(gaps(wanted, (cell.bytes for cell, _ in taken))), taken

    def _read(self, cell: Cell) -> bytes:
        """Its bytes; none when they are not what its head said."""
        with self._or_off():
            both = self._file.read(cell.number * _STEP, _HEAD.size + cell.length)
            data = both[_HEAD.size :]
            if len(data) == cell.length and both[: _HEAD.size] == self._head(cell, data):
                return data
        return b""

    def keep(self, file: str, start: int, data: Bytes) -> list[Taken]:
        """Keeps up to CELL_BYTES of a file; what is to be settled when they are in the journal."""
        if (number := self._place()) is None:
            return []
        cell = Cell(number, file, start, len(data), len(data))
        with self._or_off():
            self._file.write(number * _STEP + _HEAD.size, data.data)
            self._file.write(number * _STEP, self._head(cell, data.data))
        return [(cell, cell.length)]

    def settle(self, taken: Iterable[Taken]) -> None:
        """These bytes are in the journal: their place is free as soon as that is so of whole cells."""
        over: list[Cell] = []
        with self._lock:
            for cell, count in taken:
                if cell.left > 0 >= cell.left - count:
                    over.append(cell)
                cell.left -= count
            self._found = [cell for cell in self._found if cell.left > 0]  # before any of them is given away
        for cell in over:
            with self._or_off():
                self._file.write(cell.number * _STEP, bytes(_HEAD.size))
        with self._lock:
            self._free += [cell.number for cell in over]

    def close(self) -> None:
        self._is_off = True
        self._file.close()

    def _place(self) -> int | None:
        """The number of a cell to write; the oldest of an earlier run before there are too many."""
        with self._lock:
            if self._is_off:
                return None
            if self._free:
                return self._free.pop()
            if (self._cells + 1) * _STEP > MOST_BYTES:
                if not self._found:
                    return None
                oldest = self._found.pop(0)
                oldest.left = 0  # whoever uses it at this moment frees it no more
                return oldest.number
            with self._or_off():
                if shutil.disk_usage(self._file.path.parent).free > SPARED_BYTES:
                    self._cells += 1
                    return self._cells - 1
            return None

    def _head(self, cell: Cell, data: bytes | memoryview) -> bytes:
        key = self._keys[cell.file]
        said = _HEAD.pack(key, cell.start, cell.length, 0)
        return _HEAD.pack(key, cell.start, cell.length, crc32(said, checksum(data)))

    @contextmanager
    def _or_off(self) -> Iterator[None]:
        """Where the disk fails, does without from then on."""
        try:
            yield
        except OSError:
            self._is_off = True


def _common(one: range, other: range) -> range:
    return range(max(one.start, other.start), min(one.stop, other.stop))
