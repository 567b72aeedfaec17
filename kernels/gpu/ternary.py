# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-untyped,import-not-found"
"""TQ1_0, TQ2_0 and Q2_0: -1, 0 or 1 times the largest magnitude of a block."""

import triton
import triton.language as tl

from kernels.gpu.lanes import first_block, kernel, layout, load_rows, note_peak, put, put_f16, reciprocal, stacked

_TQ1_0, _TQ2_0, _Q2_0 = layout("TQ1_0"), layout("TQ2_0"), layout("Q2_0")
_INFINITY = tl.constexpr(float("inf"))


@triton.jit
def _put_d(x, at, inside, peak_ptr):
    """Stores the largest magnitude of each row and gives the reciprocal of it."""
    note_peak(peak_ptr, x)
    d = tl.max(tl.abs(x), axis=1)
    put_f16(at, d, inside)
    return reciprocal(d)


@triton.jit
def _three_levels(x, inverse, UNKNOWN: tl.constexpr):
    """0, 1 or 2 for weights near -d, 0 or d; UNKNOWN where 1 / d overflows."""
    scaled = x * inverse[:, None]
    codes = tl.where(scaled >= 0.5, 2, tl.where(scaled <= -0.5, 0, 1))
    return tl.where(inverse[:, None] == _INFINITY, UNKNOWN, codes)


@triton.jit
def _put_trits(x, inverse, at, inside, TRITS: tl.constexpr, BYTES: tl.constexpr):
    """BYTES bytes of TRITS trits, BYTES weights apart, as the fraction 0.t0t1t2t3t4 in base 3 of 256, rounded up."""
    number = _three_levels(load_rows(x, inside, BYTES), inverse, 1)
    for k in tl.static_range(1, 5):
        number = number * 3
        if k < TRITS:
            number = number + _three_levels(load_rows(x + k * BYTES, inside, BYTES), inverse, 1)
    put(at, (number * 256 + 242) // 243, inside, BYTES)


@kernel
def tq1_0(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _TQ1_0.value.size
    x = x_ptr + block * 256
    inverse = _put_d(load_rows(x, inside, 256), at + _TQ1_0.value.d, inside, peak_ptr)
    _put_trits(x, inverse, at + _TQ1_0.value.qs, inside, 5, 32)
    _put_trits(x + 160, inverse, at + _TQ1_0.value.qs + 32, inside, 5, 16)
    _put_trits(x + 240, inverse, at + _TQ1_0.value.qh, inside, 4, 4)


@kernel
def tq2_0(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _TQ2_0.value.size
    x = load_rows(x_ptr + block * 256, inside, 256)
    inverse = _put_d(x, at + _TQ2_0.value.d, inside, peak_ptr)
    put(at + _TQ2_0.value.qs, stacked(_three_levels(x, inverse, 1), N, 2, 4, 32, 2), inside, 64)


@kernel
def q2_0(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q2_0.value.size
    x = load_rows(x_ptr + block * 64, inside, 64)
    inverse = _put_d(x, at + _Q2_0.value.d, inside, peak_ptr)
    put(at + _Q2_0.value.qs, stacked(_three_levels(x, inverse, 0), N, 16, 4, 1, 2), inside, 16)
