# mypy: allow-untyped-defs, allow-untyped-calls
"""Q4_1 and Q5_1 with lower error: the searches of the reference with a block a lane."""

import numpy as np

from kernels.best.cpu.frame import between, improve, stored_f16
from kernels.best.cpu.k_quants import affine_error, affine_sums
from kernels.best.cpu.parts import half, load_bytes
from kernels.best.searches import Q4_1, Q5_1
from kernels.cpu.halves import layout, put_f16
from kernels.cpu.lanes import (
    WIDE,
    inlined,
    kernel,
    larger,
    load,
    select,
    smaller,
    splat,
    store,
    to_bytes,
    to_float,
    to_int,
)

f32 = np.float32
i32 = np.int32

_Q4_1, _Q5_1 = layout("Q4_1"), layout("Q5_1")
_HUGE = f32(3e38)

_four_bit, _five_bit = between(0, 15), between(0, 31)


@inlined
def _fitted(sums, sum_w, sum_x):
    """Scale and low end of least squares for given codes."""
    sum_l, sum_l2, sum_xl = sums
    determinant = sum_w * sum_l2 - sum_l * sum_l
    return (sum_w * sum_xl - sum_x * sum_l) / determinant, (sum_l2 * sum_x - sum_l * sum_xl) / determinant


@inlined
def _search_line(xt, wt, room, how, known):
    """The f16 scale and minus the f16 low end of each block."""
    zero, one, worst = splat(f32(0), WIDE), splat(f32(1), WIDE), splat(-_HUGE, WIDE)
    low = load(xt, 0, WIDE)
    high, sum_w, sum_x = low, zero, zero
    for i in range(how.size):
        v, w = load(xt, i * WIDE, WIDE), load(wt, i * WIDE, WIDE)
        low, high = smaller(v, low), larger(v, high)
        sum_w = sum_w + w
        sum_x = sum_x + w * v
    span = high - low
    best, d, m = worst, span / splat(f32(how.levels), WIDE), low
    for p in range(how.stretches):
        stretched = span / splat(f32(how.levels) + f32(how.first) + f32(how.step) * f32(p), WIDE)
        for q in range(how.shifts):
            start = low + stretched * splat(f32(how.shift) + f32(how.shift_step) * f32(q), WIDE)
            sums = affine_sums(xt, wt, how, one / stretched, start)
            trial, trial_low = _fitted(sums, sum_w, sum_x)
            gain = trial * sums[2] + trial_low * sum_x
            better = gain > best
            best, d, m = select(better, gain, best), select(better, trial, d), select(better, trial_low, m)
    d, m = half(d), half(m)
    error = affine_error(xt, wt, how, d, m, False)
    trial, trial_low = d, m
    for _ in range(how.rounds):
        trial, trial_low = _fitted(affine_sums(xt, wt, how, one / trial, trial_low), sum_w, sum_x)
        trial, trial_low = half(trial), half(trial_low)
        trial_error = affine_error(xt, wt, how, trial, trial_low, False)
        better = trial_error < error
        error = select(better, trial_error, error)
        d, m = select(better, trial, d), select(better, trial_low, m)
    return one, one, d, zero - m


@inlined
def _put_front(block, d, minimum):
    put_f16(block, _Q4_1.d, d)
    put_f16(block, _Q4_1.m, f32(0) - minimum)


@inlined
def _get_front(block, at, scales, minima):
    scales[0] = stored_f16(block, at + _Q4_1.d)
    minima[0] = f32(0) - stored_f16(block, at + _Q4_1.m)


@inlined
def _pack_q4_1(block, d, dmin, scales, minima, j0, levels, start):
    _put_front(block, scales[j0], minima[j0])
    low, high = to_int(load(levels, start, 16)), to_int(load(levels, start + 16, 16))
    store(block, _Q4_1.qs, to_bytes(low | (high << splat(4, 16))))


@inlined
def _unpack_q4_1(block, at, scales, minima, levels):
    _get_front(block, at, scales, minima)
    packed = load_bytes(block, at + _Q4_1.qs, 16)
    store(levels, 0, to_float(packed & splat(15, 16)))
    store(levels, 16, to_float(packed >> splat(4, 16)))


@kernel
def q4_1(x, importance, out, first, last):
    improve(x, importance, out, first, last, Q4_1, _Q4_1.size, False, _search_line, _four_bit, _pack_q4_1, _unpack_q4_1)


@inlined
def _pack_q5_1(block, d, dmin, scales, minima, j0, levels, start):
    _put_front(block, scales[j0], minima[j0])
    low, high = to_int(load(levels, start, 16)), to_int(load(levels, start + 16, 16))
    store(block, _Q5_1.qs, to_bytes((low & splat(15, 16)) | ((high & splat(15, 16)) << splat(4, 16))))
    for k in range(4):
        block[_Q5_1.qh + k] = 0
    for i in range(32):
        if levels[start + i] >= 16:
            block[_Q5_1.qh + i // 8] |= i32(1) << i32(i % 8)


@inlined
def _unpack_q5_1(block, at, scales, minima, levels):
    _get_front(block, at, scales, minima)
    packed = load_bytes(block, at + _Q5_1.qs, 16)
    store(levels, 0, to_float(packed & splat(15, 16)))
    store(levels, 16, to_float(packed >> splat(4, 16)))
    for i in range(32):
        if (i32(block[at + _Q5_1.qh + i // 8]) >> i32(i % 8)) & i32(1):
            levels[i] += f32(16)


@kernel
def q5_1(x, importance, out, first, last):
    improve(x, importance, out, first, last, Q5_1, _Q5_1.size, False, _search_line, _five_bit, _pack_q5_1, _unpack_q5_1)
