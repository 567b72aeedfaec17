"""Graphics adapters on Windows by DXGI, for those that NVML does not know.

https://learn.microsoft.com/windows/win32/api/dxgi/ns-dxgi-dxgi_adapter_desc1
Dedicated memory is the card's own, or what the firmware sets aside for a GPU inside the processor. Shared memory is
RAM: it is never added. Windows gives each program a budget, less than what is free when others need memory.
"""

from __future__ import annotations

from core.hardware.calls_windows import Adapter
from core.hardware.known_gpus import KnownGpu, find_gpu, gpu_of_pci
from core.hardware.machine import Confidence, Gpu, Memory, Sources, say
from core.hardware.pci import AMD, INTEL, NVIDIA
from core.hardware.system import System

_VENDORS = {AMD: "AMD", INTEL: "Intel", NVIDIA: "NVIDIA"}
_CARVE_OUT = 2 * 1024**3
_MIB = 1024**2
_SHARED = "The GPU inside the processor shares the RAM: models are judged by the RAM."


def read_windows(ram: Memory, system: System) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """(GPUs of AMD and Intel, notes); both empty where Windows is not."""
    if system.kind != "win32":
        return (), ()
    adapters = [adapter for adapter in system.adapters() if not adapter.software and adapter.vendor in _VENDORS]
    unique = {(adapter.luid or adapter.name): adapter for adapter in adapters}
    others = [adapter for adapter in unique.values() if adapter.vendor != NVIDIA]
    found = [(_read_gpu(adapter, ram), _is_inside_processor(adapter)) for adapter in others]
    has_card = len(others) < len(unique) or any(not inside for _, inside in found)
    gpus = tuple(gpu for gpu, inside in found if not (inside and has_card))
    if not unique:
        return (), ("DXGI names no graphics adapter.",)
    return gpus, (_SHARED,) if any(gpu.unified for gpu in gpus) else ()


def _known(adapter: Adapter) -> KnownGpu | None:
    return find_gpu(adapter.name, memory=adapter.dedicated) or gpu_of_pci(f"{adapter.device:04x}")


def _is_inside_processor(adapter: Adapter) -> bool:
    """By the PCI number where the table knows it; else a little dedicated memory beside much that is shared."""
    known = gpu_of_pci(f"{adapter.device:04x}") or _known(adapter)
    return known.unified if known else adapter.dedicated <= _CARVE_OUT < adapter.shared


def _read_gpu(adapter: Adapter, ram: Memory) -> Gpu:
    known, inside = _known(adapter), _is_inside_processor(adapter)
    unified = inside and adapter.dedicated <= _CARVE_OUT
    spare = min(adapter.shared_budget or adapter.shared, ram.available)
    if unified:
        total, free = min(adapter.shared, ram.total) or ram.total, spare
        sources = say("DXGI: shared memory, within the RAM", "total", "free", confidence=Confidence.MEDIUM)
    else:
        total, (free, sources) = adapter.dedicated, _free(adapter)
        sources += say("DXGI: DedicatedVideoMemory", "total")
    if known:
        sources += say("Snug's table of GPUs", "bandwidth", "formats", confidence=Confidence.MEDIUM)
    return Gpu(
        adapter.name,
        _VENDORS[adapter.vendor],
        adapter.luid,
        total,
        free,
        used_by_others=max(0, total - free),
        driver="WDDM",
        unified=unified,
        shared=spare if inside and not unified else 0,
        bandwidth=known.bandwidth if known else 0,
        formats=known.formats if known else (),
        sources=sources + say("DXGI", "name", "driver"),
    )


def _free(adapter: Adapter) -> tuple[int, Sources]:
    """What is left of the budget; without one all, less what Windows keeps for the screen."""
    if adapter.budget:
        return max(0, min(adapter.budget, adapter.dedicated) - adapter.usage), say("DXGI: budget less usage", "free")
    kept = min(512 * _MIB, adapter.dedicated // 8)
    return adapter.dedicated - kept, say("all but a reserve for the screen", "free", confidence=Confidence.LOW)
