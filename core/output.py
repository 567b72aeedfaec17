"""Writing a file that has its final name only when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from core.errors import JobFailed, SnugError

RESERVE_BYTES = 1 << 20
_NO_PREALLOCATION = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def part_path(target: Path | str) -> Path:
    """The name of an unfinished target: beside it, with `.part` at the end."""
    target = Path(target).expanduser()
    return target.with_name(target.name + ".part")


def check_target(target: Path, file_bytes: int, *, sources: Sequence[Path], overwrite: bool) -> None:
    """Raises SnugError when `target` cannot be written: folder, permission, name, space."""
    target = target.expanduser()
    folder = target.parent
    if not folder.is_dir():
        raise SnugError(f"The folder {folder} does not exist.", "Create it, or choose another place for the file.")
    if target.is_dir():
        raise SnugError(
            f"{target} is a folder, not a file name.", f"Give a file name, such as {target / 'model.gguf'}."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SnugError(f"The folder {folder} may not be written to.", "Choose a folder of your own for the file.")
    if any(source.exists() and target.exists() and source.samefile(target) for source in sources):
        raise SnugError(f"{target} is the source itself.", "Give the new file another name.")
    if target.exists() and not overwrite:
        raise SnugError(f"{target} exists already.", "Give another name, or allow it to be replaced: --overwrite.")
    check_space(folder, file_bytes, left_over=part_path(target))


def check_space(folder: Path, file_bytes: int, *, left_over: Path) -> None:
    """Raises SnugError, with the arithmetic, when `folder` has no room for a file of that size.

    What an interrupted job left under the name `left_over` will be overwritten, so its bytes count as free.
    """
    free = shutil.disk_usage(folder).free + (left_over.stat().st_size if left_over.is_file() else 0)
    missing = file_bytes + RESERVE_BYTES - free
    if missing > 0:
        raise SnugError(
            f"The disk is too small: the file needs {_gb(file_bytes)}, {folder} has {_gb(free)} free, "
            f"{_gb(missing)} are missing.",
            "Free some space, choose another disk, or take a smaller level.",
        )


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**7 else f"{count:,} bytes"


class PartFile:
    """An unfinished target. Its room on the disk is taken at the start; leaving without finish() removes it."""

    def __init__(self, target: Path, length: int, *, overwrite: bool) -> None:
        self.target = target.expanduser()
        self.path = part_path(target)
        self.length = length
        self.overwrite = overwrite
        self.descriptor = -1
        self._lock = threading.Lock()

    def __enter__(self) -> PartFile:
        with _in_words(self.target):
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            try:
                self._take()
            except BaseException:
                self._close()
                raise
        return self

    def _take(self) -> None:
        """Claims the file for this process and its bytes on the disk."""
        if not _lock_file(self.descriptor):
            raise SnugError(f"Another job is writing {self.target} right now.", "Wait for it, or give another name.")
        os.ftruncate(self.descriptor, 0)
        try:
            os.posix_fallocate(self.descriptor, 0, self.length)
        except AttributeError:
            os.ftruncate(self.descriptor, self.length)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                self.path.unlink(missing_ok=True)
                raise
            os.ftruncate(self.descriptor, self.length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes `data` at `offset`, whole. Safe from several threads."""
        view = memoryview(data).cast("B")
        with _in_words(self.target):
            while view:
                count = self._write_once(offset, view)
                offset, view = offset + count, view[count:]

    def _write_once(self, offset: int, view: memoryview) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self.descriptor, view, offset)
        with self._lock:  # Windows has no positioned write
            os.lseek(self.descriptor, offset, os.SEEK_SET)
            return os.write(self.descriptor, view)

    def sync(self) -> None:
        """Returns when the bytes are on the disk."""
        with _in_words(self.target):
            os.fsync(self.descriptor)

    def finish(self) -> None:
        """Gives the file its final name. A target that appeared meanwhile is kept unless overwriting was allowed."""
        with _in_words(self.target):
            self._close()  # Windows renames no open file
            if self.overwrite:
                os.replace(self.path, self.target)
            else:
                self._rename_to_new()
            _sync_folder(self.target.parent)

    def _rename_to_new(self) -> None:
        try:
            os.link(self.path, self.target)
        except FileExistsError:
            raise JobFailed(
                f"{self.target} appeared while the job was running; it was left as it is.",
                "Start again with another name.",
            ) from None
        except OSError:  # a file system without hard links
            if self.target.exists():
                raise
            os.rename(self.path, self.target)
        else:
            self.path.unlink()

    def _close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if kind is not None:
            self.path.unlink(missing_ok=True)


def _lock_file(descriptor: int) -> bool:
    """False when another process holds the file. The lock goes with the descriptor, however the process ends."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system can open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _in_words(target: Path) -> Iterator[None]:
    """Turns the system's errors while writing into sentences."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise JobFailed(
                f"The disk filled up while writing {target}.",
                "Free some space or choose another disk, then start again.",
            ) from error
        raise JobFailed(
            f"{target} cannot be written: {error.strerror or error}.",
            "Check the disk and its permissions, then start again.",
        ) from error
