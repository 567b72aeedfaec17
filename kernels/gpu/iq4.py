# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-untyped,import-not-found"
"""IQ4_NL and IQ4_XS: the search of the reference with one sub-block of 32 a lane, as in k_quants.py."""

from itertools import pairwise

import triton
import triton.language as tl

from kernels.codebooks import IQ4_LEVELS
from kernels.gpu.lanes import (
    clamped,
    element_peak,
    first_block,
    kernel,
    layout,
    load_elements,
    load_parts,
    nearest_int,
    put,
    put_f16,
    reciprocal,
    signed_peak,
    stacked,
)

_IQ4_NL, _IQ4_XS = layout("IQ4_NL"), layout("IQ4_XS")
_LEVELS = tl.constexpr(tuple(float(level) for level in IQ4_LEVELS))
_MIDDLES = tl.constexpr(tuple((float(a) + float(b)) / 2 for a, b in pairwise(IQ4_LEVELS)))
_LOWEST = tl.constexpr(float(IQ4_LEVELS[0]))
_TINY = tl.constexpr(1e-15)  # a smaller sub-block counts as zero


@triton.jit
def _nearest_level(values):
    """The level nearest to each value; halfway the upper one; the highest for NaN."""
    level = tl.full(values.shape, _LOWEST, tl.float32)
    for k in tl.static_range(15):
        level = tl.where(values < _MIDDLES.value[k], level, _LEVELS.value[k + 1])
    return level


@triton.jit
def _nearest_code(values):
    """The code of that level."""
    code = tl.zeros(values.shape, tl.int32)
    for k in tl.static_range(15):
        code = tl.where(values < _MIDDLES.value[k], code, k + 1)
    return code


@triton.jit
def search_level_scale(x):
    """The scale of least x * x weighted error over sixteen trials: 32 elements [N, SUBS] -> [N, SUBS]."""
    peak = element_peak(x, 32)
    scale, best = tl.zeros_like(peak), tl.zeros_like(peak)
    for k in range(-8, 8):
        # The first pass takes the scale that gives the peak the lowest level, whatever its error.
        plain = k < -7
        inverse = tl.div_rn(tl.zeros_like(peak) + k + _LOWEST, peak)
        inverse = tl.where(plain, tl.div_rn(1.0, tl.div_rn(0.0 - peak, _LOWEST)), inverse)
        sum_qx, sum_q2 = tl.zeros_like(peak), tl.zeros_like(peak)
        for i in tl.static_range(32):
            q = _nearest_level(inverse * x[i])
            wq = x[i] * x[i] * q
            sum_qx = sum_qx + wq * x[i]
            sum_q2 = sum_q2 + wq * q
        better = (sum_q2 > 0) & (plain | (sum_qx * sum_qx > best * sum_q2))
        scale = tl.where(better, tl.div_rn(sum_qx, sum_q2), scale)
        best = tl.where(plain | better, scale * sum_qx, best)
    return tl.where(tl.abs(peak) < _TINY, 0.0, scale)


@kernel
def iq4_nl(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _IQ4_NL.value.size
    x = x_ptr + block * 32
    scale = search_level_scale(load_elements(x, inside, N, 1, 32))
    put_f16(at + _IQ4_NL.value.d, tl.reshape(scale, [N]), inside)
    codes = _nearest_code(reciprocal(scale)[:, :, None] * load_parts(x, inside, peak_ptr, N, 1, 32))
    put(at + _IQ4_NL.value.qs, stacked(codes, N, 1, 2, 16, 4), inside, 16)


@kernel
def iq4_xs(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _IQ4_XS.value.size
    x = x_ptr + block * 256
    scales = search_level_scale(load_elements(x, inside, N, 8, 32))
    d = tl.div_rn(signed_peak(scales, 8), -32.0)
    put_f16(at + _IQ4_XS.value.d, d, inside)
    integers = clamped(nearest_int(reciprocal(d)[:, None] * scales), -32, 31)
    biased = integers + 32
    put(at + _IQ4_XS.value.scales_l, stacked(biased & 15, N, 4, 2, 1, 4), inside, 4)
    high = stacked(biased >> 4, N, 1, 8, 1, 2)
    put(at + _IQ4_XS.value.scales_h, high >> (8 * tl.arange(0, 2))[None, :], inside, 2)
    inverse = reciprocal(d[:, None] * integers.to(tl.float32))
    codes = _nearest_code(inverse[:, :, None] * load_parts(x, inside, peak_ptr, N, 8, 32))
    put(at + _IQ4_XS.value.qs, stacked(codes, N, 8, 2, 16, 4), inside, 128)
