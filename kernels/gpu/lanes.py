# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-untyped,import-not-found"
"""What the Triton kernels have in common: blocks of a program, roundings, choices within a row, bytes.

Shapes: N blocks in a program, so a scalar of each block is [N], and its weights are [N, size]. Triton has no name for
a field, hence `layout`, and no nearest-even rounding that is the same everywhere, hence `nearest_int`.
"""

from collections import namedtuple
from typing import Any

import triton
import triton.language as tl

from kernels.formats import FORMATS

# For what is launched, as @triton.jit is for what is called: no recompilation for another number of blocks.
kernel: Any = triton.jit(do_not_specialize=["count"])

_MAGIC = tl.constexpr(12582912.0)  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits
_MANTISSA = tl.constexpr(0x7FFFFF)
_MAGIC_MANTISSA = tl.constexpr(0x400000)
_EXPONENT = tl.constexpr(0x4B000000)  # of the floats from 2**23 on
_MAGNITUDE = tl.constexpr(0x7FFFFFFF)


def layout(name: str) -> Any:
    """The byte offset of each field of a format, and `size`, the bytes of a block, as a constant of kernels."""
    offsets = {field.name: field.offset for field in FORMATS[name].fields}
    make: Any = namedtuple
    return tl.constexpr(make(f"{name}_layout", [*offsets, "size"])(**offsets, size=FORMATS[name].block_bytes))


@triton.jit
def first_block(N: tl.constexpr):
    """The first block of this program; 64 bits wide, as a tensor may have more than 2**31 weights."""
    return tl.program_id(0).to(tl.int64) * N


@triton.jit
def load(at, inside):
    """Weights as floats, zeros where not `inside`. bf16 by its bits, so that subnormals stay what they are."""
    values = tl.load(at, mask=inside, other=0.0)
    if values.dtype == tl.bfloat16:
        return float_of(values.to(tl.int16, bitcast=True).to(tl.int32) << 16)
    return values.to(tl.float32)


@triton.jit
def load_rows(at, inside, SIZE: tl.constexpr):
    """SIZE weights from each pointer of `at` [N] on, as floats [N, SIZE]; zeros for blocks that are not there."""
    return load(at[:, None] + tl.arange(0, SIZE)[None, :], inside[:, None])


@triton.jit
def note_peak(peak_ptr, x):
    """Raises what `peak_ptr` points to, to the largest magnitude of x as bits: finiteness without a pass of its own."""
    tl.atomic_max(peak_ptr, tl.max(tl.ravel(bits_of(x) & _MAGNITUDE), axis=0))


@triton.jit
def load_four(at, inside, N: tl.constexpr, SUBS: tl.constexpr):
    """Four neighbouring elements of every sub-block, which a thread then reads at once: four tensors [N, SUBS]."""
    four = load(at[:, :, None] + tl.arange(0, 4)[None, None, :], inside[:, None, None])
    even, odd = tl.split(tl.reshape(four, [N, SUBS, 2, 2]))
    first, third = tl.split(even)
    second, fourth = tl.split(odd)
    return first, second, third, fourth


@triton.jit
def joined(first, second):
    """Two tuples of tensors as one."""
    return first + second


@triton.jit
def load_elements(x, inside, N: tl.constexpr, SUBS: tl.constexpr, SIZE: tl.constexpr):
    """The sub-blocks of N blocks from pointers x [N] on: a tuple of SIZE tensors [N, SUBS]."""
    at = x[:, None] + (SIZE * tl.arange(0, SUBS))[None, :]
    elements = ()
    for i in tl.static_range(0, SIZE, 4):
        elements = joined(elements, load_four(at + i, inside, N, SUBS))
    return elements


@triton.jit
def load_parts(x, inside, peak_ptr, N: tl.constexpr, SUBS: tl.constexpr, SIZE: tl.constexpr):
    """The same weights as a tensor [N, SUBS, SIZE]; notes their peak."""
    weights = load_rows(x, inside, SUBS * SIZE)
    note_peak(peak_ptr, weights)
    return tl.reshape(weights, [N, SUBS, SIZE])


@triton.jit
def bits_of(values):
    return values.to(tl.int32, bitcast=True)


@triton.jit
def float_of(bits):
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _magic_mantissa(values):
    """The nearest integer + 0x400000. A NaN gives what it gives on x86: GPUs have other bits for it."""
    mantissa = bits_of(values + _MAGIC) & _MANTISSA
    return tl.where(values == values, mantissa, _MAGIC_MANTISSA)


