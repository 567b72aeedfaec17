"""A machine as data: what Snug knows of it, in bytes and in words, each figure with its source and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Confidence(StrEnum):
    """HIGH: the system, the driver or the person says so. MEDIUM: derived or measured once. LOW: a guess by rule."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the figure `field` of a part comes from, in words for people."""

    field: str
    origin: str
    confidence: Confidence = Confidence.HIGH


Sources = tuple[Source, ...]


def say(origin: str, *names: str, confidence: Confidence = Confidence.HIGH) -> Sources:
    """The same origin for each of the fields `names`."""
    return tuple(Source(name, origin, confidence) for name in names)


def source_of(sources: Sources, name: str) -> Source | None:
    """The source of the field `name`; None where nothing is known. What stands later counts: an override comes last."""
    return next((source for source in reversed(sources) if source.field == name), None)


@dataclass(frozen=True, slots=True)
class Holder:
    """`memory` bytes that programs of one name hold; `count` is how many of them run."""

    name: str
    memory: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Cpu:
    """`usable_cores` is what this process may use, in cores' worth of time: affinity and container quota included.

    `instructions` are the sets that llama.cpp has faster code for, by its own names (AVX2, AVX512_VNNI, DOTPROD ...).
    `performance_cores` are the fast ones of a processor that has two kinds; 0 where all are alike or it does not say.
    """

    name: str
    physical_cores: int
    logical_cores: int
    usable_cores: float
    instructions: tuple[str, ...]
    performance_cores: int = 0
    sources: Sources = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM in bytes. `available` can be had without swapping; `source` says where the figures come from.

    `installed` is what the system has before a container's limit; `bandwidth` is in bytes/s, 0 until it is measured.
    `holders` are the programs that hold most of it, most first.
    """

    total: int
    available: int
    source: str
    installed: int = 0
    bandwidth: int = 0
    holders: tuple[Holder, ...] = ()
    sources: Sources = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; memory in bytes. `used_by_others` is in use now, by other programs and by the driver.

    `unified` means that it has no memory of its own: `total` and `free` are then the part of the RAM that it may use,
    not on top of it. `shared` is RAM that a GPU inside a processor may take beyond memory that the firmware set aside
    for it; it is not in `total` or `free`, and taking it takes it from the RAM. `reserved` is the driver's own part of
    `used_by_others`. `bandwidth` is the peak in bytes/s, 0 where unknown. `formats` are the numbers that its hardware
    reckons with at full rate (FP16, BF16, FP8, INT8, FP4); `compute` is CUDA's compute capability.
    """

    name: str
    vendor: str
    id: str
    total: int
    free: int
    used_by_others: int
    driver: str
    unified: bool = False
    shared: int = 0
    reserved: int = 0
    bandwidth: int = 0
    formats: tuple[str, ...] = ()
    compute: str = ""
    holders: tuple[Holder, ...] = ()
    sources: Sources = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Disk:
    """The volume that holds `path`; `free` bytes are those that this user may write. Both 0 when it cannot be read.

    `kind` is SSD, hard disk, memory or network where the system tells; `read` and `write` are measured bytes/s or 0.
    """

    path: Path
    total: int
    free: int
    kind: str = ""
    file_system: str = ""
    read: int = 0
    write: int = 0
    sources: Sources = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What Snug runs in: `system` with its release, `machine` (x86_64, arm64), and `container` or `wsl` if any."""

    system: str = ""
    machine: str = ""
    container: str = ""
    wsl: str = ""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The whole machine. `notes` are sentences for people about what was not found or not read, and why.

    `given` names the figures that a person gave instead of those of this machine; empty for what was detected.
    """

    cpu: Cpu
    memory: Memory
    gpus: tuple[Gpu, ...] = ()
    disks: tuple[Disk, ...] = ()
    notes: tuple[str, ...] = ()
    surroundings: Surroundings = Surroundings()
    given: tuple[str, ...] = ()
