# mypy: allow-untyped-defs, allow-untyped-calls
"""IQ4_NL and IQ4_XS: the search of the reference with one sub-block of 32 a lane, WIDE of them at once.

A group is WIDE sub-blocks that follow each other. Row i of `xt` holds element i of every sub-block, so that a loop over
i sums each left to right. Spare lanes of the last group compute on what the group before left there.
"""

from typing import Any

import numpy as np
from llvmlite import ir

from kernels.codebooks import IQ4_LEVELS
from kernels.cpu.halves import MAGNITUDE, layout, nearest_int_scalar, put_f16
from kernels.cpu.lanes import (
    WIDE,
    Lanes,
    absolute,
    bits_of,
    first_half,
    inlined,
    kernel,
    larger,
    largest,
    load,
    load_source,
    operation,
    root,
    second_half,
    select,
    splat,
    store,
    to_bytes,
    transpose,
)

f32 = np.float32
i32 = np.int32

_NL, _XS = layout("IQ4_NL"), layout("IQ4_XS")
_LOWEST = f32(IQ4_LEVELS[0])
_SUPERBLOCKS = WIDE // 8
_TINY = f32(1e-15)
_MIDDLES = [float(middle) for middle in (IQ4_LEVELS[:-1].astype(f32) + IQ4_LEVELS[1:].astype(f32)) / f32(2)]


def _ladder(builder: Any, lanes: Any, value: Any, kind: Any, rungs: list[Any]) -> Any:
    """rungs[k] where k middles are not above the value; the last for NaN."""

    def constant(scalar: Any, number: Any) -> Any:
        return ir.Constant(ir.VectorType(scalar, lanes.n), [number] * lanes.n)

    found = constant(kind, rungs[0])
    for middle, rung in zip(_MIDDLES, rungs[1:], strict=True):
        below = builder.fcmp_ordered("<", value, constant(ir.FloatType(), middle))
        found = builder.select(below, found, constant(kind, rung))
    return found


@operation
def _nearest_level(typing_context, lanes):
    """The nearest level of each float; halfway the upper one; the highest for NaN."""

    def emit(context, builder, sig, args):
        return _ladder(builder, lanes, args[0], ir.FloatType(), [float(level) for level in IQ4_LEVELS])

    return lanes(lanes), emit


@operation
def _nearest_code(typing_context, lanes):
    """The code of the nearest level."""

    def emit(context, builder, sig, args):
        return _ladder(builder, lanes, args[0], ir.IntType(32), list(range(16)))

    return Lanes("i32", lanes.n)(lanes), emit


@inlined
def _load_group(x, at, count, buffer, xt):
    """Copies `count` weights as floats, also in lanes, and gives the largest magnitude, as bits."""
    peak = splat(0, 16)
    for i in range(0, count, 16):
        v = load_source(x, at + i, 16)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 16))
        store(buffer, i, v)
    _to_lanes(buffer, xt)
    return largest(peak)


@inlined
def _to_lanes(buffer, target):
    for lane in range(0, WIDE, 16):
        for i in range(0, 32, 16):
            transpose(buffer, 32 * lane + i, 32, target, i * WIDE + lane, WIDE)


@inlined
def _square(xt, wt):
    """The weights without importance."""
    for i in range(0, 32 * WIDE, WIDE):
        v = load(xt, i, WIDE)
        store(wt, i, v * v)


@inlined
def _load_importance(importance, at, count, buffer, wt):
    """The importance of `count` weights from `at` on, into lanes."""
    columns = importance.size
    for start in range(0, count, 32):
        column = (at + start) % columns
        for i in range(0, 32, 16):
            store(buffer, start + i, load(importance, column + i, 16))
    _to_lanes(buffer, wt)


@inlined
def _weigh(xt, wt, sigma2):
    """Makes weights of the importance in `wt`."""
    for i in range(0, 32 * WIDE, WIDE):
        v = load(xt, i, WIDE)
        store(wt, i, load(wt, i, WIDE) * root(sigma2 + v * v))


@inlined
def _sums(xt, wt, inverse):
    """sum(w q x) and sum(w q q) for the levels q nearest to x * inverse."""
    sum_qx, sum_q2 = splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(0, 32 * WIDE, WIDE):
        v = load(xt, i, WIDE)
        q = _nearest_level(inverse * v)
        wq = load(wt, i, WIDE) * q
        sum_qx = sum_qx + wq * v
        sum_q2 = sum_q2 + wq * q
    return sum_qx, sum_q2


@inlined
def _search(xt, wt, scales):
    """The scale of each sub-block, best of sixteen trials."""
    zero = splat(f32(0), WIDE)
    magnitude, peak = zero, zero
    for i in range(0, 32 * WIDE, WIDE):
        v = load(xt, i, WIDE)
        found = absolute(v) > magnitude
        magnitude, peak = select(found, absolute(v), magnitude), select(found, v, peak)
    inverse = splat(f32(1), WIDE) / ((zero - peak) / splat(_LOWEST, WIDE))
    sum_qx, sum_q2 = _sums(xt, wt, inverse)
    scale = select(sum_q2 > zero, sum_qx / sum_q2, zero)
    best = scale * sum_qx
    for k in range(-7, 8):
        inverse = splat(f32(k) + _LOWEST, WIDE) / peak
        sum_qx, sum_q2 = _sums(xt, wt, inverse)
        better = (sum_q2 > zero) & (sum_qx * sum_qx > best * sum_q2)
        scale = select(better, sum_qx / sum_q2, scale)
        best = select(better, scale * sum_qx, best)
    store(scales, 0, select(magnitude < splat(_TINY, WIDE), zero, scale))


