"""What macOS is asked: sysctlbyname and Metal, by ctypes. On any other system nothing is there.

https://developer.apple.com/documentation/kernel/1387446-sysctlbyname
https://developer.apple.com/documentation/metal/mtldevice/recommendedmaxworkingsetsize
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

_METAL = "/System/Library/Frameworks/Metal.framework/Metal"
_OBJC = "/usr/lib/libobjc.A.dylib"
# A text may be as long as a number is.
_TEXTS = ("machdep.cpu.brand_string", "hw.model", "kern.osproductversion")


@dataclass(frozen=True, slots=True)
class MetalDevice:
    """`working_set` is Metal's recommendedMaxWorkingSetSize in bytes, `used` what this process has allocated."""

    name: str
    working_set: int
    unified: bool
    used: int = 0


def sysctl(name: str) -> str:
    """The value of a sysctl as text; empty where there is none."""
    if sys.platform != "darwin":
        return ""
    try:
        library = ctypes.CDLL(None)
        size = ctypes.c_size_t(0)
        if library.sysctlbyname(name.encode(), None, ctypes.byref(size), None, ctypes.c_size_t(0)):
            return ""
        buffer = ctypes.create_string_buffer(size.value)
        if library.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, ctypes.c_size_t(0)):
            return ""
    except (OSError, AttributeError):
        return ""
    return sysctl_text(name, buffer.raw[: size.value])


def sysctl_text(name: str, value: bytes) -> str:
    """A sysctl's bytes as text: a string, or a little-endian number of 4 or 8 bytes."""
    if name not in _TEXTS and len(value) in (4, 8):
        return str(int.from_bytes(value, "little", signed=True))
    return value.rstrip(b"\0").decode("utf-8", errors="replace").strip()


def read_metal() -> tuple[MetalDevice, ...]:
    """The GPU that Metal takes by itself; empty where there is no Metal."""
    if sys.platform != "darwin":
        return ()
    try:
        device = _create_device()
        return (_read_device(device),) if device else ()
    except (OSError, AttributeError, ValueError):
        return ()


def _create_device() -> Any:
    create = ctypes.CDLL(_METAL).MTLCreateSystemDefaultDevice
    create.restype = ctypes.c_void_p
    return create()


def _read_device(device: Any) -> MetalDevice:
    name = _send(_send(device, "name", ctypes.c_void_p), "UTF8String", ctypes.c_char_p)
    return MetalDevice(
        name=name.decode("utf-8", errors="replace") if name else "Apple GPU",
        working_set=int(_send(device, "recommendedMaxWorkingSetSize", ctypes.c_uint64)),
        unified=bool(_send(device, "hasUnifiedMemory", ctypes.c_bool)),
        used=int(_send(device, "currentAllocatedSize", ctypes.c_size_t)),
    )


def _send(receiver: Any, message: str, answer: Any) -> Any:
    """An Objective-C message without arguments."""
    objc = ctypes.CDLL(_OBJC)
    objc.sel_registerName.restype = ctypes.c_void_p
    # A function pointer of our own for each kind of answer: objc_msgSend has the signature of what it calls.
    call = ctypes.CFUNCTYPE(answer, ctypes.c_void_p, ctypes.c_void_p)(("objc_msgSend", objc))
    return call(receiver, objc.sel_registerName(message.encode()))
