# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-untyped,import-not-found"
"""Q2_K to Q6_K: the searches of the reference with one sub-block a lane, its weights in the lane's registers.

Two views of the same weights. In a search, element i of every sub-block is a tensor [N, SUBS] of lanes and a sub-block
a tuple of such tensors: a loop over the tuple sums each sub-block left to right. For the codes, which take no sum, the
weights of N superblocks are one tensor [N, SUBS, SIZE], whose loads and stores are of neighbouring bytes.

A search gives no codes but what makes them again: the inverse scale (and low end) of the best candidate.
"""

import triton
import triton.language as tl

from kernels.formats import FORMATS
from kernels.gpu.lanes import (
    as_int8,
    clamped,
    element_peak,
    first_block,
    joined,
    kernel,
    largest,
    layout,
    load_elements,
    load_parts,
    nearest_code,
    nearest_int,
    put,
    put_f16,
    signed_peak,
    stacked,
)

_SIZE = tl.constexpr(FORMATS["Q4_K"].block_size)
_Q2_K, _Q3_K, _Q4_K, _Q5_K, _Q6_K = (layout(name) for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"))
_TINY = tl.constexpr(1e-15)  # a smaller sub-block counts as zero


# Scale and minimum: x ~ scale * q - minimum, q in 0..LEVELS.


@triton.jit
def _root_mean_square(x, SIZE: tl.constexpr):
    squares = tl.zeros_like(x[0])
    for i in tl.static_range(SIZE):
        squares = squares + x[i] * x[i]
    return tl.sqrt_rn(tl.div_rn(squares, 1.0 * SIZE))


@triton.jit
def _measure(difference, ABSOLUTE: tl.constexpr):
    return tl.abs(difference) if ABSOLUTE else difference * difference


@triton.jit
def _range_and_sums(x, mean, SIZE: tl.constexpr):
    """The smallest (at most 0) and largest element, the sum of the weights, and that of weight * x."""
    low, high = x[0], x[0]
    sum_w, sum_x = tl.zeros_like(mean), tl.zeros_like(mean)
    for i in tl.static_range(SIZE):
        low, high = tl.where(x[i] < low, x[i], low), tl.where(x[i] > high, x[i], high)
        weight = mean + tl.abs(x[i])
        sum_w = sum_w + weight
        sum_x = sum_x + weight * x[i]
    return tl.where(low > 0, 0.0, low), high, sum_w, sum_x


@triton.jit
def _trial(x, mean, inverse, low, SIZE: tl.constexpr, LEVELS: tl.constexpr):
    """The codes of one candidate, and the sums of w q, w q q and w q x."""
    codes = ()
    sum_l, sum_l2, sum_xl = tl.zeros_like(mean), tl.zeros_like(mean), tl.zeros_like(mean)
    for i in tl.static_range(SIZE):
        code = nearest_code(inverse * (x[i] - low), 0, LEVELS)
        codes = joined(codes, (code,))
        wl = (mean + tl.abs(x[i])) * code
        sum_l = sum_l + wl
        sum_l2 = sum_l2 + wl * code
        sum_xl = sum_xl + wl * x[i]
    return codes, sum_l, sum_l2, sum_xl


@triton.jit
def _error(x, mean, codes, scale, low, SIZE: tl.constexpr, ABSOLUTE: tl.constexpr):
    error = tl.zeros_like(mean)
    for i in tl.static_range(SIZE):
        error = error + (mean + tl.abs(x[i])) * _measure(scale * codes[i] + low - x[i], ABSOLUTE)
    return error


@triton.jit
def search_scale_and_minimum(
    x,
    mean,
    SIZE: tl.constexpr,
    LEVELS: tl.constexpr,
    FIRST: tl.constexpr,
    CANDIDATES: tl.constexpr,
    ABSOLUTE: tl.constexpr,
):
    """Scale, minimum, and (inverse, low) of their codes, each [N, SUBS]; a weight counts as mean + |x|.

    make_qkx2_quants. Candidate k divides LEVELS + FIRST + k / 10 by the range.
    """
    low, high, sum_w, sum_x = _range_and_sums(x, mean, SIZE)
    flat = high == low
    best, scale, best_inverse, best_low = mean, mean, mean, low
    step = tl.full(mean.shape, 0.1, tl.float32)
    for k in range(-1, CANDIDATES):
        # The first pass takes the plain range as it is. From then on `low` is the best minimum so far, not the smallest
        # weight: later candidates build on earlier ones.
        plain = k < 0
        inverse = tl.div_rn(tl.where(plain, 1.0 * LEVELS, (FIRST + step * k) + 1.0 * LEVELS), high - low)
        codes, sum_l, sum_l2, sum_xl = _trial(x, mean, inverse, low, SIZE, LEVELS)
        determinant = sum_w * sum_l2 - sum_l * sum_l
        trial_scale = tl.div_rn(sum_w * sum_xl - sum_x * sum_l, determinant)
        trial_low = tl.div_rn(sum_l2 * sum_x - sum_l * sum_xl, determinant)
        positive = trial_low > 0
        trial_scale = tl.where(positive, tl.div_rn(sum_xl, sum_l2), trial_scale)
        trial_scale = tl.where(plain, tl.div_rn(1.0, inverse), trial_scale)
        trial_low = tl.where(plain, low, tl.where(positive, 0.0, trial_low))
        error = _error(x, mean, codes, trial_scale, trial_low, SIZE, ABSOLUTE)
        better = plain | ((determinant > 0) & (error < best))
        best, scale = tl.where(better, error, best), tl.where(better, trial_scale, scale)
        best_inverse, best_low = tl.where(better, inverse, best_inverse), tl.where(better, low, best_low)
        low = tl.where(better, trial_low, low)
    return tl.where(flat, 0.0, scale), 0.0 - low, tl.where(flat, 0.0, best_inverse), best_low


@triton.jit
def _affine_codes(parts, d, minimum, inverse, low, LEVELS: tl.constexpr):
    """Codes [N, SUBS, SIZE] for the rounded scales d and minima [N, SUBS]; those of the search where d is 0."""
    again = tl.div_rn(parts + minimum[:, :, None], d[:, :, None])
    searched = inverse[:, :, None] * (parts - low[:, :, None])
    return clamped(nearest_int(tl.where(d[:, :, None] != 0, again, searched)), 0, LEVELS)


@triton.jit
def _put_six_bit(at, scales, minima, inside):
    """Eight 6-bit scales and minima [N, 8] in 12 bytes: four whole ones each, the others in nibbles and top bits."""
    N: tl.constexpr = scales.shape[0]
    lower = (tl.arange(0, 8) < 4)[None, :]
    first = tl.where(lower, scales, (scales >> 4) << 6)
    second = tl.where(lower, minima, (minima >> 4) << 6)
    third = tl.where(lower, 0, (scales & 15) | ((minima & 15) << 4))
    put(at, stacked(first, N, 1, 2, 4, 0), inside, 4)
    put(at + 4, stacked(second, N, 1, 2, 4, 0), inside, 4)
    put(at + 8, stacked(third, N, 1, 2, 4, 0), inside, 4)


@triton.jit
def _six_bit(values, at, inside):
    """Stores the f16 scale of values [N, 8]; gives it as stored, and the integers 0..63."""
    top = largest(values)
    d = put_f16(at, tl.div_rn(top, 63.0), inside)
    inverse = tl.where(top > 0, tl.div_rn(63.0, top), 0.0)
    return d, tl.minimum(nearest_int(inverse[:, None] * values) & 255, 63)


@triton.jit
def _q4_and_q5(
    x, at, inside, peak_ptr, N: tl.constexpr, LEVELS: tl.constexpr, FIRST: tl.constexpr, CANDIDATES: tl.constexpr
):
    """Stores d, dmin and scales, which lie alike in Q4_K and Q5_K, and gives the codes [N, 8, 32]."""
    elements = load_elements(x, inside, N, 8, 32)
    mean = _root_mean_square(elements, 32)
    scales, minima, inverse, low = search_scale_and_minimum(elements, mean, 32, LEVELS, FIRST, CANDIDATES, False)
    d, ls = _six_bit(scales, at + _Q4_K.value.d, inside)
    dmin, lm = _six_bit(minima, at + _Q4_K.value.dmin, inside)
    _put_six_bit(at + _Q4_K.value.scales, ls, lm, inside)
    d, dmin = d[:, None] * ls.to(tl.float32), dmin[:, None] * lm.to(tl.float32)
    return _affine_codes(load_parts(x, inside, peak_ptr, N, 8, 32), d, dmin, inverse, low, LEVELS)


@kernel
def q4_k(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q4_K.value.size
    codes = _q4_and_q5(x_ptr + block * _SIZE, at, inside, peak_ptr, N, 15, -1.0, 21)
    put(at + _Q4_K.value.qs, stacked(codes, N, 4, 2, 32, 4), inside, 128)


@kernel
def q5_k(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q5_K.value.size
    codes = _q4_and_q5(x_ptr + block * _SIZE, at, inside, peak_ptr, N, 31, -0.5, 16)
    put(at + _Q5_K.value.qh, stacked(codes >> 4, N, 1, 8, 32, 1), inside, 32)
    put(at + _Q5_K.value.qs, stacked(codes & 15, N, 4, 2, 32, 4), inside, 128)


@triton.jit
def _four_bit(values, at, inside):
    """Stores the f16 scale of values [N, 16]; gives it as stored, and integers, meant to be 0..15."""
    top = largest(values)
    some = top > 0
    d = put_f16(at, tl.where(some, tl.div_rn(top, 15.0), 0.0), inside)
    integers = nearest_int(tl.div_rn(15.0, top)[:, None] * values)
    return d, tl.where(some[:, None], integers, 0)


@kernel
def q2_k(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q2_K.value.size
    x = x_ptr + block * _SIZE
    elements = load_elements(x, inside, N, 16, 16)
    mean = tl.zeros_like(elements[0])
    scales, minima, inverse, low = search_scale_and_minimum(elements, mean, 16, 3, -0.5, 16, True)
    d, ls = _four_bit(scales, at + _Q2_K.value.d, inside)
    dmin, lm = _four_bit(minima, at + _Q2_K.value.dmin, inside)
    packed = ((ls & 255) | (lm << 4)) & 255
    put(at + _Q2_K.value.scales, packed, inside, 16)
    d, dmin = d[:, None] * (packed & 15).to(tl.float32), dmin[:, None] * (packed >> 4).to(tl.float32)
    codes = _affine_codes(load_parts(x, inside, peak_ptr, N, 16, 16), d, dmin, inverse, low, 3)
    put(at + _Q2_K.value.qs, stacked(codes, N, 2, 4, 32, 2), inside, 64)


# Scale alone: x ~ scale * q, q in -HALF..HALF-1.


@triton.jit
def _scale_sums(x, inverse, HALF: tl.constexpr):
    """The sums of w x q and w q q for the codes q of x * inverse, where w is x * x."""
    sum_lx, sum_l2 = tl.zeros_like(inverse), tl.zeros_like(inverse)
    for i in tl.static_range(16):
        code = nearest_code(inverse * x[i], -HALF, HALF - 1)
        weight = x[i] * x[i]
        sum_lx = sum_lx + weight * x[i] * code
        sum_l2 = sum_l2 + weight * code * code
    return sum_lx, sum_l2


@triton.jit
def search_scale(x, HALF: tl.constexpr):
    """Scale, the inverse that makes its codes, and whether the sub-block counts as zero, each [N, 16].

    make_qx_quants with x * x as weight: 18 trials around the scale of the largest weight.
    """
    peak = element_peak(x, 16)
    inverse = tl.div_rn(-1.0 * HALF, peak)
    best_inverse = inverse
    sum_lx, sum_l2 = _scale_sums(x, inverse, HALF)
    scale = tl.where(sum_l2 != 0, tl.div_rn(sum_lx, sum_l2), 0.0)
    best = scale * sum_lx
    step = tl.full(peak.shape, 0.1, tl.float32)
    for trial in range(18):
        k = trial - 9 + trial // 9  # -9..-1 and 1..9
        inverse = tl.div_rn(0.0 - (HALF + step * k), peak)
        sum_lx, sum_l2 = _scale_sums(x, inverse, HALF)
        better = (sum_l2 > 0) & (sum_lx * sum_lx > best * sum_l2)
        scale = tl.where(better, tl.div_rn(sum_lx, sum_l2), scale)
        best = tl.where(better, scale * sum_lx, best)
        best_inverse = tl.where(better, inverse, best_inverse)
    zero = tl.abs(peak) < _TINY
    return tl.where(zero, 0.0, scale), best_inverse, zero


@kernel
def q6_k(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q6_K.value.size
    x = x_ptr + block * _SIZE
    scales, best_inverse, zero = search_scale(load_elements(x, inside, N, 16, 16), 32)
    peak = signed_peak(scales, 16)
    some = tl.abs(peak) >= _TINY
    inverse = tl.div_rn(-128.0, peak)
    d = put_f16(at + _Q6_K.value.d, tl.where(some, tl.div_rn(1.0, inverse), 0.0), inside)
    integers = as_int8(tl.minimum(nearest_int(inverse[:, None] * scales), 127))
    put(at + _Q6_K.value.scales, tl.where(some[:, None], integers, 0), inside, 16)
    d = d[:, None] * integers.to(tl.float32)
    parts = load_parts(x, inside, peak_ptr, N, 16, 16)
    quotient = tl.where(d[:, :, None] != 0, tl.div_rn(parts, d[:, :, None]), parts * best_inverse[:, :, None])
    codes = clamped(nearest_int(quotient), -32, 31) + 32
    empty = ((d == 0) & zero) | (some == 0)[:, None]
    codes = tl.where(empty[:, :, None], 0, codes)
    put(at + _Q6_K.value.ql, stacked(codes & 15, N, 2, 2, 64, 4), inside, 128)
    put(at + _Q6_K.value.qh, stacked(codes >> 4, N, 2, 4, 32, 2), inside, 64)


@triton.jit
def _first_codes(x, inverse, HALF: tl.constexpr):
    codes = ()
    for i in tl.static_range(16):
        codes = joined(codes, (nearest_code(inverse * x[i], -HALF, HALF - 1),))
    return codes


@triton.jit
def _moved_code(x, code, sum_lx, sum_l2, HALF: tl.constexpr):
    """The code of one element where the others stay, and the sums with it; as they were unless the error falls."""
    weight = x * x
    rest_lx, rest_l2 = sum_lx - weight * x * code, sum_l2 - weight * code * code
    new = nearest_code(tl.div_rn(x * rest_l2, rest_lx), -HALF, HALF - 1)
    new_lx, new_l2 = rest_lx + weight * x * new, rest_l2 + weight * new * new
    better = (rest_lx > 0) & (new != code) & (new_l2 > 0)
    better = better & (new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2)
    return tl.where(better, new, code), tl.where(better, new_lx, sum_lx), tl.where(better, new_l2, sum_l2)


@triton.jit
def _sweep(x, codes, sum_lx, sum_l2, HALF: tl.constexpr):
    moved = ()
    for i in tl.static_range(16):
        code, sum_lx, sum_l2 = _moved_code(x[i], codes[i], sum_lx, sum_l2, HALF)
        moved = joined(moved, (code,))
    return moved, sum_lx, sum_l2


@triton.jit
def _four_bits_each(codes, HALF: tl.constexpr, FIRST: tl.constexpr):
    """Eight codes + HALF from FIRST on as one integer, so that they fit a lane."""
    word = tl.zeros_like(codes[0]).to(tl.int32)
    for i in tl.static_range(8):
        word = word | ((codes[FIRST + i].to(tl.int32) + HALF) << (4 * i))
    return word


@triton.jit
def descend_scale(x, HALF: tl.constexpr):
    """The scale after five sweeps of single-code moves, and its codes + HALF as two integers of eight (make_q3_quants).

    A sub-block that did not change in one sweep does not change in the next, so no lane needs to stop early.
    """
    peak = element_peak(x, 16)
    inverse = tl.div_rn(-1.0 * HALF, peak)
    codes = _first_codes(x, inverse, HALF)
    sum_lx, sum_l2 = _scale_sums(x, inverse, HALF)
    for _ in range(5):
        codes, sum_lx, sum_l2 = _sweep(x, codes, sum_lx, sum_l2, HALF)
    zero = tl.abs(peak) < _TINY
    scale = tl.where((sum_l2 > 0) & (zero == 0), tl.div_rn(sum_lx, sum_l2), 0.0)
    first, last = _four_bits_each(codes, HALF, 0), _four_bits_each(codes, HALF, 8)
    return scale, tl.where(zero, 0, first), tl.where(zero, 0, last)


@triton.jit
def _put_q3_scales(at, scales, inside):
    """Sixteen 6-bit scales [N, 16] in 12 bytes: low nibbles of the first and last eight, then high bit pairs."""
    N: tl.constexpr = scales.shape[0]
    put(at, stacked(scales & 15, N, 1, 2, 8, 4), inside, 8)
    put(at + 8, stacked(scales >> 4, N, 1, 4, 4, 2), inside, 4)


@kernel
def q3_k(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q3_K.value.size
    x = x_ptr + block * _SIZE
    scales, first, last = descend_scale(load_elements(x, inside, N, 16, 16), 4)
    peak = signed_peak(scales, 16)
    inverse, some = tl.div_rn(-32.0, peak), peak != 0
    integers = clamped(as_int8(nearest_int(inverse[:, None] * scales)), -32, 31)
    _put_q3_scales(at + _Q3_K.value.scales, tl.where(some[:, None], integers + 32, 0), inside)
    d = put_f16(at + _Q3_K.value.d, tl.where(some, tl.div_rn(1.0, inverse), 0.0), inside)
    d = (d[:, None] * integers.to(tl.float32))[:, :, None]
    parts = load_parts(x, inside, peak_ptr, N, 16, 16)
    i = tl.arange(0, 16)[None, None, :]
    searched = (tl.where(i < 8, first[:, :, None], last[:, :, None]) >> (4 * (i % 8))) & 15
    codes = tl.where(d != 0, clamped(nearest_int(tl.div_rn(parts, d)), -4, 3) + 4, searched)
    put(at + _Q3_K.value.hmask, stacked(codes >> 2, N, 1, 8, 32, 1), inside, 32)
    put(at + _Q3_K.value.qs, stacked(codes & 3, N, 2, 4, 32, 2), inside, 64)
