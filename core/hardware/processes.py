"""Which programs hold the RAM, so that advice can name what to close."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil

from core.hardware.machine import Holder
from core.hardware.system import System

COUNT = 5
_LEAST = 50 * 1000**2
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def largest_holders(system: System, *, count: int = COUNT) -> tuple[Holder, ...]:
    """The programs that hold most RAM, processes of one name together, without this one; above 50 MB only."""
    found = _by_proc(system.root) if system.kind.startswith("linux") else _by_psutil() if system.live else iter(())
    held: dict[str, list[int]] = defaultdict(list)
    for name, memory in found:
        held[name].append(memory)
    holders = [Holder(name, sum(parts), len(parts)) for name, parts in held.items() if sum(parts) >= _LEAST]
    return tuple(sorted(holders, key=lambda holder: (-holder.memory, holder.name))[:count])


def name_of(root: Path, pid: int) -> str:
    """A program's name; `process 123` where it is not told, as for those of another container."""
    if os.name == "posix" and (root / "proc").is_dir():
        try:
            return (root / f"proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return f"process {pid}"
    try:
        return psutil.Process(pid).name()
    except (psutil.Error, OSError):
        return f"process {pid}"


def _by_proc(root: Path) -> Iterator[tuple[str, int]]:
    """(name, bytes that it shares with no file and no other process): resident less shared pages of statm."""
    own = str(os.getpid())
    try:
        entries = [entry.path for entry in os.scandir(root / "proc") if entry.name.isdigit() and entry.name != own]
    except OSError:
        return
    for path in entries:
        try:
            with open(f"{path}/statm", encoding="ascii") as statm, open(f"{path}/comm", errors="replace") as comm:
                _, resident, shared = statm.read().split()[:3]
                yield comm.read().strip(), (int(resident) - int(shared)) * _PAGE
        except (OSError, ValueError):
            continue


def _by_psutil() -> Iterator[tuple[str, int]]:
    for process in psutil.process_iter(["pid", "name", "memory_info"]):
        memory = process.info["memory_info"]
        if memory and process.info["pid"] != os.getpid():
            yield process.info["name"] or "unknown", int(memory.rss)
