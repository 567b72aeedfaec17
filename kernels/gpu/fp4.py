# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-untyped,import-not-found"
"""MXFP4 and NVFP4: the levels are compared one by one, as in the reference."""

import triton
import triton.language as tl

from kernels.gpu.lanes import bits_of, first_block, float_of, kernel, layout, load_parts, put, stacked
from kernels.reference.fp4 import LARGEST_UE4M3, LEVELS

_MXFP4, _NVFP4 = layout("MXFP4"), layout("NVFP4")
_LEVELS = tl.constexpr(tuple(float(level) for level in LEVELS))
_LARGEST_UE4M3 = tl.constexpr(LARGEST_UE4M3)
_MANTISSA = tl.constexpr(0x7FFFFF)
_SMALLEST_NORMAL = tl.constexpr(2.0**-126)
_SLOPE = tl.constexpr(-1.4426950408889634 * 2.0**-24)  # of the logarithm, for one float less than a power of two


@triton.jit
def _nearest_level(parts, d):
    """The first code whose level times d [N, SUBS] is nearest to the weights [N, SUBS, SIZE]."""
    scale = d[:, :, None]
    codes = tl.zeros(parts.shape, tl.int32)
    best = tl.abs(scale * _LEVELS.value[0] - parts)
    for code in tl.static_range(1, 16):
        error = tl.abs(scale * _LEVELS.value[code] - parts)
        better = error < best
        codes, best = tl.where(better, code, codes), tl.where(better, error, best)
    return codes


@triton.jit
def _e8m0(peak):
    """The exponent byte that puts the peak between 4 and 8, 0 for zeros.

    The reference rounds the logarithm to float32, and counts as 2**k what it rounds to k. Just below a power of two
    the logarithm is a straight line as far as float32 can tell.
    """
    small = peak < _SMALLEST_NORMAL
    bits = bits_of(tl.where(small, peak * 16777216.0, peak))
    power = (bits >> 23) - tl.where(small, 150, 126)  # of two, above the peak
    below = 0x800000 - (bits & _MANTISSA)
    logarithm = power.to(tl.float32) + below.to(tl.float32) * _SLOPE
    exponent = tl.where(logarithm >= power.to(tl.float32), power, power - 1)
    return tl.where(peak > 0, (exponent + 125) & 255, 0)


@triton.jit
def _e8m0_halves(e):
    """2**(e - 128)."""
    return float_of(tl.where(e < 2, 0x00200000 << (e & 1), (e - 1) << 23))


@triton.jit
def _ue4m3(values):
    """The unsigned E4M3 byte of values >= 0, halves up."""
    small = tl.minimum(values * 512.0 + 0.5, 7.0).to(tl.int32)
    rounded = ((bits_of(values) + (1 << 19)) >> 20) - (120 << 3)
    return tl.where(values < 0.015625, small, tl.where(rounded < 120, rounded, _LARGEST_UE4M3))


@triton.jit
def _ue4m3_halves(bits):
    """Half of what the byte says."""
    return tl.where(bits < 8, bits.to(tl.float32) * 0.0009765625, float_of((bits << 20) + (119 << 23)))


@kernel
def mxfp4(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _MXFP4.value.size
    parts = load_parts(x_ptr + block * 32, inside, peak_ptr, N, 1, 32)
    e = _e8m0(tl.max(tl.abs(parts), axis=2))
    put(at + _MXFP4.value.e, e, inside, 1)
    codes = _nearest_level(parts, _e8m0_halves(e))
    put(at + _MXFP4.value.qs, stacked(codes, N, 1, 2, 16, 4), inside, 16)


@kernel
def nvfp4(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _NVFP4.value.size
    parts = load_parts(x_ptr + block * 64, inside, peak_ptr, N, 4, 16)
    scales = _ue4m3(tl.div_rn(tl.max(tl.abs(parts), axis=2), 6.0))
    put(at + _NVFP4.value.d, scales, inside, 4)
    codes = _nearest_level(parts, _ue4m3_halves(scales))
    put(at + _NVFP4.value.qs, stacked(codes, N, 4, 2, 8, 4), inside, 32)
