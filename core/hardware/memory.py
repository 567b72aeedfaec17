"""RAM: what the system has, cut to what a container leaves of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil

from core.hardware.cgroup import memory_limits
from core.hardware.machine import Holder, Memory, Sources, say
from core.hardware.system import System

SYSTEM, CONTAINER = "system", "container limit"
_GROUP = "the limit of the container (cgroup)"


def read_memory(system: System, *, holders: tuple[Holder, ...] = ()) -> Memory:
    """RAM of this system in bytes, asked in its own documented way; by psutil where that does not answer."""
    found = _by_meminfo(system) or _by_windows(system) or _by_mac(system) or (*_by_psutil(), "psutil")
    total, available, origin = found
    memory = within_limits(system.root, total, available, origin=origin)
    return replace(memory, holders=holders, sources=memory.sources + _held(holders))


def within_limits(root: Path, total: int, available: int, *, origin: str) -> Memory:
    """`total` and `available` bytes of the whole machine, cut to the limits on this process."""
    # A v1 group without a limit reports one near 2**63.
    limits = [limit for limit in memory_limits(root=root) if limit.limit < total]
    left = min((limit.left for limit in limits), default=available)
    lowest = min((limit.limit for limit in limits), default=total)
    sources = say(origin, "installed") + say(_GROUP if lowest < total else origin, "total")
    sources += say(f"what {_GROUP} leaves" if left < available else origin, "available")
    return Memory(
        total=lowest,
        available=min(available, left),
        source=CONTAINER if left < available else SYSTEM,
        installed=total,
        sources=sources,
    )


def _held(holders: tuple[Holder, ...]) -> Sources:
    return say("memory of each process that it shares with no other", "holders") if holders else ()


def _by_meminfo(system: System) -> tuple[int, int, str] | None:
    """MemAvailable, never MemFree: what the kernel can give without swapping."""
    values = {}
    for line in system.text("proc/meminfo").splitlines():
        name, _, amount = line.partition(":")
        number = amount.strip().removesuffix(" kB")
        values[name] = int(number) * 1024 if number.isdigit() else 0
    if not values.get("MemTotal") or "MemAvailable" not in values:
        return None
    return values["MemTotal"], values["MemAvailable"], "/proc/meminfo"


def _by_windows(system: System) -> tuple[int, int, str] | None:
    """Windows promises no more than RAM and page file together: an allocation beyond that fails with RAM left."""
    status = system.memory_status() if system.kind == "win32" else None
    if status is None:
        return None
    return status.total, min(status.available, status.commit_left), "GlobalMemoryStatusEx"


def _by_mac(system: System) -> tuple[int, int, str] | None:
    """psutil asks the kernel of a live machine; a recorded one has its page counts."""
    if system.kind != "darwin" or not (total := _integer(system.sysctl("hw.memsize"))):
        return None
    if system.live:
        return total, _by_psutil()[1], "hw.memsize and psutil"
    page = _integer(system.sysctl("hw.pagesize")) or 16384
    pages = sum(_integer(system.sysctl(f"vm.page_{kind}_count")) for kind in ("free", "inactive", "speculative"))
    return total, min(total, pages * page), "hw.memsize and the page counts of the kernel"


def _integer(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _by_psutil() -> tuple[int, int]:
    try:
        memory = psutil.virtual_memory()
    except (OSError, RuntimeError, ValueError):
        return 0, 0
    return int(memory.total), int(memory.available)
