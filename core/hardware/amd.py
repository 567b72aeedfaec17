"""AMD GPUs on Linux, from the files of the amdgpu driver: https://docs.kernel.org/gpu/amdgpu/driver-misc.html"""

from __future__ import annotations

from pathlib import Path

from core.hardware.machine import Gpu, Memory
from core.hardware.pci import AMD, has_display_device

# A GPU inside a processor is given a little of the RAM by the firmware and takes the rest as it goes.
_CARVE_OUT = 2 * 1024**3


def read_amd(ram: Memory, *, root: Path = Path("/")) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """(AMD GPUs, notes); both empty on a machine without one."""
    folders = sorted((root / "sys/class/drm").glob("card[0-9]*/device"))
    gpus = tuple(gpu for folder in folders if (gpu := _read_gpu(folder, ram)) is not None)
    separate = tuple(gpu for gpu in gpus if not gpu.unified)
    if separate:
        return separate, ()
    if gpus:
        return gpus, ("The AMD GPU shares the RAM: models are judged by the RAM.",)
    if has_display_device(AMD, root=root):
        return (), ("An AMD GPU is present but the amdgpu driver does not report its memory.",)
    return (), ()


def _read_gpu(folder: Path, ram: Memory) -> Gpu | None:
    total = _number(folder / "mem_info_vram_total")
    if not total or "-" in folder.parent.name:
        return None
    free = max(0, total - _number(folder / "mem_info_vram_used"))
    name = _text(folder / "product_name") or f"AMD GPU {_text(folder / 'device')}".strip()
    place = folder.resolve().name
    if total <= _CARVE_OUT < _number(folder / "mem_info_gtt_total"):
        used = ram.total - ram.available
        return Gpu(name, "AMD", place, ram.total, ram.available, used_by_others=used, driver="amdgpu", unified=True)
    return Gpu(name, "AMD", place, total, free, used_by_others=total - free, driver="amdgpu")


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
