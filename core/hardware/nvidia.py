"""NVIDIA GPUs by NVML, the library of the driver: https://docs.nvidia.com/deploy/nvml-api/

NVML needs no CUDA context, so that looking takes no memory of the GPU. Its `used` counts what the driver reserves; of
its figures only `free` says what a model may have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from core.hardware.known_gpus import KnownGpu, find_gpu
from core.hardware.machine import Confidence, Gpu, Holder, Memory, Sources, say
from core.hardware.pci import NVIDIA, has_display_device
from core.hardware.processes import name_of
from core.hardware.surroundings import wsl_version
from core.hardware.system import System

Found = tuple[tuple[Gpu, ...], tuple[str, ...]]

SHARED = "A GPU shares the RAM: models are judged by the RAM."

# Compute capability, at least -> numbers at full rate; CUDA C++ programming guide, throughput of instructions.
_FORMATS = (
    ((10, 0), ("FP16", "BF16", "FP8", "INT8", "FP4")),
    ((8, 9), ("FP16", "BF16", "FP8", "INT8")),
    ((8, 0), ("FP16", "BF16", "INT8")),
    ((7, 0), ("FP16", "INT8")),
    ((6, 1), ("INT8",)),
    ((6, 0), ("FP16",)),
)


def read_nvidia(ram: Memory, system: System) -> Found:
    """(GPUs that CUDA programs will see, notes)."""
    nvml = system.nvml or _import_nvml()
    if nvml is None:
        return (), ("NVIDIA GPUs are not read: the Python package nvidia-ml-py is missing.",)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return (), (_no_driver(system, error),)
    try:
        return _read_all(nvml, ram, system)
    except nvml.NVMLError as error:
        return (), (f"The NVIDIA driver does not answer: {error}.",)
    finally:
        _shut_down(nvml)


def _import_nvml() -> Any | None:
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


def _no_driver(system: System, error: Exception) -> str:
    if has_display_device(NVIDIA, root=system.root):
        return f"An NVIDIA GPU is present but has no driver; install NVIDIA's driver to use it. (NVML: {error})"
    if wsl_version(system.text("proc/version")):
        return "No NVIDIA driver found: under WSL the driver of Windows must be installed, none inside Linux."
    return "No NVIDIA driver found; models are judged without an NVIDIA GPU."


def _shut_down(nvml: Any) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return


def _read_all(nvml: Any, ram: Memory, system: System) -> Found:
    driver = _text(nvml.nvmlSystemGetDriverVersion())
    gpus: list[Gpu] = []
    notes: list[str] = []
    cards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    for handle in _visible(nvml, cards, system.environ):
        try:
            gpus.append(_read_gpu(nvml, handle, driver=driver, ram=ram, system=system))
        except nvml.NVMLError as error:
            notes.append(f"One NVIDIA GPU could not be read: {error}.")
    if cards and not gpus and not notes:
        notes.append("CUDA_VISIBLE_DEVICES hides every NVIDIA GPU.")
    elif len(cards) > len(gpus) and "CUDA_VISIBLE_DEVICES" in system.environ and not notes:
        notes.append(f"CUDA_VISIBLE_DEVICES shows {len(gpus)} of {len(cards)} NVIDIA GPUs.")
    if any(gpu.unified for gpu in gpus):
        notes.append(SHARED)
    return tuple(gpus), tuple(notes)


def _read_gpu(nvml: Any, handle: Any, *, driver: str, ram: Memory, system: System) -> Gpu:
    name, uuid = _text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle))
    compute = _compute(nvml, handle)
    total, free, reserved, origin = _memory(nvml, handle)
    known = find_gpu(name, memory=total)
    bandwidth, bandwidth_source = _bandwidth(nvml, handle, name, total, known)
    formats, formats_source = _formats(compute, known)
    sources = say("NVML", "name", "driver", "compute") + bandwidth_source + formats_source
    # Parts that share the RAM (Jetson, GB10) report no memory of their own, or a wrong one.
    unified = not total or (known is not None and known.unified)
    if unified:
        total, free, reserved = ram.total, ram.available, 0
        origin = "the RAM, for the GPU has no memory of its own"
    holders = () if unified else _holders(nvml, handle, system)
    sources += say(origin, "total", "free", "used_by_others")
    return Gpu(
        name,
        "NVIDIA",
        uuid,
        total,
        free,
        used_by_others=total - free,
        driver=driver,
        unified=unified,
        reserved=reserved,
        bandwidth=bandwidth,
        formats=formats,
        compute=compute,
        holders=holders,
        sources=sources + (say("NVML, running processes", "holders") if holders else ()),
    )


def _memory(nvml: Any, handle: Any) -> tuple[int, int, int, str]:
    """(total, free, reserved by the driver, source); zeros where the part has no memory of its own."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
        return int(memory.total), int(memory.free), int(memory.reserved), "NVML memory info v2"
    except (nvml.NVMLError, AttributeError):  # an old driver, an old pynvml
        pass
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return int(memory.total), int(memory.free), 0, "NVML memory info v1"
    except nvml.NVMLError_NotSupported:
        return 0, 0, 0, ""


