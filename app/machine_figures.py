"""What a person typed into the machine editor -> the figures of another machine. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import core

# Name of a field, what it says, an example.
FIELDS = (
    ("ram", "RAM", "16G"),
    ("ram_free", "RAM free", "12G"),
    ("bandwidth", "RAM, GB/s", "60"),
    ("cores", "Cores", "8"),
    ("disk", "Disk free", "200G"),
)


@dataclass(frozen=True, slots=True)
class GpuText:
    """One line of the editor, as typed."""

    name: str = ""
    total: str = ""
    free: str = ""
    bandwidth: str = ""

    def __bool__(self) -> bool:
        return any((self.name.strip(), self.total.strip(), self.free.strip(), self.bandwidth.strip()))


def read_figures(texts: Mapping[str, str], gpus: Sequence[GpuText], *, no_gpu: bool) -> core.Override:
    """The figures in the fields `texts` and the lines `gpus`; empty ones change nothing. Raises SnugError."""
    wanted = [gpu for gpu in gpus if gpu]
    ram = texts.get("ram", "").strip()
    given = core.read_override(ram, ["none"] if no_gpu else [_spec(gpu) for gpu in wanted])
    if given.gpus:
        filled = zip(given.gpus, wanted, strict=True)
        given = replace(given, gpus=tuple(replace(gpu, bandwidth=_rate(text.bandwidth)) for gpu, text in filled))
    return replace(
        given,
        memory_available=_size(texts.get("ram_free", "")) or given.memory_available,
        memory_bandwidth=_rate(texts.get("bandwidth", "")) or None,
        cores=_count(texts.get("cores", "")),
        disk_free=_size(texts.get("disk", "")),
    )


def _spec(gpu: GpuText) -> str:
    """As --gpu takes it. A free size alone needs the card's own, which the table may know."""
    name, total, free = gpu.name.strip() or "GPU", gpu.total.strip(), gpu.free.strip()
    if free and not total:
        known = core.find_gpu(name)
        if known is None or not known.memory:
            raise core.SnugError(f"How much memory has {name}?", "Give its memory beside what is free of it.")
        total = f"{known.memory // 1024**2}M"
    return ":".join(filter(None, (name.replace(":", " "), total, free)))


def _size(text: str) -> int | None:
    return core.read_size(text) if text.strip() else None


def _rate(text: str) -> int:
    """Bytes/s of a number of GB/s; 0 for nothing."""
    text = text.strip().lower().removesuffix("gb/s").strip()
    if not text:
        return 0
    try:
        rate = round(float(text) * 1e9)
    except (ValueError, OverflowError):
        rate = 0
    if rate <= 0:
        raise core.SnugError(f"{text} is not a speed of memory.", "Write it in GB/s, like 504.")
    return rate


def _count(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) <= 4096:
        raise core.SnugError(f"{text} is not a number of cores.", "Write it like 8.")
    return int(text)
