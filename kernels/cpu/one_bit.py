# mypy: allow-untyped-defs, allow-untyped-calls
"""Q1_0: sixteen blocks at once, one a lane, because the sum of a block runs left to right.

The last group may be partly empty: its spare lanes sum what the group before left there, and nothing of them is
stored.
"""

import numpy as np

from kernels.cpu.halves import MAGNITUDE, layout, put_f16
from kernels.cpu.lanes import (
    bits_of,
    float_of,
    inlined,
    kernel,
    larger,
    largest,
    load,
    load_source,
    set_bits,
    splat,
    store,
    transpose,
)

f32 = np.float32
i32 = np.int32

_Q1_0 = layout("Q1_0")


@inlined
def _put_signs(x, b, out, buffer, lane):
    """Stores the bits of one block, copies its magnitudes and gives the largest, as lanes of bits."""
    peak = splat(0, 32)
    for i in range(0, 128, 32):
        v = load_source(x, 128 * b + i, 32)
        magnitude = bits_of(v) & splat(MAGNITUDE, 32)
        peak = larger(peak, magnitude)
        store(buffer, 128 * lane + i, float_of(magnitude))
        signs = set_bits(v >= splat(f32(0), 32))
        for k in range(4):
            out[b * _Q1_0.size + _Q1_0.qs + i // 8 + k] = (signs >> i32(8 * k)) & i32(255)
    return peak


@inlined
def _sums(buffer, square):
    """The sums of sixteen rows of 128, each left to right."""
    total = splat(f32(0), 16)
    for i in range(0, 128, 16):
        transpose(buffer, i, 128, square, 0, 16)
        for k in range(16):
            total = total + load(square, 16 * k, 16)
    return total


@kernel
def q1_0(x, out, first, last):
    buffer, square = np.zeros(16 * 128, np.float32), np.empty(16 * 16, np.float32)
    means = np.empty(16, np.float32)
    peak = splat(0, 32)
    for group in range(first, last, 16):
        blocks = min(16, last - group)
        for lane in range(blocks):
            peak = larger(peak, _put_signs(x, group + lane, out, buffer, lane))
        store(means, 0, _sums(buffer, square) / splat(f32(128), 16))
        for lane in range(blocks):
            put_f16(out, (group + lane) * _Q1_0.size + _Q1_0.d, means[lane])
    return largest(peak)