def _compute(nvml: Any, handle: Any) -> str:
    try:
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    except nvml.NVMLError:
        return ""
    return f"{major}.{minor}"


def _formats(compute: str, known: KnownGpu | None) -> tuple[tuple[str, ...], Sources]:
    major, _, minor = compute.partition(".")
    if not major.isdigit():
        return (known.formats, say("Snug's table of GPUs", "formats")) if known else ((), ())
    version = (int(major), int(minor or 0))
    found = next((formats for least, formats in _FORMATS if version >= least), ())
    return found, say(f"compute capability {compute}", "formats")


def _bandwidth(nvml: Any, handle: Any, name: str, total: int, known: KnownGpu | None) -> tuple[int, Sources]:
    """Peak in bytes/s: two transfers a clock over the bus; of a MIG instance its part of the card's by memory."""
    part = min(1.0, total / known.memory) if known and known.memory and " MIG " in name else 1.0
    try:
        clock = int(nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM))
        bits = int(nvml.nvmlDeviceGetMemoryBusWidth(handle))
        if clock and bits and part == 1.0:
            origin = f"NVML: 2 x {clock:,} MHz x {bits} bits"
            return 2 * clock * 10**6 * bits // 8, say(origin, "bandwidth", confidence=Confidence.MEDIUM)
    except nvml.NVMLError:
        pass
    if known is None or not known.bandwidth:
        return 0, ()
    return round(known.bandwidth * part), say("Snug's table of GPUs", "bandwidth", confidence=Confidence.MEDIUM)


def _holders(nvml: Any, handle: Any, system: System) -> tuple[Holder, ...]:
    """Programs on the GPU, most memory first; empty where the driver does not tell (Windows, WSL)."""
    memory: dict[int, int] = {}
    for process in _running(nvml, handle):
        used = process.usedGpuMemory
        if used and 0 < used < 2**60:
            memory[int(process.pid)] = int(used)
    named: dict[str, list[int]] = defaultdict(list)
    for pid, used in memory.items():
        named[name_of(system.root, pid)].append(used)
    holders = [Holder(name, sum(parts), len(parts)) for name, parts in named.items()]
    return tuple(sorted(holders, key=lambda holder: (-holder.memory, holder.name)))


def _running(nvml: Any, handle: Any) -> Iterable[Any]:
    for ask in (nvml.nvmlDeviceGetGraphicsRunningProcesses, nvml.nvmlDeviceGetComputeRunningProcesses):
        try:
            yield from ask(handle)
        except nvml.NVMLError:
            continue


def _visible(nvml: Any, cards: list[Any], environ: Mapping[str, str]) -> list[Any]:
    """Handles in the order of CUDA_VISIBLE_DEVICES; as in CUDA, the first entry that names nothing ends the list.

    Numbers count in PCI order, as NVML does. A card cut into MIG instances is seen by its instances only.
    """
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return [part for card in cards for part in _instances(nvml, card) or [card]]
    chosen: list[Any] = []
    for entry in wanted.split(","):
        found = _named(nvml, cards, entry.strip())
        if not found:
            break
        chosen += [handle for handle in found if handle not in chosen]
    return chosen


def _named(nvml: Any, cards: list[Any], entry: str) -> list[Any]:
    if entry.isdigit():
        card = cards[int(entry)] if int(entry) < len(cards) else None
        return [] if card is None else _instances(nvml, card) or [card]
    if not entry.startswith(("GPU-", "MIG-")):
        return []
    handles = [handle for card in cards for handle in (card, *_instances(nvml, card))]
    return [handle for handle in handles if _text(nvml.nvmlDeviceGetUUID(handle)).startswith(entry)][:1]


def _instances(nvml: Any, card: Any) -> list[Any]:
    """MIG instances of a card; empty when it is whole."""
    try:
        enabled = nvml.nvmlDeviceGetMigMode(card)[0] == 1
        return list(_mig_handles(nvml, card)) if enabled else []
    except nvml.NVMLError:
        return []


def _mig_handles(nvml: Any, card: Any) -> Iterator[Any]:
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index)
        except nvml.NVMLError:
            continue


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
