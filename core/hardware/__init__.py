"""What this machine has: detect() -> Hardware. One vendor or thing a file; no reading raises, none loads torch."""

from __future__ import annotations

from pathlib import Path

from core.hardware.amd import read_amd
from core.hardware.cpu import read_cpu
from core.hardware.disk import disk_of, disks_of
from core.hardware.machine import Cpu, Disk, Gpu, Hardware, Memory
from core.hardware.memory import read_memory
from core.hardware.nvidia import read_nvidia
from core.paths import cache_folder, data_folder


def detect(*, root: Path = Path("/")) -> Hardware:
    """This machine as it is now: free memory changes, so ask again before a decision. Takes some 10 ms."""
    memory = read_memory(root=root)
    nvidia, nvidia_notes = read_nvidia(memory, root=root)
    amd, amd_notes = read_amd(memory, root=root)
    return Hardware(
        cpu=read_cpu(root=root),
        memory=memory,
        gpus=nvidia + amd,
        disks=disks_of((data_folder(), cache_folder())),
        notes=nvidia_notes + amd_notes,
    )


__all__ = ["Cpu", "Disk", "Gpu", "Hardware", "Memory", "detect", "disk_of"]
