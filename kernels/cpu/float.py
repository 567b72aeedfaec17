# mypy: allow-untyped-defs, allow-untyped-calls
"""F32, F16 and BF16: one rounding a weight, 16 weights at once and the rest one by one."""

import numpy as np

from kernels.cpu.halves import MAGNITUDE, bf16_lanes, f16_lanes
from kernels.cpu.lanes import bits_of, kernel, larger, largest, load_source, splat, store, to_words

i32 = np.int32


@kernel
def f32(x, out, first, last):
    whole = first + (last - first) // 16 * 16
    peak, rest = splat(0, 16), splat(0, 1)
    for i in range(first, whole, 16):
        v = load_source(x, i, 16)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 16))
        store(out, 4 * i, v)
    for i in range(whole, last):
        v = load_source(x, i, 1)
        rest = larger(rest, bits_of(v) & splat(MAGNITUDE, 1))
        store(out, 4 * i, v)
    return max(largest(peak), largest(rest))


@kernel
def f16(x, out, first, last):
    whole = first + (last - first) // 16 * 16
    peak, rest = splat(0, 16), splat(0, 1)
    for i in range(first, whole, 16):
        v = load_source(x, i, 16)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 16))
        store(out, 2 * i, to_words(f16_lanes(v, 16)))
    for i in range(whole, last):
        v = load_source(x, i, 1)
        rest = larger(rest, bits_of(v) & splat(MAGNITUDE, 1))
        store(out, 2 * i, to_words(f16_lanes(v, 1)))
    return max(largest(peak), largest(rest))


@kernel
def bf16(x, out, first, last):
    whole = first + (last - first) // 16 * 16
    peak, rest = splat(0, 16), splat(0, 1)
    for i in range(first, whole, 16):
        v = load_source(x, i, 16)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 16))
        store(out, 2 * i, to_words(bf16_lanes(v, 16)))
    for i in range(whole, last):
        v = load_source(x, i, 1)
        rest = larger(rest, bits_of(v) & splat(MAGNITUDE, 1))
        store(out, 2 * i, to_words(bf16_lanes(v, 1)))
    return max(largest(peak), largest(rest))
