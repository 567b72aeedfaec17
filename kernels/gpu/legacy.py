# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-untyped,import-not-found"
"""Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: the weights of N blocks are a matrix [N, 32], one scale a row.

Nothing but largest and smallest values goes across a row, and those do not depend on an order.
"""

import triton
import triton.language as tl

from kernels.gpu.lanes import (
    bits_of,
    first_block,
    float_of,
    kernel,
    layout,
    load_rows,
    note_peak,
    pick_first,
    put,
    put_f16,
    reciprocal,
    signed_peak,
    stacked,
    truncated,
)

_Q4_0, _Q4_1, _Q5_0, _Q5_1, _Q8_0 = (layout(name) for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"))

_SIGN = tl.constexpr(-0x80000000)
_BELOW_HALF = tl.constexpr(0x3EFFFFFF)  # the bits of the largest float32 below 0.5


@triton.jit
def _load(x_ptr, peak_ptr, inside, N: tl.constexpr):
    x = load_rows(x_ptr + (first_block(N) + tl.arange(0, N)) * 32, inside, 32)
    note_peak(peak_ptr, x)
    return x


@triton.jit
def _put_nibbles(at, codes, inside, N: tl.constexpr):
    """Weight j in the low nibble of byte j, weight j + 16 in the high one."""
    put(at, stacked(codes & 15, N, 1, 2, 16, 4), inside, 16)


@triton.jit
def _put_fifth_bits(at, codes, inside, N: tl.constexpr):
    """The fifth bits in weight order."""
    put(at, stacked(codes >> 4, N, 4, 8, 1, 1), inside, 4)


@triton.jit
def _symmetric(x, at, inside, HALF_RANGE: tl.constexpr):
    """Stores d of x ~ d * (q - HALF_RANGE) at the start of each block and gives the codes."""
    d = tl.div_rn(signed_peak(x, 32), -1.0 * HALF_RANGE)
    put_f16(at, d, inside)
    return tl.minimum(truncated(x * reciprocal(d)[:, None] + (HALF_RANGE + 0.5)), 2 * HALF_RANGE - 1)


@triton.jit
def _with_minimum(x, at, inside, LEVELS: tl.constexpr):
    """Stores d and m of x ~ d * q + m at the start of each block and gives the codes."""
    low = pick_first(x, x == tl.min(x, axis=1)[:, None], 32)
    high = pick_first(x, x == tl.max(x, axis=1)[:, None], 32)
    d = tl.div_rn(high - low, 1.0 * LEVELS)
    put_f16(at + _Q4_1.value.d, d, inside)
    put_f16(at + _Q4_1.value.m, low, inside)
    return tl.minimum(truncated((x - low[:, None]) * reciprocal(d)[:, None] + 0.5), LEVELS)


@kernel
def q4_0(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q4_0.value.size
    codes = _symmetric(_load(x_ptr, peak_ptr, inside, N), at, inside, 8)
    _put_nibbles(at + _Q4_0.value.qs, codes, inside, N)


@kernel
def q5_0(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q5_0.value.size
    codes = _symmetric(_load(x_ptr, peak_ptr, inside, N), at, inside, 16)
    _put_fifth_bits(at + _Q5_0.value.qh, codes, inside, N)
    _put_nibbles(at + _Q5_0.value.qs, codes, inside, N)


@kernel
def q4_1(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q4_1.value.size
    codes = _with_minimum(_load(x_ptr, peak_ptr, inside, N), at, inside, 15)
    _put_nibbles(at + _Q4_1.value.qs, codes, inside, N)


@kernel
def q5_1(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q5_1.value.size
    codes = _with_minimum(_load(x_ptr, peak_ptr, inside, N), at, inside, 31)
    _put_fifth_bits(at + _Q5_1.value.qh, codes, inside, N)
    _put_nibbles(at + _Q5_1.value.qs, codes, inside, N)


@kernel
def q8_0(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q8_0.value.size
    x = _load(x_ptr, peak_ptr, inside, N)
    d = tl.div_rn(tl.max(tl.abs(x), axis=1), 127.0)
    put_f16(at + _Q8_0.value.d, d, inside)
    scaled = x * reciprocal(d)[:, None]
    # Adding almost a half and cutting off rounds halves away from zero.
    away = float_of((bits_of(scaled) & _SIGN) | _BELOW_HALF)
    put(at + _Q8_0.value.qs, truncated(scaled + away), inside, 32)
