"""A lock on a file: held by one process at a time, gone with that process however it ends."""

from __future__ import annotations

import os
from pathlib import Path

_FAR = 1 << 30  # Windows locks bytes against reading too: one that no content reaches
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Lock:
    """A lock that is held. Its file may carry a few bytes that say who holds it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    def write(self, content: bytes) -> None:
        """What the file says from now on. Raises OSError."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, content)
        os.ftruncate(self._descriptor, len(content))

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def take_lock(path: Path) -> Lock | None:
    """The lock, or None while somebody holds it, in this process or another. Raises OSError when there can be none."""
    descriptor = os.open(path, _FLAGS, 0o666)
    try:
        if locked(descriptor):
            return Lock(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock now; False where there is no such file."""
    if not path.is_file():
        return False
    try:
        lock = take_lock(path)
    except OSError:
        return False
    if lock is None:
        return True
    lock.release()
    return False


def locked(descriptor: int) -> bool:
    """Locks the open file; False while another one has it locked."""
    try:
        import fcntl
    except ImportError:
        return _locked_on_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_on_windows(descriptor: int) -> bool:
    import msvcrt

    os.lseek(descriptor, _FAR, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True