@triton.jit
def nearest_int(values):
    """The nearest integer, halves to even, by GGML's bit trick, whose answers outside +-2**22 are part of the bytes."""
    return _magic_mantissa(values) - _MAGIC_MANTISSA


@triton.jit
def clamped(values, LOW: tl.constexpr, HIGH: tl.constexpr):
    """Integers limited to LOW..HIGH."""
    return tl.minimum(tl.maximum(values, LOW), HIGH)


@triton.jit
def nearest_code(values, LOW: tl.constexpr, HIGH: tl.constexpr):
    """nearest_int limited to LOW..HIGH, as a float, without a conversion between integers and floats."""
    mantissa = clamped(_magic_mantissa(values), LOW + _MAGIC_MANTISSA, HIGH + _MAGIC_MANTISSA)
    return float_of(mantissa | _EXPONENT) - _MAGIC


@triton.jit
def truncated(values):
    """C's (int) cast as x86 does it, kept to the low byte's meaning: what is out of range becomes 0."""
    return tl.where(tl.abs(values) < 8388608.0, values, 0.0).to(tl.int32)


@triton.jit
def reciprocal(d):
    """1 / d, and 0 where d is 0."""
    return tl.where(d != 0, tl.div_rn(1.0, d), 0.0)


@triton.jit
def as_int8(integers):
    """Wrapped around to -128..127."""
    return (integers << 24) >> 24


@triton.jit
def pick_first(values, found, SIZE: tl.constexpr):
    """The first value of each row where `found`, with the sign of a zero, else +0: [N, SIZE] -> [N]."""
    j = tl.arange(0, SIZE)[None, :]
    first = tl.min(tl.where(found, j, SIZE), axis=1)
    chosen = tl.sum(tl.where(j == first[:, None], bits_of(values), 0), axis=1)
    return float_of(chosen.to(tl.int32))


@triton.jit
def signed_peak(values, SIZE: tl.constexpr):
    """The first value of the largest magnitude of each row, with its sign; a NaN never wins, +0 for zeros."""
    magnitude = tl.where(values == values, tl.abs(values), 0.0)
    top = tl.max(magnitude, axis=1)
    return pick_first(values, (magnitude == top[:, None]) & (magnitude > 0), SIZE)


@triton.jit
def element_peak(x, SIZE: tl.constexpr):
    """The first element of the largest magnitude of each sub-block, with its sign."""
    magnitude, peak = tl.zeros_like(x[0]), tl.zeros_like(x[0])
    for i in tl.static_range(SIZE):
        better = tl.abs(x[i]) > magnitude
        magnitude, peak = tl.where(better, tl.abs(x[i]), magnitude), tl.where(better, x[i], peak)
    return peak


@triton.jit
def largest(values):
    """The largest value of each row that is above 0, else 0; a NaN never wins."""
    return tl.max(tl.where(values > 0, values, 0.0), axis=1)


@triton.jit
def stacked(codes, N: tl.constexpr, OUTER: tl.constexpr, PARTS: tl.constexpr, INNER: tl.constexpr, WIDTH: tl.constexpr):
    """Codes in the order [N, OUTER, PARTS, INNER] as bytes [N, OUTER * INNER]: part k is shifted up by WIDTH * k bits.

    The parts share no bit, so that their sum is their union.
    """
    shifts = WIDTH * tl.arange(0, PARTS)[None, None, :, None]
    parts = tl.reshape(codes, [N, OUTER, PARTS, INNER]) << shifts
    return tl.reshape(tl.sum(parts, axis=2), [N, OUTER * INNER])


@triton.jit
def put(at, values, inside, COUNT: tl.constexpr):
    """Stores the low bytes of integers [N, COUNT] from each pointer of `at` [N] on."""
    tl.store(at[:, None] + tl.arange(0, COUNT)[None, :], values.to(tl.uint8), mask=inside[:, None])


@triton.jit
def put_f16(at, values, inside):
    """Stores floats [N] as f16, halves to even, and gives back the floats that were stored."""
    halves = values.to(tl.float16)
    bits = halves.to(tl.int16, bitcast=True).to(tl.int32)
    put(at, bits[:, None] >> (8 * tl.arange(0, 2))[None, :], inside, 2)
    return halves.to(tl.float32)