@inlined
def _reciprocal(value):
    return f32(1) / value if value != 0 else f32(0)


@inlined
def _put_codes(buffer, at, inverse, out, target):
    """Sixteen bytes of nibbles: weight j low, weight j + 16 high."""
    codes = _nearest_code(splat(inverse, 32) * load(buffer, at, 32))
    store(out, target, to_bytes(first_half(codes) | (second_half(codes) << splat(4, 16))))


@inlined
def _finish_nl(buffer, scales, out, first, count):
    for j in range(count):
        at = (first + j) * _NL.size
        put_f16(out, at + _NL.d, scales[j])
        if scales[j] != scales[j]:  # the sums overflowed: GGML stores the NaN that x86 makes of inf / inf
            out[at + _NL.d + 1] = 0xFE
        _put_codes(buffer, 32 * j, _reciprocal(scales[j]), out, at + _NL.qs)


@inlined
def _finish_xs(buffer, scales, out, at, s):
    """Superblock s of the group: d, scales and codes."""
    magnitude, peak = f32(0), f32(0)
    for j in range(8 * s, 8 * s + 8):
        if abs(scales[j]) > magnitude:
            magnitude, peak = abs(scales[j]), scales[j]
    d = -peak / f32(32)
    put_f16(out, at + _XS.d, d)
    inverse, high = _reciprocal(d), i32(0)
    for j in range(8):
        integer = max(i32(-32), min(i32(31), nearest_int_scalar(inverse * scales[8 * s + j])))
        _put_codes(buffer, 256 * s + 32 * j, _reciprocal(d * f32(integer)), out, at + _XS.qs + 16 * j)
        biased = integer + i32(32)
        high |= (biased >> i32(4)) << i32(2 * j)
        if j % 2 == 0:
            out[at + _XS.scales_l + j // 2] = biased & i32(15)
        else:
            out[at + _XS.scales_l + j // 2] |= (biased & i32(15)) << i32(4)
    out[at + _XS.scales_h] = high & i32(255)
    out[at + _XS.scales_h + 1] = high >> i32(8)


@kernel
def iq4_nl(x, out, first, last):
    buffer, xt, wt = np.zeros(32 * WIDE, f32), np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    scales, peak = np.empty(WIDE, f32), i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, _load_group(x, 32 * b, 32 * count, buffer, xt))
        _square(xt, wt)
        _search(xt, wt, scales)
        _finish_nl(buffer, scales, out, b, count)
    return peak


@kernel
def iq4_nl_weighted(x, importance, out, first, last):
    buffer, xt, wt = np.zeros(32 * WIDE, f32), np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    weights, scales, peak = np.zeros(32 * WIDE, f32), np.empty(WIDE, f32), i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, _load_group(x, 32 * b, 32 * count, buffer, xt))
        _load_importance(importance, 32 * b, 32 * count, weights, wt)
        total = splat(f32(0), WIDE)
        for i in range(0, 32 * WIDE, WIDE):
            v = load(xt, i, WIDE)
            total = total + v * v
        _weigh(xt, wt, total * splat(f32(2) / f32(32), WIDE))
        _search(xt, wt, scales)
        _finish_nl(buffer, scales, out, b, count)
    return peak


@kernel
def iq4_xs(x, out, first, last):
    buffer, xt, wt = np.zeros(32 * WIDE, f32), np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    scales, peak = np.empty(WIDE, f32), i32(0)
    for b in range(first, last, _SUPERBLOCKS):
        count = min(_SUPERBLOCKS, last - b)
        peak = max(peak, _load_group(x, 256 * b, 256 * count, buffer, xt))
        _square(xt, wt)
        _search(xt, wt, scales)
        for s in range(count):
            _finish_xs(buffer, scales, out, (b + s) * _XS.size, s)
    return peak


@kernel
def iq4_xs_weighted(x, importance, out, first, last):
    buffer, xt, wt = np.zeros(32 * WIDE, f32), np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    weights, scales, peak = np.zeros(32 * WIDE, f32), np.empty(WIDE, f32), i32(0)
    for b in range(first, last, _SUPERBLOCKS):
        count = min(_SUPERBLOCKS, last - b)
        peak = max(peak, _load_group(x, 256 * b, 256 * count, buffer, xt))
        _load_importance(importance, 256 * b, 256 * count, weights, wt)
        for s in range(_SUPERBLOCKS):
            total = f32(0)
            for i in range(256 * s, 256 * s + 256):
                total += buffer[i] * buffer[i]
            for j in range(8 * s, 8 * s + 8):
                scales[j] = total * (f32(2) / f32(256))
        _weigh(xt, wt, load(scales, 0, WIDE))
        _search(xt, wt, scales)
        for s in range(count):
            _finish_xs(buffer, scales, out, (b + s) * _XS.size, s)
    return peak
