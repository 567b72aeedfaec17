"""Another machine than this one: figures that a person gives, laid over those that were detected. Pure.

Sizes of memory count in 1024s, as memory is sold: 16G is 16 GiB, with or without the B.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.errors import SnugError
from core.hardware.apple import default_working_set
from core.hardware.known_gpus import KnownGpu, find_gpu, similar_names
from core.hardware.machine import Confidence, Gpu, Hardware, Memory, Sources, say

GIVEN = "given by you"
_GIB = 1024**3
_UNITS = {"": _GIB, "K": 1024, "M": 1024**2, "G": _GIB, "T": 1024**4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
# What an idle system and its desktop hold of the RAM, and a screen with the driver of a GPU: a guess, and said to be.
_SYSTEM_SHARE, _SYSTEM_MOST = 4, 3 * _GIB
_SCREEN_SHARE, _SCREEN_MOST = 16, _GIB // 2


@dataclass(frozen=True, slots=True)
class GivenGpu:
    """A GPU as a person names it; 0 takes the figure of the table, or what is usual. Bytes, bytes/s."""

    name: str
    total: int = 0
    free: int = 0
    bandwidth: int = 0


@dataclass(frozen=True, slots=True)
class Override:
    """Figures of another machine; None keeps the detected one. `gpus` empty means that there is none."""

    memory_total: int | None = None
    memory_available: int | None = None
    memory_bandwidth: int | None = None
    cores: int | None = None
    disk_free: int | None = None
    gpus: tuple[GivenGpu, ...] | None = None

    def __bool__(self) -> bool:
        return self != Override()


def read_override(ram: str = "", gpus: Sequence[str] = ()) -> Override:
    """From the command line: `16G` or `16G:12G` (all and free) and `NAME[:TOTAL[:FREE]]`, a size alone, or `none`.

    Raises SnugError for what makes no sense or names no known GPU without saying its memory.
    """
    total, available = _total_and_free(ram, "RAM") if ram else (None, None)
    given: tuple[GivenGpu, ...] | None = None
    if gpus:
        none = [text for text in gpus if text.strip().lower() in ("none", "no", "0")]
        if none and len(gpus) > 1:
            raise SnugError("--gpu none stands alone.", "Leave it out, or leave the other GPUs out.")
        given = () if none else tuple(_given(text) for text in gpus)
    if total is None:
        total, given = _size_of_the_whole(given)
    return Override(memory_total=total, memory_available=available, gpus=given)


def read_size(text: str) -> int:
    """Bytes of 16G, 16 GiB, 512M or 16 (GiB). Raises SnugError for anything else, and for nothing at all."""
    match = _SIZE.fullmatch(text.strip())
    size = round(float(match.group(1)) * _UNITS[match.group(2).upper()]) if match else 0
    if not size:
        raise SnugError(f"{text.strip() or 'Nothing'} is not a size of memory.", "Write it like 16G or 512M.")
    return size


def override(hardware: Hardware, given: Override) -> Hardware:
    """`hardware` with what is `given` instead; `.given` names it. Free figures that are not given are usual ones."""
    if not given:
        return hardware
    memory = _memory(hardware.memory, given)
    gpus = hardware.gpus if given.gpus is None else tuple(_gpu(gpu, n, memory) for n, gpu in enumerate(given.gpus))
    if given.gpus is None and memory != hardware.memory:
        gpus = tuple(_within(gpu, hardware.memory, memory) for gpu in gpus)
    cpu, disks = hardware.cpu, hardware.disks
    if given.cores:
        counted = say(GIVEN, "physical_cores", "logical_cores", "usable_cores")
        cpu = replace(cpu, physical_cores=given.cores, logical_cores=given.cores, usable_cores=float(given.cores))
        cpu = replace(cpu, sources=cpu.sources + counted)
    if given.disk_free is not None:
        free = given.disk_free
        disks = tuple(
            replace(disk, free=free, total=max(free, disk.total), sources=disk.sources + say(GIVEN, "free"))
            for disk in disks
        )
    notes = hardware.notes if given.gpus is None else ()
    return replace(hardware, cpu=cpu, memory=memory, gpus=gpus, disks=disks, notes=notes, given=given_names(given))


def given_names(given: Override) -> tuple[str, ...]:
    """What a person gave, in words."""
    gpus = "no GPU" if given.gpus == () else "GPU" if given.gpus else ""
    table = (
        ("memory", given.memory_total or given.memory_available),
        ("memory bandwidth", given.memory_bandwidth),
        ("cores", given.cores),
        ("disk", given.disk_free is not None),
        (gpus, gpus),
    )
    return tuple(name for name, value in table if value)


def _given(text: str) -> GivenGpu:
    name, _, sizes = text.strip().partition(":")
    if not sizes and _SIZE.fullmatch(name) and re.search(r"[GMT]", name, re.IGNORECASE):
        name, sizes = "GPU", name
    total, free = _total_and_free(sizes, name) if sizes else (0, None)
    known = find_gpu(name, memory=total)
    if known is None and not total:
        close = similar_names(name)
        hint = f"Did you mean {', '.join(close)}? " if close else ""
        raise SnugError(f"{name} is not a GPU that Snug knows.", f'{hint}Else say its memory: --gpu "{name}:12G".')
    return GivenGpu(name, total, free or 0)


def _size_of_the_whole(gpus: tuple[GivenGpu, ...] | None) -> tuple[int | None, tuple[GivenGpu, ...] | None]:
    """Who says "M3 Max:36G" means a machine with 36 GB, of which the GPU has its part."""
    for gpu in gpus or ():
        known = find_gpu(gpu.name, memory=gpu.total)
        if known is not None and known.unified and gpu.total:
            return gpu.total, tuple(replace(each, total=0) if each is gpu else each for each in gpus or ())
    return None, gpus


def _total_and_free(text: str, what: str) -> tuple[int, int | None]:
    total, colon, free = text.partition(":")
    found = read_size(total), read_size(free) if colon else None
    if found[1] is not None and found[1] > found[0]:
        raise SnugError(f"{what} cannot have more free than it has: {text}.", "Write it as all:free, like 16G:12G.")
    return found


def _memory(memory: Memory, given: Override) -> Memory:
    total, available, sources = memory.total, memory.available, memory.sources
    if given.memory_total is not None:
        total, sources = given.memory_total, sources + say(GIVEN, "total", "installed")
        available = max(0, total - min(total // _SYSTEM_SHARE, _SYSTEM_MOST))
        guess = "all but what an idle system usually holds"
        sources += say(guess, "available", confidence=Confidence.LOW)
    if given.memory_available is not None:
        available, sources = min(total, given.memory_available), sources + say(GIVEN, "available")
    bandwidth = memory.bandwidth if given.memory_bandwidth is None else given.memory_bandwidth
    if given.memory_bandwidth is not None:
        sources += say(GIVEN, "bandwidth")
    changed = given.memory_total is not None or given.memory_available is not None
    return replace(
        memory,
        total=total,
        available=available,
        installed=total if changed else memory.installed,
        source=GIVEN if changed else memory.source,
        bandwidth=bandwidth,
        holders=() if given.memory_total is not None else memory.holders,
        sources=sources,
    )


def _gpu(given: GivenGpu, number: int, memory: Memory) -> Gpu:
    known = find_gpu(given.name, memory=given.total)
    if known is not None and known.unified:
        return _unified(given, known, number, memory)
    total = given.total or (known.memory if known else 0)
    guess = total - min(total // _SCREEN_SHARE, _SCREEN_MOST)
    free = given.free or guess
    sources = say(GIVEN, "name") + _told(bool(given.total), "total")
    sources += say(GIVEN, "free") if given.free else say("all but a screen's share", "free", confidence=Confidence.LOW)
    return _made(given, known, number, total=total, free=min(free, total), sources=sources)


def _unified(given: GivenGpu, known: KnownGpu, number: int, memory: Memory) -> Gpu:
    """A GPU in the RAM has no more than the RAM: a size given for it is its limit."""
    usual = default_working_set(memory.total) if known.vendor == "Apple" else memory.total
    total = min(given.total or usual, memory.total)
    free = min(given.free or total, total, memory.available)
    sources = say(GIVEN, "name") + say("its usual part of the RAM", "total", "free", confidence=Confidence.LOW)
    return _made(given, known, number, total=total, free=free, sources=sources, unified=True)


def _made(
    given: GivenGpu,
    known: KnownGpu | None,
    number: int,
    *,
    total: int,
    free: int,
    sources: Sources,
    unified: bool = False,
) -> Gpu:
    table = say("Snug's table of GPUs", "bandwidth", "formats", confidence=Confidence.MEDIUM) if known else ()
    return Gpu(
        known.name if known else given.name,
        known.vendor if known else "",
        f"given:{number}",
        total,
        free,
        used_by_others=total - free,
        driver="",
        unified=unified,
        bandwidth=given.bandwidth or (known.bandwidth if known else 0),
        formats=known.formats if known else (),
        sources=sources + table + (say(GIVEN, "bandwidth") if given.bandwidth else ()),
    )


def _told(by_person: bool, name: str) -> Sources:
    return say(GIVEN, name) if by_person else say("Snug's table of GPUs", name, confidence=Confidence.MEDIUM)


def _within(gpu: Gpu, before: Memory, memory: Memory) -> Gpu:
    """A detected GPU beside another amount of RAM: one that lives in the RAM has its part of that."""
    if not gpu.unified:
        return replace(gpu, shared=min(gpu.shared, memory.available))
    total = memory.total if gpu.total >= before.total else gpu.total * memory.total // max(1, before.total)
    free = min(total, memory.available)
    sources = say("its part of the RAM given", "total", "free", confidence=Confidence.LOW)
    return replace(gpu, total=total, free=free, used_by_others=total - free, sources=gpu.sources + sources)
