"""AMD GPUs on Linux, from the files of the amdgpu driver: https://docs.kernel.org/gpu/amdgpu/driver-misc.html

VRAM is a card's own memory, or what the firmware sets aside of the RAM for a GPU inside a processor (a carve-out, which
the system does not count as RAM). GTT is RAM that the GPU may use besides: it is never added to VRAM.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from core.hardware.drm import holders_by_card
from core.hardware.known_gpus import KnownGpu, find_gpu, gpu_of_pci
from core.hardware.machine import Confidence, Gpu, Holder, Memory, Sources, say
from core.hardware.pci import AMD, address, cards, has_display_device
from core.hardware.system import System, number_of, read_text

# The little that a firmware sets aside by itself: then the RAM is where a model goes.
_CARVE_OUT = 2 * 1024**3
_IDS = "usr/share/libdrm/amdgpu.ids"
_SHARED = "The AMD GPU shares the RAM: models are judged by the RAM."


def read_amd(ram: Memory, system: System) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """(AMD GPUs, notes); both empty on a machine without one."""
    folders = [folder for folder in cards(system.root) if number_of(read_text(folder / "mem_info_vram_total"))]
    found = [(_read_gpu(folder, ram, system), _is_inside_processor(folder)) for folder in folders]
    if not found:
        return (), (_unread(),) if has_display_device(AMD, root=system.root) else ()
    separate = [gpu for gpu, inside in found if not inside]
    # A processor's own GPU beside a card only runs the screen.
    gpus = tuple(_with_holders(separate or [gpu for gpu, _ in found], system.root))
    passed = [gpu.name for gpu, inside in found if inside] if separate else []
    notes = tuple(f"{name}, inside the processor, is passed over beside a card." for name in passed)
    return gpus, notes + ((_SHARED,) if any(gpu.unified for gpu in gpus) else ())


def _unread() -> str:
    return "An AMD GPU is present but the amdgpu driver does not report its memory."


def _read_gpu(folder: Path, ram: Memory, system: System) -> Gpu:
    total, used = _number(folder, "mem_info_vram_total"), _number(folder, "mem_info_vram_used")
    device, revision = read_text(folder / "device"), read_text(folder / "revision")
    name, named_by = _name(folder, device, revision, system)
    known = find_gpu(name, memory=total) or gpu_of_pci(device, revision)
    gpu = Gpu(
        name,
        "AMD",
        address(folder),
        total,
        max(0, total - used),
        used_by_others=used,
        driver="amdgpu",
        sources=say(named_by, "name") + say("amdgpu: mem_info_vram_*", "total", "free", "used_by_others"),
    )
    gpu = _with_table(gpu, known)
    return _inside(gpu, folder, ram) if _is_inside_processor(folder) else gpu


def _inside(gpu: Gpu, folder: Path, ram: Memory) -> Gpu:
    """A processor's own GPU: a big carve-out is memory of its own and the RAM stays `shared`; a small one is not."""
    most = _number(folder, "mem_info_gtt_total")
    spare = min(max(0, most - _number(folder, "mem_info_gtt_used")), ram.available)
    if gpu.total > _CARVE_OUT:
        note = say("amdgpu: mem_info_gtt_*, at most the RAM that is available", "shared", confidence=Confidence.MEDIUM)
        return replace(gpu, shared=spare, sources=gpu.sources + note)
    total = min(most, ram.total) or ram.total
    free = min(spare if most else ram.available, total)
    origin = "amdgpu: mem_info_gtt_*, within the RAM that is available"
    sources = gpu.sources + say(origin, "total", "free", "used_by_others", confidence=Confidence.MEDIUM)
    return replace(gpu, unified=True, total=total, free=free, used_by_others=total - free, sources=sources)


def _is_inside_processor(folder: Path) -> bool:
    """By the table where it knows the device; else by the load of the memory, which the driver tells of cards only."""
    known = gpu_of_pci(read_text(folder / "device"), read_text(folder / "revision"))
    if known is not None:
        return known.unified
    if (folder / "mem_busy_percent").exists():
        return False
    return 0 < _number(folder, "mem_info_vram_total") <= _CARVE_OUT < _number(folder, "mem_info_gtt_total")


def _with_table(gpu: Gpu, known: KnownGpu | None) -> Gpu:
    if known is None:
        return gpu
    sources = say("Snug's table of GPUs", "bandwidth", "formats", confidence=Confidence.MEDIUM)
    return replace(gpu, bandwidth=known.bandwidth, formats=known.formats, sources=gpu.sources + sources)


def _with_holders(gpus: list[Gpu], root: Path) -> list[Gpu]:
    held: dict[str, tuple[Holder, ...]] = holders_by_card(root)
    origin: Sources = say("fdinfo of this user's programs", "holders", confidence=Confidence.MEDIUM)
    return [
        replace(gpu, holders=held[gpu.id], sources=gpu.sources + origin) if held.get(gpu.id) else gpu for gpu in gpus
    ]


def _name(folder: Path, device: str, revision: str, system: System) -> tuple[str, str]:
    """(name, source): the board's own, libdrm's list by device and revision, or Snug's table."""
    if name := read_text(folder / "product_name"):
        return name, "amdgpu: product_name"
    pattern = rf"^{device.removeprefix('0x')},\s*{revision.removeprefix('0x')},\s*(.+)$"
    if device and revision and (match := re.search(pattern, system.text(_IDS), re.MULTILINE | re.IGNORECASE)):
        return match.group(1).strip(), "libdrm's amdgpu.ids"
    if known := gpu_of_pci(device, revision):
        return known.name, "Snug's table of GPUs"
    return f"AMD GPU {device}".strip(), "the PCI number"


def _number(folder: Path, name: str) -> int:
    return number_of(read_text(folder / name))
