"""The processor: its name, the cores that this process may use, and the instruction sets that llama.cpp cares for."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from core.hardware.cgroup import cpu_limit
from core.hardware.instructions import read_instructions
from core.hardware.machine import Cpu, Sources, say
from core.hardware.system import System, read_text

_FILE = "/proc/cpuinfo"


def read_cpu(system: System) -> Cpu:
    """This system's processor; what cannot be read is counted as one core or named by its architecture."""
    text = system.text("proc/cpuinfo") if system.kind.startswith("linux") else ""
    logical = text.count("\nprocessor\t") + text.startswith("processor\t") or _logical_cores(system)
    instructions = read_instructions(text.split("\n\n", 1)[0], kind=system.kind, sysctl=system.sysctl)
    return Cpu(
        name=_name(text, system),
        physical_cores=_physical_cores(text, system) or logical,
        logical_cores=logical,
        usable_cores=_usable(system, logical),
        instructions=instructions,
        performance_cores=_performance_cores(system),
        sources=_sources(text, system),
    )


def usable_cores(*, root: Path = Path("/")) -> float:
    """Cores' worth of time for this process: those it is bound to, or the container's quota when that is less."""
    return _usable(System(root=root), os.cpu_count() or 1)


def _usable(system: System, logical: int) -> float:
    bound = float(system.cores or (_affinity() if system.kind.startswith("linux") else 0) or logical)
    limit = cpu_limit(root=system.root)
    return bound if limit is None else min(bound, limit)


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def _name(cpuinfo: str, system: System) -> str:
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "cpu model") and value.strip():
            return value.strip()
    return (
        system.sysctl("machdep.cpu.brand_string")
        or system.text("sys/firmware/devicetree/base/model").rstrip("\0")
        or platform.processor()
        or platform.machine()
        or "Unknown processor"
    )


def _logical_cores(system: System) -> int:
    counted = system.sysctl("hw.logicalcpu")
    return int(counted) if counted.isdigit() else psutil.cpu_count(logical=True) or 1


def _physical_cores(cpuinfo: str, system: System) -> int:
    """Pairs of package and core by /proc/cpuinfo, by /sys where that has none (ARM), else what the system counts."""
    pairs = {_pair(block) for block in cpuinfo.split("\n\n") if "core id" in block}
    if not pairs:
        folders = (system.root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology")
        pairs = {(read_text(f / "physical_package_id"), read_text(f / "core_id")) for f in folders}
    counted = system.sysctl("hw.physicalcpu")
    return len(pairs) or (int(counted) if counted.isdigit() else 0) or (_by_psutil() if system.live else 0)


def _pair(block: str) -> tuple[str, str]:
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
    return values.get("physical id", ""), values["core id"]


def _by_psutil() -> int:
    try:
        return psutil.cpu_count(logical=False) or 0
    except (OSError, RuntimeError, ValueError):
        return 0


def _performance_cores(system: System) -> int:
    """Fast cores: hw.perflevel0 on a Mac; on Linux the cores of the kind cpu_core, of whose threads one each counts."""
    if (counted := system.sysctl("hw.perflevel0.physicalcpu")).isdigit():
        return int(counted)
    threads = _listed(system.text("sys/devices/cpu_core/cpus"))
    topology = system.root / "sys/devices/system/cpu"
    return len({read_text(topology / f"cpu{thread}/topology/core_id") or str(thread) for thread in threads})


def _listed(text: str) -> list[int]:
    """`0-3,8` as numbers."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found += range(int(first), int(last or first) + 1)
    return found


def _sources(cpuinfo: str, system: System) -> Sources:
    origin = _FILE if cpuinfo else {"darwin": "sysctl", "win32": "Windows and psutil"}.get(system.kind, "psutil")
    quota = cpu_limit(root=system.root)
    usable = "the container's quota (cgroup)" if quota is not None else "the cores this process is bound to"
    return say(origin, "name", "physical_cores", "logical_cores", "instructions", "performance_cores") + say(
        usable, "usable_cores"
    )
