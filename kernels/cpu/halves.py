# mypy: allow-untyped-defs, allow-untyped-calls
"""Roundings and layouts that the lane kernels have in common."""

from collections import namedtuple
from typing import Any

import numpy as np

from kernels.cpu.lanes import (
    bits_of,
    float_of,
    inlined,
    largest,
    scalar_bits,
    scalar_float,
    select,
    set_bits,
    smaller,
    splat,
)
from kernels.formats import FORMATS

f32 = np.float32
i32 = np.int32

MAGNITUDE = i32(0x7FFFFFFF)
_MAGIC = f32(12582912)  # 1.5 * 2**23


def layout(name: str) -> Any:
    """The byte offset of each field of a format, and `size`, the bytes of a block, as a tuple that kernels can read."""
    offsets = {field.name: field.offset for field in FORMATS[name].fields}
    make: Any = namedtuple
    return make(f"{name}_layout", [*offsets, "size"])(**offsets, size=FORMATS[name].block_bytes)


@inlined
def f16_bits(value):
    """The f16 bits nearest to a float32, halves to even; overflow is infinity. Not every CPU has it built in."""
    bits = scalar_bits(value)
    magnitude = bits & i32(0x7FFFFFFF)
    sign = (bits >> i32(16)) & i32(0x8000)
    # Both cases are computed, since a branch between them would be hard to predict. Adding a half lines the last bit of
    # an f16 subnormal up with the last bit of the sum.
    small = scalar_bits(scalar_float(magnitude) + f32(0.5)) - i32(0x3F000000)
    rounded = (magnitude - i32(0x38000000) + i32(0x0FFF) + ((magnitude >> i32(13)) & i32(1))) >> i32(13)
    normal = min(rounded, i32(0x7C00))
    return sign | (small if magnitude < i32(0x38800000) else normal)


@inlined
def f16_value(bits):
    """The float32 of f16 bits."""
    magnitude = (bits & i32(0x7FFF)) << i32(13)
    value = scalar_float(magnitude) * f32(2.0**112)
    if magnitude >= i32(0x7C00 << 13):
        value = scalar_float(magnitude | i32(0x7F800000))
    return -value if bits & i32(0x8000) else value


@inlined
def f16_lanes(lanes, n):
    """f16 bits of n lanes of floats."""
    bits = bits_of(lanes)
    magnitude = bits & splat(MAGNITUDE, n)
    sign = (bits >> splat(16, n)) & splat(0x8000, n)
    small = bits_of(float_of(magnitude) + splat(f32(0.5), n)) - splat(0x3F000000, n)
    odd = (magnitude >> splat(13, n)) & splat(1, n)
    normal = (magnitude - splat(0x38000000 - 0x0FFF, n) + odd) >> splat(13, n)
    return sign | select(magnitude < splat(0x38800000, n), small, smaller(normal, splat(0x7C00, n)))


@inlined
def bf16_lanes(lanes, n):
    """bf16 bits of n lanes of floats."""
    bits = bits_of(lanes)
    odd = (bits >> splat(16, n)) & splat(1, n)
    return (bits + splat(0x7FFF, n) + odd) >> splat(16, n)


@inlined
def put_f16(out, at, value):
    """Stores a float as f16 and gives back the float that was stored."""
    bits = f16_bits(value)
    out[at] = bits & i32(255)
    out[at + 1] = bits >> i32(8)
    return f16_value(bits)


@inlined
def nearest_int(lanes, n):
    """The nearest integers, as floats, by GGML's bit trick: its answers outside +-2**22 are part of the bytes."""
    kept = (bits_of(lanes + splat(_MAGIC, n)) & splat(0x7FFFFF, n)) | splat(0x4B000000, n)
    return float_of(kept) - splat(_MAGIC, n)


@inlined
def nearest_int_bits(lanes, n):
    """As nearest_int, as integers."""
    return (bits_of(lanes + splat(_MAGIC, n)) & splat(0x7FFFFF, n)) - splat(0x400000, n)


@inlined
def nearest_int_scalar(value):
    """As nearest_int, one value, as an int32."""
    return (scalar_bits(value + _MAGIC) & i32(0x7FFFFF)) - i32(0x400000)


@inlined
def signed_peak(lanes):
    """The first of 16 lanes that is largest in magnitude, with its sign; a NaN never wins."""
    magnitude = bits_of(lanes) & splat(MAGNITUDE, 16)
    magnitude = select(magnitude > splat(0x7F800000, 16), splat(0, 16), magnitude)
    bits = largest(magnitude)
    found, negative = set_bits(magnitude == splat(bits, 16)), set_bits(bits_of(lanes) < splat(0, 16))
    return -scalar_float(bits) if bits > 0 and found & -found & negative else scalar_float(bits)
