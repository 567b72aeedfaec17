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
from core.paths import expanded

RESERVE_BYTES = 1 << 20
# Windows renames and removes no open file. Elsewhere the lock is kept until the name has changed, so that nobody takes
# a finished file for an unfinished one.
_CLOSES_FIRST = os.name == "nt"
_NO_PREALLOCATION = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def part_path(target: Path | str) -> Path:
    """The name of an unfinished target: beside it, with `.snug-part` at the end."""
    target = expanded(target)
    return target.with_name(target.name + ".snug-part")


def check_target(target: Path, file_bytes: int, *, sources: Sequence[Path], overwrite: bool) -> None:
    """Raises SnugError when `target` cannot be written: folder, permission, name, space."""
    try:
        target, part = expanded(target), part_path(target)
        _check_place(target, part)
        _check_names(target, part, sources=sources, overwrite=overwrite)
        check_space(target.parent, file_bytes, left_over=part)
    except OSError as error:
        raise SnugError(
            f"{target} is no place for a file: {error.strerror}.", "Give another name or folder."
        ) from error


def _check_place(target: Path, part: Path) -> None:
    folder = target.parent
    if not folder.is_dir():
        raise SnugError(f"The folder {folder} does not exist.", "Create it, or choose another place for the file.")
    if target.is_dir():
        raise SnugError(
            f"{target} is a folder, not a file name.", f"Give a file name, such as {target / 'model.gguf'}."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SnugError(f"The folder {folder} may not be written to.", "Choose a folder of your own for the file.")
    odd = next((path for path in (target, part) if path.exists() and not path.is_file()), None)
    if odd is not None:
        raise SnugError(f"{odd} is no ordinary file, so nothing can take its place.", "Give another name.")


def _check_names(target: Path, part: Path, *, sources: Sequence[Path], overwrite: bool) -> None:
    if any(_is_same(source, target) for source in sources):
        raise SnugError(f"{target} is the source itself.", "Give the new file another name.")
    if any(_is_same(source, part) for source in sources):
        raise SnugError(
            f"The source {part} has the name that the unfinished {target.name} would have.",
            "Rename the source, or give the new file another name.",
        )
    if os.path.lexists(target) and not overwrite:
        raise SnugError(f"{target} exists already.", "Give another name, or allow it to be replaced: --overwrite.")


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


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
        self.target = expanded(target)
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
        if not _lock_file(self.descriptor) or not self._is_ours():
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

    def _is_ours(self) -> bool:
        """False when another job finished between our opening and locking: the file has its final name by now."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

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
            if _CLOSES_FIRST:
                self._close()
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
        if _CLOSES_FIRST:
            self._close()
        if kind is not None:
            with contextlib.suppress(OSError):  # what went wrong before is what must be said
                self.path.unlink(missing_ok=True)
        self._close()


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
