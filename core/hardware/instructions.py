"""Which instruction sets the processor has, asked in each system's documented way."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

# Flag in /proc/cpuinfo -> llama.cpp's name.
_LINUX = {
    "sse4_2": "SSE4.2",
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "bmi2": "BMI2",
    "avx_vnni": "AVX_VNNI",
    "avx512f": "AVX512F",
    "avx512bw": "AVX512BW",
    "avx512_vbmi": "AVX512_VBMI",
    "avx512vbmi": "AVX512_VBMI",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx_int8": "AMX_INT8",
    "amx_bf16": "AMX_BF16",
    "neon": "NEON",
    "asimd": "NEON",
    "asimdhp": "FP16",
    "asimddp": "DOTPROD",
    "i8mm": "I8MM",
    "bf16": "BF16",
    "sve": "SVE",
    "sve2": "SVE2",
    "sme": "SME",
}

# sysctl name -> llama.cpp's name; https://developer.apple.com/documentation/kernel/1387446-sysctlbyname
_MAC = {
    "hw.optional.sse4_2": "SSE4.2",
    "hw.optional.avx1_0": "AVX",
    "hw.optional.avx2_0": "AVX2",
    "hw.optional.fma": "FMA",
    "hw.optional.f16c": "F16C",
    "hw.optional.bmi2": "BMI2",
    "hw.optional.avx512f": "AVX512F",
    "hw.optional.avx512bw": "AVX512BW",
    "hw.optional.AdvSIMD": "NEON",
    "hw.optional.arm.FEAT_FP16": "FP16",
    "hw.optional.arm.FEAT_DotProd": "DOTPROD",
    "hw.optional.arm.FEAT_I8MM": "I8MM",
    "hw.optional.arm.FEAT_BF16": "BF16",
    "hw.optional.arm.FEAT_SME": "SME",
}

# IsProcessorFeaturePresent's numbers (winnt.h). It has none for FMA and F16C; llama.cpp takes them to come with AVX2.
_WINDOWS = {
    38: ("SSE4.2",),
    39: ("AVX",),
    40: ("AVX2", "FMA", "F16C"),
    41: ("AVX512F",),
    19: ("NEON",),
    43: ("DOTPROD",),
    46: ("SVE",),
    47: ("SVE2",),
    66: ("I8MM",),
}


def read_instructions(cpuinfo: str, *, kind: str, sysctl: Callable[[str], str]) -> tuple[str, ...]:
    """Names in the order of the tables; empty when the system does not say. `cpuinfo` is Linux's text, else empty."""
    if cpuinfo:
        return _from_cpuinfo(cpuinfo)
    if kind == "darwin":
        return tuple(name for key, name in _MAC.items() if sysctl(key) not in ("", "0"))
    if kind == "win32":
        return _from_windows()
    return ()


def _from_cpuinfo(text: str) -> tuple[str, ...]:
    present: set[str] = set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            present.update(value.split())
    return tuple(dict.fromkeys(name for flag, name in _LINUX.items() if flag in present))


def _from_windows() -> tuple[str, ...]:
    if sys.platform != "win32":
        return ()
    ask = ctypes.windll.kernel32.IsProcessorFeaturePresent
    return tuple(name for number, names in _WINDOWS.items() if ask(number) for name in names)
