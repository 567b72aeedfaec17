# mypy: allow-untyped-defs, allow-untyped-calls
"""TQ1_0, TQ2_0 and Q2_0: one pass for the largest magnitude of a block, one that compares with half of it.

Where 1 / d overflows (d is subnormal) GGML's casts make every code of TQ1_0 and TQ2_0 a 1 and every code of Q2_0 a 0.
"""

import numpy as np

from kernels.cpu.halves import MAGNITUDE, layout, put_f16
from kernels.cpu.lanes import (
    Lanes,
    bits_of,
    inlined,
    kernel,
    larger,
    largest,
    load_source,
    operation,
    scalar_float,
    select,
    splat,
    store,
    to_bytes,
)

f32 = np.float32
i32 = np.int32

_TQ1_0, _TQ2_0, _Q2_0 = layout("TQ1_0"), layout("TQ2_0"), layout("Q2_0")
_INFINITY = f32(np.inf)


@operation
def quads(typing_context, lanes):
    """Byte lanes, four to an integer, the first lowest."""
    result = Lanes("i32", lanes.n // 4)

    def emit(context, builder, sig, args):
        return builder.bitcast(args[0], result.llvm)

    return result(lanes), emit


@inlined
def _peak(x, at, size):
    """The bits of the largest magnitude of `size` weights."""
    peak = splat(0, 32)
    for i in range(0, size, 32):
        peak = larger(peak, bits_of(load_source(x, at + i, 32)) & splat(MAGNITUDE, 32))
    return largest(peak)


@inlined
def _reciprocal(d):
    """1 / d, and 0 where d is 0 or too small."""
    inverse = f32(1) / d
    return inverse if abs(inverse) < _INFINITY else f32(0)


@inlined
def _trit(x, at, inverse, n):
    """0, 1 or 2 for weights near -d, 0 or d."""
    scaled = load_source(x, at, n) * splat(inverse, n)
    upper = select(scaled >= splat(f32(0.5), n), splat(2, n), splat(1, n))
    return select(scaled <= splat(f32(-0.5), n), splat(0, n), upper)


@inlined
def _put_trits(x, at, inverse, out, out_at, count, n):
    """n bytes of `count` trits, n weights apart: q * 256 / 243 rounded up, where 4316 / 2**20 divides by 243."""
    number = splat(0, n)
    for k in range(count):
        number = number * splat(3, n) + _trit(x, at + k * n, inverse, n)
    if count == 4:
        number = number * splat(3, n)
    carried = ((splat(13, n) * number + splat(242, n)) * splat(4316, n)) >> splat(20, n)
    store(out, out_at, to_bytes(number + carried))


@kernel
def tq1_0(x, out, first, last):
    peak = i32(0)
    for b in range(first, last):
        bits = _peak(x, 256 * b, 256)
        peak = max(peak, bits)
        d = scalar_float(bits)
        inverse = _reciprocal(d)
        at = b * _TQ1_0.size
        put_f16(out, at + _TQ1_0.d, d)
        _put_trits(x, 256 * b, inverse, out, at + _TQ1_0.qs, 5, 32)
        _put_trits(x, 256 * b + 160, inverse, out, at + _TQ1_0.qs + 32, 5, 16)
        _put_trits(x, 256 * b + 240, inverse, out, at + _TQ1_0.qh, 4, 4)
    return peak


@kernel
def tq2_0(x, out, first, last):
    peak = i32(0)
    for b in range(first, last):
        bits = _peak(x, 256 * b, 256)
        peak = max(peak, bits)
        d = scalar_float(bits)
        inverse = _reciprocal(d)
        at = b * _TQ2_0.size
        put_f16(out, at + _TQ2_0.d, d)
        for half in range(2):
            codes = splat(0, 32)
            for k in range(4):
                trit = _trit(x, 256 * b + 128 * half + 32 * k, inverse, 32)
                codes = codes | (trit << splat(2 * k, 32))
            store(out, at + _TQ2_0.qs + 32 * half, to_bytes(codes))
    return peak


@kernel
def q2_0(x, out, first, last):
    peak = i32(0)
    for b in range(first, last):
        bits = _peak(x, 64 * b, 64)
        peak = max(peak, bits)
        d = scalar_float(bits)
        inverse = _reciprocal(d)
        mask = i32(0) if inverse == 0 and bits > 0 else i32(255)
        at = b * _Q2_0.size
        put_f16(out, at + _Q2_0.d, d)
        for half in range(2):
            four = quads(to_bytes(_trit(x, 64 * b + 32 * half, inverse, 32)))
            codes = four | (four >> splat(6, 8)) | (four >> splat(12, 8)) | (four >> splat(18, 8))
            store(out, at + _Q2_0.qs + 8 * half, to_bytes(codes & splat(mask, 8)))
    return peak
