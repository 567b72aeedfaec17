"""A file that several threads use at once, and that nobody closes under their hands."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class OpenFile:
    """A file for reading and writing at any place, opened with `flags` too. Every method raises OSError when the system
    does.
    """

    def __init__(self, path: Path, flags: int = 0) -> None:
        self.path, self._flags = path, _FLAGS | flags
        self.descriptor = -1
        self._users = 0
        self._is_over = False
        self._lock = threading.Lock()
        self._place = threading.Lock()

    def open(self) -> int:
        """Opens it, new if it is not there; gives the descriptor."""
        self.descriptor = os.open(self.path, self._flags | os.O_CREAT, 0o666)
        self._is_over = False
        return self.descriptor

    @contextmanager
    def use(self) -> Iterator[int]:
        """The descriptor, open for so long."""
        with self._lock:
            if self._is_over:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            if self.descriptor < 0:
                self.descriptor = os.open(self.path, self._flags)
            self._users += 1
            descriptor = self.descriptor
        try:
            yield descriptor
        finally:
            with self._lock:
                self._users -= 1
                if self._is_over:
                    self._close()

    def rest(self) -> bool:
        """Closes it until the next use, its lock gone with that; False while it is in use."""
        with self._lock:
            if self._users:
                return False
            self._close()
            return True

    def close(self) -> None:
        """Closes it for good; if it is in use, then when that ends."""
        with self._lock:
            self._is_over = True
            self._close()

    def _close(self) -> None:
        if self.descriptor >= 0 and not self._users:
            os.close(self.descriptor)
            self.descriptor = -1

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes `data` at `offset`, whole."""
        view = memoryview(data).cast("B")
        with self.use() as descriptor:
            while view:
                count = self._write_once(descriptor, offset, view)
                offset, view = offset + count, view[count:]

    def _write_once(self, descriptor: int, offset: int, view: memoryview) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(descriptor, view, offset)
        with self._place:  # Windows has no positioned write
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, view)

    def read(self, offset: int, count: int) -> bytes:
        """Bytes from `offset` on, fewer at the end."""
        pieces = []
        with self.use() as descriptor:
            while count > 0 and (piece := self._read_once(descriptor, offset, count)):
                pieces.append(piece)
                offset, count = offset + len(piece), count - len(piece)
        return b"".join(pieces)

    def _read_once(self, descriptor: int, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(descriptor, count, offset)
        with self._place:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, count)

    def cut(self, length: int) -> None:
        """Makes it that long."""
        with self.use() as descriptor:
            os.ftruncate(descriptor, length)

    def sync(self) -> None:
        """Returns when its bytes are on the disk, and what is needed to find them."""
        with self.use() as descriptor:
            sync_data(descriptor)

    def is_there(self) -> bool:
        """False when the name leads to another file by now, or to none."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def is_removed(self) -> bool:
        """Whether it has no name any more: it is gone when it is closed."""
        return os.fstat(self.descriptor).st_nlink == 0


def sync_data(descriptor: int) -> None:
    """Returns when the bytes of an open file are on the disk. Raises OSError."""
    try:
        import fcntl

        fcntl.fcntl(descriptor, getattr(fcntl, "F_FULLFSYNC"))  # noqa: B009 - a Mac's fsync stops at the disk's memory
    except (ImportError, AttributeError, OSError):
        getattr(os, "fdatasync", os.fsync)(descriptor)
