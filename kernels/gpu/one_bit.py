# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-untyped,import-not-found"
"""Q1_0: signs, and the mean magnitude of 128 weights, summed by one lane a block."""

import triton
import triton.language as tl

from kernels.gpu.lanes import first_block, kernel, layout, load_four, load_rows, note_peak, put, put_f16, stacked

_Q1_0 = layout("Q1_0")


@triton.jit
def _sum_of_magnitudes(x, inside, N: tl.constexpr):
    """The sum of 128 magnitudes from each pointer x [N] on, left to right."""
    total = tl.zeros([N, 1], tl.float32)
    for i in range(0, 128, 4):
        first, second, third, fourth = load_four(x[:, None] + i, inside, N, 1)
        total = total + tl.abs(first)
        total = total + tl.abs(second)
        total = total + tl.abs(third)
        total = total + tl.abs(fourth)
    return tl.reshape(total, [N])


@kernel
def q1_0(x_ptr, out_ptr, peak_ptr, count, N: tl.constexpr):
    block = first_block(N) + tl.arange(0, N)
    inside, at = block < count, out_ptr + block * _Q1_0.value.size
    x = x_ptr + block * 128
    put_f16(at + _Q1_0.value.d, tl.div_rn(_sum_of_magnitudes(x, inside, N), 128.0), inside)
    weights = load_rows(x, inside, 128)
    note_peak(peak_ptr, weights)
    put(at + _Q1_0.value.qs, stacked(tl.where(weights >= 0, 1, 0), N, 16, 8, 1, 1), inside, 16)
