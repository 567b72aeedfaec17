"""RAM: what the system has, cut to what a container leaves of it."""

from __future__ import annotations

from pathlib import Path

import psutil

from core.hardware.cgroup import memory_limits
from core.hardware.machine import Memory


def read_memory(*, root: Path = Path("/"), system: tuple[int, int] | None = None) -> Memory:
    """RAM in bytes; `system` is (total, available) of the whole machine, read when not given."""
    total, available = system or _system_memory()
    # A v1 group without a limit reports one near 2**63.
    limits = [limit for limit in memory_limits(root=root) if limit.limit < total]
    left = min((limit.left for limit in limits), default=available)
    source = "container limit" if left < available else "system"
    return Memory(min([total, *(limit.limit for limit in limits)]), min(available, left), source)


def _system_memory() -> tuple[int, int]:
    try:
        memory = psutil.virtual_memory()
    except (OSError, RuntimeError, ValueError):
        return 0, 0
    return int(memory.total), int(memory.available)
