"""A disk that loses power: what is not synced may be there afterwards, or not, or in part, in any order.

While it lasts, every call of `os` that changes one of the files of a folder is noted, and done for real. At the n-th
call the power goes: that call and all later ones raise PowerLoss. `restore` then makes the folder what a disk could
hold: of each file what was synced, and of the writes since then any choice of sectors; names that changed since the
folder was synced, so many of them as were written by then, in their order.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

SECTOR = 512
FOLDER = -1


class PowerLoss(BaseException):
    """Nothing goes any more."""


@dataclass
class Stored:
    """One file: what the disk has for good, and what has been written since (offset and bytes; None: cut to length)."""

    durable: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def after(self, arrives: Callable[[], bool]) -> bytearray:
        """What it holds if of everything written since, sector by sector, that arrives for which `arrives` is true."""
        data = bytearray(self.durable)
        for offset, piece in self.since:
            if piece is None:
                if arrives():
                    _cut(data, offset)
                continue
            at = 0
            while at < len(piece):
                step = min(SECTOR - (offset + at) % SECTOR, len(piece) - at)
                if arrives():
                    _cut(data, max(len(data), offset + at + step))
                    data[offset + at : offset + at + step] = piece[at : at + step]
                at += step
        return data


class Disk:
    """What a folder's disk has. Its `calls` are counted; the one after the first `end` of them finds no power."""

    def __init__(self, folder: Path, end: int = 1 << 60) -> None:
        self.folder, self.end, self.calls = folder, end, 0
        self._files: list[Stored] = []
        self._durable: dict[str, int] = {}  # number of a file by its name
        self._later: list[dict[str, int]] = [{}]  # the same after each change since the folder was synced
        self._descriptors: dict[int, int] = {}
        self._lock = threading.RLock()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While it lasts, the folder is on this disk."""
        notes = {"open": self._opened, "pwrite": self._wrote, "ftruncate": self._became, "posix_fallocate": self._grew,
                 "fdatasync": self._synced, "fsync": self._synced, "link": self._linked, "rename": self._renamed,
                 "replace": self._renamed, "unlink": self._unlinked}  # fmt: skip
        calls = {name: self._noting(getattr(os, name), note) for name, note in notes.items()}
        with mock.patch.multiple(os, **calls, close=self._closing(os.close)):
            yield
        for descriptor in self._descriptors:
            os.close(descriptor)

    def _noting(self, real: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **options: Any) -> Any:
            if not self._is_mine(first):
                return real(first, *rest, **options)
            with self._lock:
                self.calls += 1
                if self.calls > self.end:
                    raise PowerLoss
                result = real(first, *rest, **options)
                note(result, first, *rest)
                return result

        return call

    def _closing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            with self._lock:
                self._descriptors.pop(descriptor, None)
                real(descriptor)

        return call

    def _is_mine(self, first: Any) -> bool:
        if isinstance(first, int):
            return first in self._descriptors
        return isinstance(first, str | Path) and self.folder in (Path(first), Path(first).parent)

    def _file(self, descriptor: int) -> Stored:
        return self._files[self._descriptors[descriptor]]

    def _names(self) -> dict[str, int]:
        """A change of the names as they are now."""
        self._later.append(dict(self._later[-1]))
        return self._later[-1]

    def _opened(self, descriptor: int, path: Path | str, *_: Any) -> None:
        name = Path(path).name
        if Path(path) == self.folder:
            self._descriptors[descriptor] = FOLDER
            return
        if name not in self._later[-1]:
            self._names()[name] = len(self._files)
            self._files.append(Stored())
        self._descriptors[descriptor] = self._later[-1][name]

    def _wrote(self, count: int, descriptor: int, data: Any, offset: int) -> None:
        self._file(descriptor).since.append((offset, bytes(data[:count])))

    def _became(self, _: None, descriptor: int, length: int) -> None:
        self._file(descriptor).since.append((length, None))

    def _grew(self, _: None, descriptor: int, start: int, count: int) -> None:
        self._became(_, descriptor, start + count)

    def _synced(self, _: None, descriptor: int) -> None:
        if self._descriptors[descriptor] == FOLDER:
            self._durable, self._later = self._later[-1], [self._later[-1]]
            return
        file = self._file(descriptor)
        file.durable, file.since = file.after(lambda: True), []

    def _linked(self, _: None, source: Path, target: Path) -> None:
        names = self._names()
        names[Path(target).name] = names[Path(source).name]

    def _renamed(self, _: None, source: Path, target: Path) -> None:
        names = self._names()
        names[Path(target).name] = names.pop(Path(source).name)

    def _unlinked(self, _: None, path: Path) -> None:
        self._names().pop(Path(path).name)

    def restore(self, rng: random.Random) -> None:
        """Makes the folder what the disk could hold after the power went."""
        names = rng.choice([self._durable, *self._later])
        for path in self.folder.iterdir():
            path.unlink()
        made: dict[int, Path] = {}
        for name, number in names.items():
            path = self.folder / name
            if number in made:
                os.link(made[number], path)
                continue
            share = rng.choice((0.0, 0.5, 0.9, 1.0))
            path.write_bytes(self._files[number].after(lambda share=share: rng.random() < share))  # type: ignore[misc]
            made[number] = path


def _cut(data: bytearray, length: int) -> None:
    if len(data) > length:
        del data[length:]
    else:
        data.extend(bytes(length - len(data)))
