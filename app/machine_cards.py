"""Hardware -> what the page Machine says of it, card by card. Pure, so that machines we do not have can be tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app import words

if TYPE_CHECKING:
    from core import Hardware

GIVEN = "given by you"


@dataclass(frozen=True, slots=True)
class CardContent:
    """`figure` is the number that matters, `caption` what it is; `used` of `total` bytes fill the bar, if any.

    `tip` tells of the figure and `tips` of facts, by name, where they come from. `pill` marks what a person gave.
    """

    title: str
    name: str
    figure: str = ""
    caption: str = ""
    used: int = 0
    total: int = 0
    facts: tuple[tuple[str, str], ...] = ()
    note: str = ""
    tip: str = ""
    name_tip: str = ""
    tips: tuple[tuple[str, str], ...] = ()
    pill: str = ""


def cards_of(hardware: Hardware) -> list[CardContent]:
    """Processor, memory, every GPU or the sentence that there is none, and the disks."""
    gpus = [_gpu(gpu) for gpu in hardware.gpus] or [_no_gpu(hardware)]
    return [_cpu(hardware.cpu), _memory(hardware.memory), *gpus, *(_disk(disk) for disk in hardware.disks)]


def summary(hardware: Hardware) -> str:
    """A machine in a few words, sizes as they are sold: 16 GiB of RAM, GeForce RTX 4070 with 12 GiB."""
    gpus = [f"{gpu.name} with {_gib(gpu.total)}" for gpu in hardware.gpus]
    return ", ".join([f"{_gib(hardware.memory.total)} of RAM", *(gpus or ["no GPU"])])


def _gib(size: int) -> str:
    return f"{round(size / 1024**3, 1):g} GiB"


def told(part: Any, *names: str) -> str:
    """Where the fields `names` of a part come from and how sure they are; empty where nothing is known."""
    import core

    found = [source for name in names if (source := core.source_of(part.sources, name))]
    lines = dict.fromkeys(f"Source: {source.origin}. Confidence: {source.confidence}." for source in found)
    return "\n".join(lines)


def _pill(part: Any) -> str:
    return "Given by you" if any(source.origin == GIVEN for source in part.sources) else ""


def _facts(*rows: tuple[str, str, str]) -> dict[str, Any]:
    """(name, value, tip) of those that have a value, as a card takes them."""
    present = [row for row in rows if row[1]]
    return {
        "facts": tuple((name, value) for name, value, _ in present),
        "tips": tuple((name, tip) for name, _, tip in present),
    }


def _cpu(cpu: Any) -> CardContent:
    fast = f", of which {cpu.performance_cores} fast" if 0 < cpu.performance_cores < cpu.physical_cores else ""
    instructions = ", ".join(cpu.instructions) or "none that matter here"
    return CardContent(
        "Processor",
        cpu.name,
        f"{cpu.usable_cores:g}",
        f"of {words.count(cpu.logical_cores, 'logical core')} usable",
        tip=told(cpu, "usable_cores", "logical_cores"),
        name_tip=told(cpu, "name"),
        pill=_pill(cpu),
        **_facts(
            ("Cores", f"{words.count(cpu.physical_cores, 'physical core')}{fast}", told(cpu, "physical_cores")),
            ("Instructions", instructions, told(cpu, "instructions")),
        ),
    )


def _memory(memory: Any) -> CardContent:
    source = "the limit of the container that Snug runs in" if "container" in memory.source else "the operating system"
    note = "" if memory.source == GIVEN else f"Figures from {source}."
    return CardContent(
        "Memory",
        f"{words.size(memory.total)} of RAM",
        words.size(memory.available),
        "available now" if memory.source != GIVEN else "available",
        used=memory.total - memory.available,
        total=memory.total,
        note=note,
        tip=_lines(
            f"{words.exact(memory.available)} of {words.exact(memory.total)} available", told(memory, "available")
        ),
        name_tip=told(memory, "total"),
        pill=_pill(memory),
        **_facts(
            ("Bandwidth", _rate(memory.bandwidth), told(memory, "bandwidth")),
            ("Most held by", _holders(memory.holders), told(memory, "holders")),
        ),
    )


def _gpu(gpu: Any) -> CardContent:
    shared = "Shared with the RAM, not on top of it" if gpu.unified else ""
    more = f"{words.size(gpu.shared)} of RAM besides, not on top of it" if gpu.shared else ""
    holders = f": {_holders(gpu.holders)}" if gpu.holders else ""
    reserved = f"\n{words.exact(gpu.reserved)} of it the driver's own." if gpu.reserved else ""
    others = "" if gpu.driver == "" and not gpu.holders else f"{words.size(gpu.used_by_others)}{holders}"
    return CardContent(
        "Graphics",
        gpu.name,
        words.size(gpu.free),
        f"of {words.size(gpu.total)} free",
        used=gpu.total - gpu.free,
        total=gpu.total,
        tip=_lines(f"{words.exact(gpu.free)} of {words.exact(gpu.total)} free", told(gpu, "free", "total")),
        name_tip=told(gpu, "name"),
        pill=_pill(gpu),
        **_facts(
            ("Used by others", others, told(gpu, "holders", "used_by_others") + reserved),
            ("Memory", shared or more, told(gpu, "shared", "total")),
            ("Bandwidth", _rate(gpu.bandwidth), told(gpu, "bandwidth")),
            ("Formats", ", ".join(gpu.formats), told(gpu, "formats")),
            ("Driver", gpu.driver if gpu.driver or _pill(gpu) else "unknown", told(gpu, "driver")),
        ),
    )


def _no_gpu(hardware: Hardware) -> CardContent:
    sentence = "That is normal: models run on the processor too, and Snug needs no GPU to make them."
    if "no GPU" in hardware.given:
        return CardContent("Graphics", "No GPU", note="Asked about a machine without one.", pill="Given by you")
    notes = " ".join(hardware.notes) or "No graphics processor was found."
    return CardContent("Graphics", "No GPU in use", note=f"{notes} {sentence}")


def _disk(disk: Any) -> CardContent:
    kind = ", ".join(filter(None, (disk.kind, disk.file_system)))
    speed = f"{words.rate(disk.read)} read, {words.rate(disk.write)} written" if disk.read and disk.write else ""
    return CardContent(
        "Disk",
        "Where Snug keeps its data",
        words.size(disk.free),
        f"of {words.size(disk.total)} free",
        used=disk.total - disk.free,
        total=disk.total,
        note=words.path(disk.path),
        tip=_lines(f"{words.exact(disk.free)} of {words.exact(disk.total)} free", told(disk, "free")),
        pill=_pill(disk),
        **_facts(("Kind", kind, told(disk, "kind", "file_system")), ("Speed", speed, told(disk, "read"))),
    )


def _holders(holders: Any) -> str:
    """The three that hold most: firefox 1.2 GB (8 processes), ollama 0.9 GB."""
    return ", ".join(
        f"{holder.name} {words.size(holder.memory)}" + (f" ({holder.count} processes)" if holder.count > 1 else "")
        for holder in holders[:3]
    )


def _rate(bytes_per_second: int) -> str:
    return f"{bytes_per_second / 1e9:,.0f} GB/s" if bytes_per_second else ""


def _lines(*texts: str) -> str:
    return "\n".join(filter(None, texts))
