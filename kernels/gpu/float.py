# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-untyped,import-not-found"
"""F32, F16 and BF16: one rounding a weight."""

import triton
import triton.language as tl

from kernels.gpu.lanes import bits_of, first_block, kernel, load, note_peak


@triton.jit
def _weights(x_ptr, inside, N: tl.constexpr):
    return load(x_ptr + first_block(N) + tl.arange(0, N), inside)


@triton.jit
def _put_words(out_ptr, words, inside, N: tl.constexpr):
    """Stores 16-bit words: [N] integers whose low half counts."""
    at = out_ptr.to(tl.pointer_type(tl.int16), bitcast=True) + first_block(N)
    tl.store(at + tl.arange(0, N), words.to(tl.int16), mask=inside)


@kernel
def f32(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    inside = first_block(N) + tl.arange(0, N) < count
    x = _weights(x_ptr, inside, N)
    note_peak(peak_ptr, x)
    at = out_ptr.to(tl.pointer_type(tl.float32), bitcast=True) + first_block(N)
    tl.store(at + tl.arange(0, N), x, mask=inside)


@kernel
def f16(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    inside = first_block(N) + tl.arange(0, N) < count
    x = _weights(x_ptr, inside, N)
    note_peak(peak_ptr, x)
    _put_words(out_ptr, x.to(tl.float16).to(tl.int16, bitcast=True), inside, N)


@kernel
def bf16(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    inside = first_block(N) + tl.arange(0, N) < count
    x = _weights(x_ptr, inside, N)
    note_peak(peak_ptr, x)
    # By integers, because not every GPU keeps subnormals in its own conversion.
    bits = bits_of(x)
    _put_words(out_ptr, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, inside, N)
