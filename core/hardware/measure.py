"""What no system tells: how fast memory and the disk are. Short, polite measurements, each with its own bound in time.

Memory: every core copies through a buffer larger than its share of the caches; both the bytes read and those written
count. Disk: a file of at most 64 MB beside the cache is written through to the device, read back past the page cache
and removed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile

from core.hardware.disk import nearest_existing, volume_of
from core.hardware.machine import Confidence, Disk, Hardware, Memory, say
from core.hardware.system import System, read_text

_MIB = 1024**2
_CHUNK = 2 * _MIB
_SECONDS = 0.06
_DISK_SECONDS = 0.25
_DISK_CHUNK = 8 * _MIB
_MOST_THREADS = 32


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes/s; 0 where it was not measured. `folder` is where the disk was tried."""

    bandwidth: int = 0
    read: int = 0
    write: int = 0
    folder: Path = Path()


def measure(hardware: Hardware, folder: Path) -> Measured:
    """Memory and the volume of `folder`, in about half a second."""
    threads = min(hardware.cpu.physical_cores, max(1, int(hardware.cpu.usable_cores)))
    read, write = disk_speed(folder)
    return Measured(memory_bandwidth(threads, available=hardware.memory.available), read, write, folder)


def with_measured(hardware: Hardware, measured: Measured) -> Hardware:
    """The machine with what was measured of it; a figure that is there already stays."""
    memory, disks = hardware.memory, tuple(_with_speed(disk, measured) for disk in hardware.disks)
    if not memory.bandwidth and measured.bandwidth:
        memory = _with_bandwidth(memory, measured.bandwidth)
    return replace(hardware, memory=memory, disks=disks)


def _with_bandwidth(memory: Memory, bandwidth: int) -> Memory:
    origin = say("measured: every core copying at once", "bandwidth", confidence=Confidence.MEDIUM)
    return replace(memory, bandwidth=bandwidth, sources=memory.sources + origin)


def _with_speed(disk: Disk, measured: Measured) -> Disk:
    same = volume_of(disk.path) == volume_of(measured.folder)
    if not same or not (measured.read or measured.write):
        return disk
    origin = say("measured with a short file: a burst, not a long run", "read", "write", confidence=Confidence.MEDIUM)
    return replace(disk, read=measured.read, write=measured.write, sources=disk.sources + origin)


def memory_bandwidth(threads: int, *, available: int, seconds: float = _SECONDS) -> int:
    """Bytes/s that `threads` copies at once read and write; takes less than 0.2 s, and at most an eighth of the memory.

    0 where there is too little memory to tell it from the caches.
    """
    import numpy as np

    threads = max(1, min(threads, _MOST_THREADS))
    size = _buffer_bytes(threads, available)
    if size < _CHUNK:
        return 0
    ready, counted = threading.Barrier(threads + 1), [0] * threads
    until = [0.0]

    def copy(number: int) -> None:
        source, target = np.ones(size, dtype=np.uint8), np.empty(size, dtype=np.uint8)
        np.copyto(target, source)
        ready.wait()
        ready.wait()
        offset = 0
        while time.perf_counter() < until[0]:
            # numpy lets other threads run while it copies.
            np.copyto(target[offset : offset + _CHUNK], source[offset : offset + _CHUNK])
            counted[number] += 2 * _CHUNK
            offset = (offset + _CHUNK) % (size - _CHUNK + 1) // _CHUNK * _CHUNK

    workers = [threading.Thread(target=copy, args=(number,), daemon=True) for number in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.perf_counter()
    until[0] = start + seconds
    ready.wait()
    for worker in workers:
        worker.join()
    return round(sum(counted) / (time.perf_counter() - start))


def _buffer_bytes(threads: int, available: int) -> int:
    """Bytes of each of a thread's two buffers: together twice the last cache, 64 MiB at least."""
    wanted = max(64 * _MIB, 2 * last_cache_bytes(System()))
    each = min(wanted, available // 8, 512 * _MIB) // (2 * threads)
    return each // _CHUNK * _CHUNK


def last_cache_bytes(system: System) -> int:
    """The processor's largest cache by /sys; 32 MiB where it does not say."""
    folder = system.root / "sys/devices/system/cpu/cpu0/cache"
    units = {"K": 1024, "M": _MIB}
    sizes = [read_text(file) for file in folder.glob("index*/size")]
    found = [int(size[:-1]) * units[size[-1]] for size in sizes if size[:-1].isdigit() and size[-1] in units]
    return max(found, default=32 * _MIB)


def disk_speed(folder: Path, *, seconds: float = _DISK_SECONDS) -> tuple[int, int]:
    """(read, write) in bytes/s of the volume that holds `folder`; zeros where nothing can be written."""
    block = mmap.mmap(-1, _DISK_CHUNK)
    block.write(os.urandom(_DISK_CHUNK))
    try:
        with TemporaryFile(prefix="snug-speed-", dir=nearest_existing(folder)) as file:
            number = file.fileno()
            write = _timed(lambda: os.write(number, block), seconds, finish=lambda: os.fsync(number))
            written = os.lseek(number, 0, os.SEEK_CUR)
            _forget_cached(number)
            os.lseek(number, 0, os.SEEK_SET)
            direct = _past_the_cache(number)
            return _timed(lambda: os.readv(number, [block]), seconds, most=written) if direct else 0, write
    except OSError:
        return 0, 0
    finally:
        block.close()


def _timed(
    step: Callable[[], int], seconds: float, *, most: int = 8 * _DISK_CHUNK, finish: Callable[[], object] = int
) -> int:
    """Bytes/s of `step` until `most` bytes or the time is over."""
    start, done = time.perf_counter(), 0
    while done < most and time.perf_counter() - start < seconds and (moved := step()):
        done += moved
    finish()
    return round(done / max(1e-6, time.perf_counter() - start))


def _forget_cached(number: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)


def _past_the_cache(number: int) -> bool:
    """Whether reads now come from the device: by O_DIRECT on Linux, by F_NOCACHE on a Mac."""
    with contextlib.suppress(OSError, ImportError, AttributeError):
        import fcntl

        if hasattr(os, "O_DIRECT"):
            fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_DIRECT)
            return True
        fcntl.fcntl(number, getattr(fcntl, "F_NOCACHE"), 1)  # noqa: B009 - not every system's fcntl has it
        return True
    return False
