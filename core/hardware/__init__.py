"""What this machine has: detect() -> Hardware. One vendor or thing a file; no reading raises, none loads torch."""

from __future__ import annotations

from pathlib import Path

from core.hardware.amd import read_amd
from core.hardware.apple import read_apple
from core.hardware.cpu import read_cpu
from core.hardware.disk import disk_of, disks_of
from core.hardware.intel import read_intel
from core.hardware.known_gpus import KnownGpu, find_gpu, known_gpus
from core.hardware.machine import (
    Confidence,
    Cpu,
    Disk,
    Gpu,
    Hardware,
    Holder,
    Memory,
    Source,
    Sources,
    Surroundings,
    source_of,
)
from core.hardware.measure import Measured, measure, with_measured
from core.hardware.memory import read_memory
from core.hardware.nvidia import read_nvidia
from core.hardware.overrides import GivenGpu, Override, override, read_override, read_size
from core.hardware.processes import largest_holders
from core.hardware.surroundings import read_surroundings
from core.hardware.system import System
from core.hardware.windows import read_windows
from core.paths import cache_folder, data_folder

_READERS = (read_nvidia, read_amd, read_intel, read_apple, read_windows)


def detect(*, root: Path = Path("/"), system: System | None = None) -> Hardware:
    """This machine as it is now: free memory changes, so ask again before a decision. Takes some 10 ms."""
    system = system or System(root=root)
    memory = read_memory(system, holders=largest_holders(system))
    found = [read(memory, system) for read in _READERS]
    return Hardware(
        cpu=read_cpu(system),
        memory=memory,
        gpus=_worth_naming(tuple(gpu for gpus, _ in found for gpu in gpus)),
        disks=disks_of((data_folder(), cache_folder()), root=system.root),
        notes=tuple(note for _, notes in found for note in notes),
        surroundings=read_surroundings(system),
    )


def _worth_naming(gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """Without a processor's own GPU where a card of any vendor is; each card once."""
    own = [gpu for gpu in gpus if not gpu.unified]
    return tuple({gpu.id: gpu for gpu in own or gpus}.values())


__all__ = [
    "Confidence",
    "Cpu",
    "Disk",
    "GivenGpu",
    "Gpu",
    "Hardware",
    "Holder",
    "KnownGpu",
    "Measured",
    "Memory",
    "Override",
    "Source",
    "Sources",
    "Surroundings",
    "System",
    "detect",
    "disk_of",
    "find_gpu",
    "known_gpus",
    "measure",
    "override",
    "read_override",
    "read_size",
    "source_of",
    "with_measured",
]
