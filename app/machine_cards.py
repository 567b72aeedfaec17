"""Hardware -> what the page Machine says of it, card by card. Pure, so that machines we do not have can be tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app import words

if TYPE_CHECKING:
    from core import Hardware


@dataclass(frozen=True, slots=True)
class CardContent:
    """`figure` is the number that matters, `caption` what it is; `used` of `total` bytes fill the bar, if any."""

    title: str
    name: str
    figure: str = ""
    caption: str = ""
    used: int = 0
    total: int = 0
    facts: tuple[tuple[str, str], ...] = ()
    note: str = ""
    tip: str = ""


def cards_of(hardware: Hardware) -> list[CardContent]:
    """Processor, memory, every GPU or the sentence that there is none, and the disks."""
    gpus = [_gpu(gpu) for gpu in hardware.gpus] or [_no_gpu(hardware)]
    return [_cpu(hardware.cpu), _memory(hardware.memory), *gpus, *(_disk(disk) for disk in hardware.disks)]


def _cpu(cpu: Any) -> CardContent:
    facts = (
        ("Cores", f"{words.count(cpu.physical_cores, 'physical core')}"),
        ("Instructions", ", ".join(cpu.instructions) or "none that matter here"),
    )
    caption = f"of {words.count(cpu.logical_cores, 'logical core')} usable"
    return CardContent("Processor", cpu.name, f"{cpu.usable_cores:g}", caption, facts=facts)


def _memory(memory: Any) -> CardContent:
    source = "the limit of the container that Snug runs in" if "container" in memory.source else "the operating system"
    return CardContent(
        "Memory",
        f"{words.size(memory.total)} of RAM",
        words.size(memory.available),
        "available now",
        used=memory.total - memory.available,
        total=memory.total,
        note=f"Figures from {source}.",
        tip=f"{words.exact(memory.available)} of {words.exact(memory.total)} available",
    )


def _gpu(gpu: Any) -> CardContent:
    shared = (("Memory", "Shared with the RAM, not on top of it"),) if gpu.unified else ()
    others = (("Used by others", words.size(gpu.used_by_others)),)
    return CardContent(
        "Graphics",
        gpu.name,
        words.size(gpu.free),
        f"of {words.size(gpu.total)} free",
        used=gpu.total - gpu.free,
        total=gpu.total,
        facts=(*others, *shared, ("Driver", gpu.driver or "unknown")),
        tip=f"{words.exact(gpu.free)} of {words.exact(gpu.total)} free",
    )


def _no_gpu(hardware: Hardware) -> CardContent:
    notes = " ".join(hardware.notes) or "No graphics processor was found."
    sentence = "That is normal: models run on the processor too, and Snug needs no GPU to make them."
    return CardContent("Graphics", "No GPU in use", note=f"{notes} {sentence}")


def _disk(disk: Any) -> CardContent:
    return CardContent(
        "Disk",
        "Where Snug keeps its data",
        words.size(disk.free),
        f"of {words.size(disk.total)} free",
        used=disk.total - disk.free,
        total=disk.total,
        note=words.path(disk.path),
        tip=f"{words.exact(disk.free)} of {words.exact(disk.total)} free",
    )
