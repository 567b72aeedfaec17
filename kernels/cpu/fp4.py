# mypy: allow-untyped-defs, allow-untyped-calls
"""MXFP4 and NVFP4: the weights that share a scale are one vector, and a code is a count of limits passed.

Differences of float32 are exact where two levels compete, so the nearest level follows from the midpoints; weights so
large beside their scale that differences are not (NVFP4's scale ends at 448) are compared level by level, as GGML does.
"""

import numpy as np

from kernels.cpu.halves import MAGNITUDE, layout
from kernels.cpu.lanes import (
    absolute,
    bits_of,
    first_half,
    inlined,
    kernel,
    larger,
    largest,
    load_source,
    scalar_bits,
    scalar_float,
    second_half,
    select,
    smaller,
    splat,
    store,
    to_bytes,
)

f32 = np.float32
i32 = np.int32

_MXFP4, _NVFP4 = layout("MXFP4"), layout("NVFP4")
_INFINITY = f32(np.inf)
_SMALLEST_NORMAL = i32(0x00800000)
_LEVELS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)
_LARGEST_UE4M3 = i32(0x7E)
_INEXACT = i32(np.float32(2.0**20 * 224).view(np.int32))  # weights that dwarf the largest scale


def _counted_as_next_power() -> np.ndarray:
    """How many floats below 2**(k + 1) have a logarithm that rounds to k + 1, for k from -149 to 127."""
    k = np.arange(-149, 128)[:, None]
    below = np.arange(1, 129) * 2.0**-24
    counted = (k + 1 + np.log2(1 - below)).astype(np.float32) >= k + 1
    counts: np.ndarray = np.count_nonzero(counted, axis=1).astype(np.int32)
    return counts


_ROUNDED_UP = _counted_as_next_power()


@inlined
def _e8m0(peak):
    """The exponent byte of the bits of the largest magnitude."""
    if peak == 0:
        return i32(0)
    k = i32(-127)
    if peak < _SMALLEST_NORMAL:
        peak, k = scalar_bits(scalar_float(peak) * f32(2.0**24)), i32(-151)
    k += peak >> i32(23)
    below = _SMALLEST_NORMAL - (peak & i32(0x7FFFFF))
    if below <= _ROUNDED_UP[k + 149]:
        k += i32(1)
    return (k + i32(125)) & i32(255)


@inlined
def _ue4m3(value):
    """The unsigned E4M3 byte of a float32 >= 0, halves up."""
    if value < f32(2.0**-6):
        return i32(min(value * f32(512) + f32(0.5), f32(7)))
    rounded = ((scalar_bits(value) + i32(1 << 19)) >> i32(20)) - i32(120 << 3)
    return rounded if rounded < i32(15 << 3) else _LARGEST_UE4M3


@inlined
def _passed(magnitude, limit, n):
    return select(magnitude > splat(limit, n), splat(1, n), splat(0, n))


@inlined
def _codes_by_limits(v, d, n):
    """The nearest level of each weight; on a limit the one nearer to zero, which GGML meets first."""
    magnitude = absolute(v)
    seven, ten = f32(7) * d, f32(10) * d
    if f32(8) * d == _INFINITY:
        seven = ten = _INFINITY
    low = _passed(magnitude, f32(0.5) * d, n) + _passed(magnitude, f32(1.5) * d, n)
    middle = _passed(magnitude, f32(2.5) * d, n) + _passed(magnitude, f32(3.5) * d, n)
    high = _passed(magnitude, f32(5) * d, n) + _passed(magnitude, seven, n) + _passed(magnitude, ten, n)
    code = low + middle + high
    sign = (bits_of(v) >> splat(28, n)) & splat(8, n)
    return select(code == splat(0, n), code, code | sign)


@inlined
def _codes_by_levels(v, d, n):
    codes, best = splat(0, n), absolute(v)
    for code in range(1, 16):
        error = absolute(splat(_LEVELS[code] * d, n) - v)
        codes = select(error < best, splat(code, n), codes)
        best = smaller(error, best)
    return codes


@inlined
def _put_nibbles(out, at, codes, half):
    store(out, at, to_bytes(first_half(codes) | (second_half(codes) << splat(4, half))))


@kernel
def mxfp4(x, out, first, last):
    peak = i32(0)
    for b in range(first, last):
        v = load_source(x, 32 * b, 32)
        bits = largest(bits_of(v) & splat(MAGNITUDE, 32))
        peak = max(peak, bits)
        e = _e8m0(bits)
        d = scalar_float(i32(0x00200000) << e if e < 2 else (e - i32(1)) << i32(23))
        at = b * _MXFP4.size
        out[at] = e
        _put_nibbles(out, at + _MXFP4.qs, _codes_by_limits(v, d, 32), 16)
    return peak


@kernel
def nvfp4(x, out, first, last):
    peak = splat(0, 16)
    for b in range(first, last):
        at = b * _NVFP4.size
        for part in range(4):
            v = load_source(x, 64 * b + 16 * part, 16)
            magnitude = bits_of(v) & splat(MAGNITUDE, 16)
            peak = larger(peak, magnitude)
            bits = largest(magnitude)
            scale = _ue4m3(scalar_float(bits) / f32(6))
            out[at + part] = scale
            # Half the scale, and infinite for 0, so that no limit is passed.
            d = scalar_float((scale << i32(20)) + i32(119 << 23)) if scale >= 8 else f32(scale) * f32(2.0**-10)
            limit_scale = d if scale > 0 else _INFINITY
            codes = _codes_by_levels(v, d, 16) if bits >= _INEXACT else _codes_by_limits(v, limit_scale, 16)
            _put_nibbles(out, at + _NVFP4.qs + 8 * part, codes, 8)
    return largest(peak)
