"""Answers of Windows, macOS and Intel's drivers as bytes and tables, since those systems are not here."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import pytest

from core.hardware import calls_windows
from core.hardware.calls_mac import sysctl_text
from core.hardware.drm import Region, i915_regions, parse_fdinfo, xe_regions

GIB = 1024**3


def region(kind: int, first: int, second: int) -> bytes:
    return struct.pack("<HHIQQ", kind, 0, 0, first, second).ljust(88, b"\0")


def test_i915_tells_of_a_card_what_is_left() -> None:
    answer = struct.pack("<IIII", 2, 0, 0, 0) + region(0, 32 * GIB, 32 * GIB) + region(1, 16 * GIB, 13 * GIB)
    assert i915_regions(answer) == (Region(16 * GIB, 3 * GIB),)


def test_xe_tells_of_a_card_what_is_used() -> None:
    answer = struct.pack("<II", 2, 0) + region(0, 32 * GIB, 0) + region(1, 12 * GIB, GIB)
    assert xe_regions(answer) == (Region(12 * GIB, GIB),)


def test_an_answer_cut_short_is_an_error_that_is_caught_where_it_is_asked() -> None:
    with pytest.raises(struct.error):
        xe_regions(struct.pack("<II", 3, 0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "drm-pdev:\t0000:03:00.0\ndrm-client-id:\t4\ndrm-memory-vram:\t2048 KiB\n",
            ("0000:03:00.0", "4", 2 * 1024**2),
        ),
        ("drm-pdev:\t0000:03:00.0\ndrm-client-id: 4\ndrm-resident-vram0:\t3 MiB\n", ("0000:03:00.0", "4", 3 * 1024**2)),
        ("pos:\t0\n", ("", "", 0)),
    ],
)
def test_who_holds_memory_is_read_in_each_drivers_words(text: str, expected: tuple[str, str, int]) -> None:
    assert parse_fdinfo(text) == expected


def test_a_sysctl_is_a_number_or_a_text() -> None:
    assert sysctl_text("hw.memsize", (16 * GIB).to_bytes(8, "little")) == str(16 * GIB)
    assert sysctl_text("machdep.cpu.brand_string", b"Apple M1 Max\0") == "Apple M1 Max"
    assert sysctl_text("hw.model", b"Mac\0") == "Mac"
    assert sysctl_text("kern.osproductversion", b"10.15.7\0") == "10.15.7"


def test_a_com_function_is_called_by_its_place_with_its_arguments() -> None:
    seen: list[tuple[int, int]] = []
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)

    def enumerate_adapters(this: int, index: int, found: int) -> int:
        seen.append((this, index))
        ctypes.cast(found, ctypes.POINTER(ctypes.c_void_p))[0] = 77
        return 0

    function = kind(enumerate_adapters)
    table = (ctypes.c_void_p * 13)()
    table[12] = ctypes.cast(function, ctypes.c_void_p).value
    instance = ctypes.c_void_p(ctypes.addressof(table))
    interface = ctypes.c_void_p(ctypes.addressof(instance))
    adapter: Any = ctypes.c_void_p()
    assert calls_windows._call(interface, 12, ctypes.c_uint32(3), ctypes.byref(adapter)) == 0
    assert (seen, adapter.value) == ([(interface.value, 3)], 77)


def test_the_structures_are_as_large_as_windows_has_them() -> None:
    assert ctypes.sizeof(calls_windows._MemoryStatusEx) == 64
    assert ctypes.sizeof(calls_windows._VideoMemoryInfo) == 32
    assert ctypes.sizeof(calls_windows._AdapterDesc1) == 312
