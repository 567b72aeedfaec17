"""Writing a file that has its final name only when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from core.errors import Halted, JobFailed, SnugError
from core.paths import expanded
from core.running.failures import is_full, writing_failed
from core.running.lock import locked
from core.running.open_file import OpenFile

RESERVE_BYTES = 1 << 20
# Windows renames and removes no open file. Elsewhere the lock is kept until the name has changed, so that nobody takes
# a finished file for an unfinished one.
_CLOSES_FIRST = _IS_WINDOWS = os.name == "nt"
_NO_PREALLOCATION = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def part_path(target: Path | str) -> Path:
    """The name of an unfinished target: beside it, with `.snug-part` at the end."""
    target = expanded(target)
    return target.with_name(target.name + ".snug-part")


def ahead_path(target: Path | str) -> Path:
    """The name of what has come from the Hub and is not in an unfinished target yet: with `.snug-ahead` at the end."""
    target = expanded(target)
    return target.with_name(target.name + ".snug-ahead")


def check_target(target: Path, file_bytes: int, *, sources: Sequence[Path], overwrite: bool) -> None:
    """Raises SnugError when `target` cannot be written: folder, permission, name, space."""
    try:
        target, part = expanded(target), part_path(target)
        _check_place(target, part)
        _check_names(target, part, sources=sources, overwrite=overwrite)
        check_space(target.parent, file_bytes, left_over=[part, ahead_path(target)])
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


def check_space(folder: Path, file_bytes: int, *, left_over: Sequence[Path]) -> None:
    """Raises SnugError, with the arithmetic, when `folder` has no room for a file of that size.

    What an interrupted job left under the names `left_over` will be overwritten, so its bytes count as free.
    """
    free = shutil.disk_usage(folder).free + sum(_taken(path) for path in left_over if path.is_file())
    missing = file_bytes + RESERVE_BYTES - free
    if missing > 0:
        raise SnugError(
            f"The disk is too small: the file needs {_gb(file_bytes)}, {folder} has {_gb(free)} free, "
            f"{_gb(missing)} are missing.",
            "Free some space, choose another disk, or take a smaller level.",
        )


def _taken(path: Path) -> int:
    """Bytes of the disk that a file takes, holes not counted, and none beyond its end."""
    found = path.stat()
    return min(found.st_size, getattr(found, "st_blocks", found.st_size) * 512)


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**7 else f"{count:,} bytes"


class DiskFull(Halted):
    """There is no room for the next bytes."""


class PartFile:
    """An unfinished target. Its room on the disk is taken at the start; leaving without finish() removes it, unless it
    is to be kept.

    With `is_resumed`, what is there already stays if it has the right length; else that becomes False.
    """

    def __init__(self, target: Path, length: int, *, overwrite: bool) -> None:
        self.target = expanded(target)
        self.path = part_path(target)
        self.length = length
        self.overwrite = overwrite
        self.keep = False
        self.is_resumed = False
        self._file = OpenFile(self.path)

    def __enter__(self) -> PartFile:
        with in_words(self.target):
            self._file.open()
            try:
                self._take()
            except BaseException:
                self._file.close()
                raise
        return self

    def _take(self) -> None:
        """Claims the file for this process and its bytes on the disk."""
        descriptor = self._file.descriptor
        if not self._is_ours():
            raise SnugError(f"Another job is writing {self.target} right now.", "Wait for it, or give another name.")
        self.is_resumed = self.is_resumed and os.fstat(descriptor).st_size == self.length
        if self.is_resumed:
            return
        os.ftruncate(descriptor, 0)
        try:
            os.posix_fallocate(descriptor, 0, self.length)
        except AttributeError:
            os.ftruncate(descriptor, self.length)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                self.path.unlink(missing_ok=True)
                raise
            os.ftruncate(descriptor, self.length)

    def _is_ours(self) -> bool:
        """On Windows a lock would keep others from reading; there the journal's is for all."""
        return (_IS_WINDOWS or lock_file(self._file.descriptor)) and self._file.is_there()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes `data` at `offset`, whole. Safe from several threads. Raises DiskFull, and Halted for other errors."""
        with in_words(self.target):
            self._file.write(offset, data)

    def read(self, offset: int, count: int) -> bytes:
        """Bytes from `offset` on, fewer at the end."""
        with in_words(self.target):
            return self._file.read(offset, count)

    def sync(self) -> None:
        """Returns when the bytes are on the disk."""
        with in_words(self.target):
            self._file.sync()

    def check_there(self) -> None:
        """Raises Halted when its name leads to it no more, and JobFailed when it has none."""
        with in_words(self.target):
            if self._file.is_removed():
                raise JobFailed(
                    f"{self.target} was removed while it was written.",
                    "Start again; make its folder anew if that is gone.",
                )
            if not self._file.is_there():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def rest(self) -> bool:
        """Closes it until the next use, its lock gone with that; False while it is in use."""
        return self._file.rest()

    def finish(self) -> None:
        """Gives the file its final name. A target that appeared meanwhile is kept unless overwriting was allowed."""
        with in_words(self.target):
            if _CLOSES_FIRST:
                self._file.rest()
            if self.overwrite:
                os.replace(self.path, self.target)
            else:
                self._rename_to_new()
            sync_folder(self.target.parent)

    def unfinish(self) -> None:
        """Takes the final name away again."""
        with contextlib.suppress(OSError):
            os.rename(self.target, self.path)

    def _rename_to_new(self) -> None:
        try:
            os.link(self.path, self.target)
        except FileExistsError:
            raise Halted(
                f"{self.target} appeared while the job was running; it was left as it is.",
                "Move it away and resume, or start again with another name.",
            ) from None
        except OSError:  # a file system without hard links
            if self.target.exists():
                raise
            os.rename(self.path, self.target)
        else:
            self.path.unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _CLOSES_FIRST:
            self._file.close()
        if kind is not None and not self.keep:
            with contextlib.suppress(OSError):  # what went wrong before is what must be said
                self.path.unlink(missing_ok=True)
        self._file.close()


def lock_file(descriptor: int) -> bool:
    """False when another process holds the file. The lock goes with the descriptor, however the process ends."""
    try:
        return locked(descriptor)
    except OSError:  # a file system without locks
        return True


def sync_folder(folder: Path) -> None:
    """Returns when the names in it are on the disk, where the system can say so."""
    with contextlib.suppress(OSError):  # not every system can open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def in_words(target: Path) -> Iterator[None]:
    """Turns the system's errors while writing into sentences: raises DiskFull or Halted."""
    try:
        yield
    except OSError as error:
        failed = writing_failed(error, target)
        if is_full(error):
            raise DiskFull(failed.message, failed.hint) from error
        raise failed from error
