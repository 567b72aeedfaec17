"""NVIDIA GPUs by the driver's own library, NVML. It needs no CUDA context, so that looking costs no memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from core.hardware.machine import Gpu, Memory
from core.hardware.pci import NVIDIA, has_display_device

Found = tuple[tuple[Gpu, ...], tuple[str, ...]]


def read_nvidia(
    ram: Memory,
    *,
    root: Path = Path("/"),
    nvml: ModuleType | Any | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Found:
    """(GPUs that CUDA programs will see, notes). `nvml` is pynvml, or something that behaves like it."""
    nvml = nvml or _import_nvml()
    if nvml is None:
        return (), ("NVIDIA GPUs are not read: the Python package nvidia-ml-py is missing.",)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return (), (_no_driver(root),)
    try:
        return _read_all(nvml, ram, environ)
    except nvml.NVMLError as error:
        return (), (f"The NVIDIA driver does not answer: {error}.",)
    finally:
        _shut_down(nvml)


def _import_nvml() -> ModuleType | None:
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml  # type: ignore[no-any-return]


def _no_driver(root: Path) -> str:
    if has_display_device(NVIDIA, root=root):
        return "An NVIDIA GPU is present but has no driver; install NVIDIA's driver to use it."
    return "No NVIDIA driver found; models are judged without an NVIDIA GPU."


def _shut_down(nvml: Any) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return


def _read_all(nvml: Any, ram: Memory, environ: Mapping[str, str]) -> Found:
    driver = _text(nvml.nvmlSystemGetDriverVersion())
    gpus: list[Gpu] = []
    notes: list[str] = []
    cards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    for handle in _visible(nvml, cards, environ):
        try:
            gpus.append(_read_gpu(nvml, handle, driver=driver, ram=ram))
        except nvml.NVMLError as error:
            notes.append(f"One NVIDIA GPU could not be read: {error}.")
    if cards and not gpus and not notes:
        notes.append("CUDA_VISIBLE_DEVICES hides every NVIDIA GPU.")
    if any(gpu.unified for gpu in gpus):
        notes.append("A GPU shares the RAM: models are judged by the RAM.")
    return tuple(gpus), tuple(notes)


def _read_gpu(nvml: Any, handle: Any, *, driver: str, ram: Memory) -> Gpu:
    name, uuid = _text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle))
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        total, free = int(memory.total), int(memory.free)
    except nvml.NVMLError_NotSupported:
        # Parts that share the RAM (Jetson, GB10) have no memory of their own to report.
        total, free = 0, 0
    if total:
        return Gpu(name, "NVIDIA", uuid, total, free, used_by_others=total - free, driver=driver)
    used = ram.total - ram.available
    return Gpu(name, "NVIDIA", uuid, ram.total, ram.available, used_by_others=used, driver=driver, unified=True)


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
