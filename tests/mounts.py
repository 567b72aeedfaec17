"""Real faults of a Linux machine, where tests may mount: disks that are full, fail or lose power, and little memory.

    with disk(folder, megabytes=16) as usb:     # ext4 on a file of its own
        usb.lose_power()
        usb.plug_in()
    with room(folder, nbytes=20 << 20) as full: # a tmpfs of that size
        full.resize(1 << 20)
    with memory_group() as group:               # a cgroup, of version 1 or 2
        group.limit(100 << 20)

Whatever happens, all is unmounted and removed at the end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

_SHUT_DOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN of linux/fs/ext4/ext4.h, made for tests of a loss of power
_WITHOUT_FLUSH = 2
_GROUPS = Path("/sys/fs/cgroup")
_LEFT = 32 << 20
_TRIES = 100


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise OSError(ran.stderr.strip().partition("\n")[0] or " ".join(command))


def unmount(folder: Path) -> None:
    """Takes a mount away; while somebody still holds a file open there, out of sight at least."""
    for flags in ([], ["--lazy"]):
        with suppress(OSError):
            return _run("umount", *flags, str(folder))


class Room:
    """A disk in memory that has as many bytes as one wishes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, nbytes: int) -> None:
        """Not below what is used: then OSError."""
        _run("mount", "-o", f"remount,size={nbytes}", str(self.folder))

    def grow(self, nbytes: int) -> None:
        found = os.statvfs(self.folder)
        self.resize(found.f_blocks * found.f_frsize + nbytes)

    def leave(self, nbytes: int) -> None:
        """Makes it as large as what is used and so many bytes more, though somebody may be writing."""
        for number in range(_TRIES):
            found = os.statvfs(self.folder)
            try:
                return self.resize((found.f_blocks - found.f_bfree) * found.f_frsize + nbytes)
            except OSError:  # more is used by now
                if number == _TRIES - 1:
                    raise


@contextmanager
def room(folder: Path, nbytes: int) -> Iterator[Room]:
    """A tmpfs of `nbytes` at `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={nbytes}", "snug-test", str(folder))
    try:
        yield Room(folder)
    finally:
        unmount(folder)


class Disk:
    """A disk with ext4 at `folder`."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.image, self.folder = image, folder

    def plug_in(self) -> None:
        """Mounts it. Its journal is written when somebody syncs and never by itself; after an error it is read-only."""
        _run("mount", "-o", "loop,commit=600,errors=remount-ro", str(self.image), str(self.folder))

    def settle(self) -> None:
        """Returns when all that was written is on it."""
        _run("sync", "--file-system", str(self.folder))

    def fail(self) -> None:
        """From now on the kernel lets nobody write to it."""
        device = next(line.split()[0] for line in _mounts() if line.split()[1] == str(self.folder))
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("1")

    def lose_power(self) -> None:
        """From now on nothing reaches it and nothing can be read; what was not on it by now is lost."""
        import fcntl

        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUT_DOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(descriptor)

    def pull_out(self) -> None:
        """As one pulls a stick: it answers nobody any more, and its files are gone."""
        self.lose_power()
        unmount(self.folder)


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """A disk of that size, mounted at `folder`, which is made; its own file is in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="snug-disk-") as own,
        room(Path(own) / "at", (megabytes + 4) << 20) as place,
    ):
        image = place.folder / "image"
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", str(image))
        made = Disk(image, folder)
        made.plug_in()
        try:
            yield made
        finally:
            unmount(folder)


def _mounts() -> list[str]:
    return Path("/proc/mounts").read_text().splitlines()


class MemoryGroup:
    """Processes that have only so much memory together."""

    def __init__(self, path: Path) -> None:
        self.path, self._old = path, (path / "memory.limit_in_bytes").exists()

    def limit(self, nbytes: int) -> None:
        """-1: none. Raises OSError for less than what can be had back from them."""
        name = "memory.limit_in_bytes" if self._old else "memory.max"
        (self.path / name).write_text("max" if nbytes < 0 and not self._old else str(nbytes))

    @contextmanager
    def crowded(self) -> Iterator[None]:
        """Little is left, and another program takes more than that: somebody must go."""
        name = "rss " if self._old else "anon "
        lines = (self.path / "memory.stat").read_text().splitlines()
        self.limit(next(int(line.split()[1]) for line in lines if line.startswith(name)) + _LEFT)
        greedy = f"x = b'1' * {2 * _LEFT}; input()"
        with subprocess.Popen(self.command(sys.executable, "-c", greedy), stdin=subprocess.PIPE) as process:
            try:
                yield
            finally:
                process.kill()

    def command(self, *command: str) -> tuple[str, ...]:
        """The same command as a process of the group."""
        return ("/bin/sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh", *command)

    def kills(self) -> int:
        """How many of them the kernel has killed."""
        text = (self.path / ("memory.oom_control" if self._old else "memory.events")).read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))


@contextmanager
def memory_group() -> Iterator[MemoryGroup]:
    """A group without a limit; at its end its processes must be gone, or be about to."""
    root = _GROUPS / "memory" if (_GROUPS / "memory").is_dir() else _GROUPS
    path = root / f"snug-test-{secrets.token_hex(4)}"
    path.mkdir()
    try:
        if (path / "memory.swap.max").exists():
            (path / "memory.swap.max").write_text("0")
        elif (path / "memory.swappiness").exists():
            (path / "memory.swappiness").write_text("0")
        yield MemoryGroup(path)
    finally:
        for _ in range(_TRIES):
            with suppress(OSError):
                path.rmdir()
                break
            time.sleep(0.02)


@cache
def _why_no_mounts() -> str:
    if sys.platform != "linux":
        return "mounts as Linux does"
    if missing := [name for name in ("mount", "umount", "mkfs.ext4") if shutil.which(name) is None]:
        return f"{', '.join(missing)} is not installed"
    try:
        with tempfile.TemporaryDirectory() as own, disk(Path(own) / "at", 8) as made:
            made.fail()
            made.lose_power()
            return ""
    except OSError as error:
        return f"nothing may be mounted here ({error})"


@cache
def _why_no_group() -> str:
    if sys.platform != "linux":
        return "memory is limited as Linux does"
    try:
        with memory_group() as group:
            group.limit(1 << 30)
            group.kills()
            return ""
    except (OSError, StopIteration) as error:
        return f"no memory limit can be set here ({error})"


@pytest.fixture
def mounts() -> None:
    """Skips where nothing may be mounted."""
    if why := _why_no_mounts():
        pytest.skip(why)


@pytest.fixture
def groups() -> None:
    """Skips where no memory limit may be set."""
    if why := _why_no_group():
        pytest.skip(why)
