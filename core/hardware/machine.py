"""A machine as data: what Snug knows of it, in bytes and in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cpu:
    """`usable_cores` is what this process may use, in cores' worth of time: affinity and container quota included.

    `instructions` are the sets that llama.cpp has faster code for, by its own names (AVX2, AVX512_VNNI, DOTPROD ...).
    """

    name: str
    physical_cores: int
    logical_cores: int
    usable_cores: float
    instructions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM in bytes. `available` can be had without swapping; `source` says where the figures come from."""

    total: int
    available: int
    source: str


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; memory in bytes. `used_by_others` is in use now, by other programs and by the driver.

    `unified` means that it has no memory of its own: `total` and `free` are then those of the RAM, not on top of it.
    """

    name: str
    vendor: str
    id: str
    total: int
    free: int
    used_by_others: int
    driver: str
    unified: bool = False


@dataclass(frozen=True, slots=True)
class Disk:
    """The volume that holds `path`; `free` bytes are those that this user may write. Both 0 when it cannot be read."""

    path: Path
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Hardware:
    """The whole machine. `notes` are sentences for people about what was not found or not read."""

    cpu: Cpu
    memory: Memory
    gpus: tuple[Gpu, ...] = ()
    disks: tuple[Disk, ...] = ()
    notes: tuple[str, ...] = ()
