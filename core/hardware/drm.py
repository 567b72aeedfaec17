"""Memory of Intel GPUs by the drivers' own queries, and who holds memory of any DRM driver.

Sizes: DRM_IOCTL_I915_QUERY and DRM_IOCTL_XE_DEVICE_QUERY of the kernel's uapi headers i915_drm.h and xe_drm.h; both
may be asked by anyone who can open the render node. What is in use is told to the privileged only; then it reads as 0.
Holders: https://docs.kernel.org/gpu/drm-usage-stats.html
"""

from __future__ import annotations

import array
import os
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.hardware.machine import Holder

_I915_QUERY = 0xC0106479
_I915_MEMORY_REGIONS = 4
_XE_QUERY = 0xC0286440
_XE_MEMORY_REGIONS = 1
_VRAM = 1
_REGION_BYTES = 88
_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2}


@dataclass(frozen=True, slots=True)
class Region:
    """One memory of a GPU in bytes; `used` is 0 where the driver does not tell us."""

    total: int
    used: int


def query_regions(node: Path, driver: str) -> tuple[Region, ...]:
    """The GPU's own memory at the render node (/dev/dri/renderD128); empty where it has none or does not say."""
    if not sys.platform.startswith("linux") or driver not in ("i915", "xe"):
        return ()
    try:
        handle = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        return i915_regions(_ask_i915(handle)) if driver == "i915" else xe_regions(_ask_xe(handle))
    except (OSError, struct.error):
        return ()
    finally:
        os.close(handle)


def i915_regions(answer: bytes) -> tuple[Region, ...]:
    """From struct drm_i915_query_memory_regions: a count, then class, probed and unallocated bytes of each region."""
    (count,) = struct.unpack_from("<I", answer)
    found = [struct.unpack_from("<HHIQQ", answer, 16 + _REGION_BYTES * index) for index in range(count)]
    return tuple(Region(total, max(0, total - free)) for kind, _, _, total, free in found if kind == _VRAM and total)


def xe_regions(answer: bytes) -> tuple[Region, ...]:
    """From struct drm_xe_query_mem_regions: a count, then class, total and used bytes of each region."""
    (count,) = struct.unpack_from("<I", answer)
    found = [struct.unpack_from("<HHIQQ", answer, 8 + _REGION_BYTES * index) for index in range(count)]
    return tuple(Region(total, used) for kind, _, _, total, used in found if kind == _VRAM and total)


def _ask_i915(handle: int) -> bytes:
    """Asked twice, as the headers say: a length of 0 is answered with the length needed."""
    import fcntl

    item = array.array("B", struct.pack("<QiIQ", _I915_MEMORY_REGIONS, 0, 0, 0))
    query = array.array("B", struct.pack("<IIQ", 1, 0, item.buffer_info()[0]))
    fcntl.ioctl(handle, _I915_QUERY, query)
    (length,) = struct.unpack_from("<i", item, 8)
    answer = array.array("B", bytes(max(4, length)))
    struct.pack_into("<QiIQ", item, 0, _I915_MEMORY_REGIONS, length, 0, answer.buffer_info()[0])
    fcntl.ioctl(handle, _I915_QUERY, query)
    return answer.tobytes()


def _ask_xe(handle: int) -> bytes:
    import fcntl

    query = array.array("B", struct.pack("<QIIQQQ", 0, _XE_MEMORY_REGIONS, 0, 0, 0, 0))
    fcntl.ioctl(handle, _XE_QUERY, query)
    (length,) = struct.unpack_from("<I", query, 12)
    answer = array.array("B", bytes(max(4, length)))
    struct.pack_into("<QIIQQQ", query, 0, 0, _XE_MEMORY_REGIONS, length, answer.buffer_info()[0], 0, 0)
    fcntl.ioctl(handle, _XE_QUERY, query)
    return answer.tobytes()


def holders_by_card(root: Path) -> dict[str, tuple[Holder, ...]]:
    """PCI address -> the programs of this user that hold its memory, most first. Other users' programs do not show."""
    held: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for process in _processes(root):
        name = _read(process / "comm").strip()
        for card, memory in _held_by(process).items():
            before, count = held[card].get(name, (0, 0))
            held[card][name] = (before + memory, count + 1)
    return {card: _sorted(names) for card, names in held.items()}


def _sorted(names: dict[str, tuple[int, int]]) -> tuple[Holder, ...]:
    found = [Holder(name, memory, count) for name, (memory, count) in names.items() if memory]
    return tuple(sorted(found, key=lambda holder: (-holder.memory, holder.name)))


def _processes(root: Path) -> Iterator[Path]:
    try:
        yield from (folder for folder in (root / "proc").iterdir() if folder.name.isdigit())
    except OSError:
        return


def _held_by(process: Path) -> dict[str, int]:
    """PCI address -> bytes. A client that is open more than once counts once."""
    clients: dict[tuple[str, str], int] = {}
    try:
        files = [file for file in os.scandir(process / "fd") if "/dri/" in _target(file)]
    except OSError:
        return {}
    for file in files:
        card, client, memory = parse_fdinfo(_read(process / "fdinfo" / file.name))
        if card:
            clients[card, client] = memory
    total: dict[str, int] = defaultdict(int)
    for (card, _), memory in clients.items():
        total[card] += memory
    return dict(total)


def parse_fdinfo(text: str) -> tuple[str, str, int]:
    """(PCI address, client, bytes of the GPU's own memory in use)."""
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    names = ("drm-resident-vram0", "drm-resident-vram", "drm-memory-vram", "drm-resident-local0", "drm-total-local0")
    amount, unit = [*next((values[name] for name in names if name in values), "0").split(), ""][:2]
    memory = int(amount) * _UNITS.get(unit, 1) if amount.isdigit() else 0
    return values.get("drm-pdev", ""), values.get("drm-client-id", ""), memory


def _target(file: os.DirEntry[str]) -> str:
    try:
        return os.readlink(file.path)
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
