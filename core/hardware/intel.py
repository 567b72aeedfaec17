"""Intel GPUs on Linux: i915 and xe. What is in use of a card is told to the privileged only, and is said to be so.

The kernel's own files give no memory size (some i915 builds have lmem_total_bytes), so that the drivers are asked by
their queries; a card that cannot be asked has what Snug's table says.
"""

from __future__ import annotations

from pathlib import Path

from core.hardware.drm import Region, holders_by_card
from core.hardware.known_gpus import KnownGpu, find_gpu, gpu_of_pci
from core.hardware.machine import Confidence, Gpu, Holder, Memory, Sources, say
from core.hardware.pci import INTEL, address, cards
from core.hardware.system import System, number_of, read_text

_UNKNOWN_USE = "What is in use of the Intel GPU is not told to programs without privileges: all of it counts as free."
_SHARED = "The Intel GPU shares the RAM: models are judged by the RAM."


def read_intel(ram: Memory, system: System) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """(Intel GPUs, notes); cards of their own, or else the one inside the processor."""
    folders = [folder for folder in cards(system.root) if number_of(read_text(folder / "vendor")) == INTEL]
    if not folders:
        return (), ()
    held = holders_by_card(system.root)
    found = [_read_gpu(folder, ram, system, held.get(address(folder), ())) for folder in folders]
    separate = tuple(gpu for gpu in found if not gpu.unified)
    if separate:
        return separate, (_UNKNOWN_USE,) if any(gpu.free == gpu.total for gpu in separate) else ()
    return tuple(found), (_SHARED,)


def _read_gpu(folder: Path, ram: Memory, system: System, holders: tuple[Holder, ...]) -> Gpu:
    driver = (folder / "driver").resolve().name if (folder / "driver").exists() else "unknown"
    device = read_text(folder / "device")
    known = gpu_of_pci(device, read_text(folder / "revision"))
    total, used, sources = _memory(folder, driver, known, system)
    used = max(used, sum(holder.memory for holder in holders))
    known = find_gpu(known.name, memory=total) if known and total else known
    name, named_by = (f"Intel {known.name}", "Snug's table of GPUs") if known else (f"Intel GPU {device}", "PCI number")
    sources += say(named_by, "name") + say("/sys", "driver")
    if known:
        sources += say("Snug's table of GPUs", "bandwidth", "formats", confidence=Confidence.MEDIUM)
    unified = not total
    if unified:
        total, used = ram.total, ram.total - ram.available
        sources += say("the RAM, for the GPU has no memory of its own", "total", "free", "used_by_others")
    return Gpu(
        name,
        "Intel",
        address(folder),
        total,
        max(0, total - used),
        used_by_others=used,
        driver=driver,
        unified=unified,
        bandwidth=known.bandwidth if known else 0,
        formats=known.formats if known else (),
        holders=() if unified else holders,
        sources=sources,
    )


def _memory(folder: Path, driver: str, known: KnownGpu | None, system: System) -> tuple[int, int, Sources]:
    """(total, used, sources) of the GPU's own memory; zeros where it has none."""
    use = say("not told without privileges; programs of this user counted", "free", confidence=Confidence.LOW)
    if total := number_of(read_text(folder.parent / "lmem_total_bytes")):
        return total, 0, say("i915: lmem_total_bytes", "total") + use
    regions: tuple[Region, ...] = ()
    for node in sorted((folder / "drm").glob("renderD*")):
        regions = system.regions(system.root / "dev/dri" / node.name, driver)
    if total := sum(region.total for region in regions):
        used = sum(region.used for region in regions)
        asked = f"{driver}: query of its memory regions"
        return total, used, say(asked, "total") + (say(asked, "free") if used else use)
    if known and known.memory:
        origin = "Snug's table of GPUs, by the PCI number"
        return known.memory, 0, say(origin, "total", confidence=Confidence.MEDIUM) + use
    return 0, 0, ()
