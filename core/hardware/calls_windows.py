"""What Windows is asked: GlobalMemoryStatusEx and DXGI, by ctypes. On any other system nothing is there.

https://learn.microsoft.com/windows/win32/api/sysinfoapi/nf-sysinfoapi-globalmemorystatusex
https://learn.microsoft.com/windows/win32/api/dxgi1_4/nf-dxgi1_4-idxgiadapter3-queryvideomemoryinfo
"""

from __future__ import annotations

import ctypes
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_SOFTWARE = 2  # DXGI_ADAPTER_FLAG_SOFTWARE
_FACTORY_1 = "770aae78-f26f-4dba-a829-253c83d1b387"
_ADAPTER_3 = "645967a4-1392-4310-a798-8053ce3e93fd"
# Places in the interfaces' tables of functions, counted through what they inherit.
_QUERY_INTERFACE, _RELEASE = 0, 2
_ENUM_ADAPTERS_1 = 12
_GET_DESC_1 = 10
_QUERY_VIDEO_MEMORY = 14
_LOCAL, _NON_LOCAL = 0, 1


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """Bytes: RAM and what is left of it, and what is left of RAM and page file together, which allocations count on."""

    total: int
    available: int
    commit_left: int


@dataclass(frozen=True, slots=True)
class Adapter:
    """A graphics adapter as DXGI describes it, in bytes. `budget` and `usage` are of its local memory for us, now."""

    name: str
    vendor: int
    device: int
    luid: str
    dedicated: int
    shared: int
    budget: int = 0
    usage: int = 0
    shared_budget: int = 0
    software: bool = False


class _MemoryStatusEx(ctypes.Structure):
    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "available", "commit", "commit_left", "a", "b", "c")),
    ]


class _AdapterDesc1(ctypes.Structure):
    _fields_ = [
        ("description", ctypes.c_uint16 * 128),
        *((name, ctypes.c_uint32) for name in ("vendor", "device", "subsystem", "revision")),
        *((name, ctypes.c_size_t) for name in ("dedicated", "dedicated_system", "shared")),
        ("luid", ctypes.c_uint32 * 2),
        ("flags", ctypes.c_uint32),
    ]


class _VideoMemoryInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("budget", "usage", "reservable", "reserved")]


def memory_status() -> MemoryStatus | None:
    """RAM and commit limit; None where Windows is not."""
    if sys.platform != "win32":
        return None
    status = _MemoryStatusEx(length=ctypes.sizeof(_MemoryStatusEx))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return MemoryStatus(status.total, status.available, status.commit_left)


def graphics_adapters() -> tuple[Adapter, ...]:
    """Every adapter that DXGI lists; empty where there is no DXGI."""
    if sys.platform != "win32":
        return ()
    try:
        return tuple(_read_adapters())
    except (OSError, AttributeError):
        return ()


def _read_adapters() -> Iterator[Adapter]:
    factory = ctypes.c_void_p()
    identity = _guid(_FACTORY_1)
    if ctypes.CDLL("dxgi").CreateDXGIFactory1(identity, ctypes.byref(factory)):
        return
    try:
        adapter = ctypes.c_void_p()
        index = 0
        while not _call(factory, _ENUM_ADAPTERS_1, ctypes.c_uint32(index), ctypes.byref(adapter)):
            try:
                yield _read_adapter(adapter)
            finally:
                _call(adapter, _RELEASE)
            index += 1
    finally:
        _call(factory, _RELEASE)


def _read_adapter(adapter: Any) -> Adapter:
    desc = _AdapterDesc1()
    _call(adapter, _GET_DESC_1, ctypes.byref(desc))
    local, other = _video_memory(adapter)
    return Adapter(
        name=bytes(desc.description).decode("utf-16-le").split("\0", 1)[0],
        vendor=desc.vendor,
        device=desc.device,
        luid=f"{desc.luid[1]:08x}:{desc.luid[0]:08x}",
        dedicated=desc.dedicated,
        shared=desc.shared,
        budget=local.budget,
        usage=local.usage,
        shared_budget=other.budget,
        software=bool(desc.flags & _SOFTWARE),
    )


def _video_memory(adapter: Any) -> tuple[_VideoMemoryInfo, _VideoMemoryInfo]:
    """Budgets of local and of shared memory; zeros before Windows 10, which has no IDXGIAdapter3."""
    local, other, third = _VideoMemoryInfo(), _VideoMemoryInfo(), ctypes.c_void_p()
    if _call(adapter, _QUERY_INTERFACE, _guid(_ADAPTER_3), ctypes.byref(third)):
        return local, other
    try:
        for segment, info in ((_LOCAL, local), (_NON_LOCAL, other)):
            _call(third, _QUERY_VIDEO_MEMORY, ctypes.c_uint32(0), ctypes.c_uint32(segment), ctypes.byref(info))
    finally:
        _call(third, _RELEASE)
    return local, other


def _guid(text: str) -> Any:
    return ctypes.create_string_buffer(uuid.UUID(text).bytes_le, 16)


def _call(interface: Any, place: int, *arguments: Any) -> int:
    """The function at `place` of a COM interface's table; its HRESULT, 0 for success."""
    table = ctypes.cast(interface, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))).contents
    kinds = [ctypes.c_uint32 if isinstance(value, ctypes.c_uint32) else ctypes.c_void_p for value in arguments]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *kinds)(table[place] or 0)
    return int(function(interface, *arguments))
