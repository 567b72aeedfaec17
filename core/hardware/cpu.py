"""The processor: its name, the cores that this process may use, and the instruction sets that llama.cpp cares for."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from core.hardware.cgroup import cpu_limit
from core.hardware.instructions import read_instructions
from core.hardware.machine import Cpu


def read_cpu(*, root: Path = Path("/")) -> Cpu:
    """This machine's processor; what cannot be read is counted as one core or named by its architecture."""
    text = read_cpuinfo(root=root)
    logical = psutil.cpu_count(logical=True) or 1
    return Cpu(
        name=_name(text),
        physical_cores=_physical_cores() or logical,
        logical_cores=logical,
        usable_cores=usable_cores(root=root),
        instructions=read_instructions(text),
    )


def read_cpuinfo(*, root: Path = Path("/")) -> str:
    """/proc/cpuinfo of the first processor; empty where there is none."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.split("\n\n", 1)[0]


def usable_cores(*, root: Path = Path("/")) -> float:
    """Cores' worth of time for this process: those it is bound to, or the container's quota when that is less."""
    bound = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    limit = cpu_limit(root=root)
    return bound if limit is None else min(bound, limit)


def _name(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "cpu model") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine() or "Unknown processor"


def _physical_cores() -> int | None:
    try:
        return psutil.cpu_count(logical=False)
    except (OSError, RuntimeError, ValueError):
        return None
