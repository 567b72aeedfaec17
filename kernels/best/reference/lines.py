"""Q4_1 and Q5_1 with lower error: many starts for scale and low end, then both fitted to the codes and rounded."""

from dataclasses import dataclass

import numpy as np

from kernels.best.reference.frame import Found, between, improve, weigh
from kernels.best.reference.k_quants import affine_error, affine_sums
from kernels.best.reference.parts import (
    F32,
    HUGE,
    ONE_F,
    U8,
    ZERO,
    f32,
    half,
    lanes_of,
    larger,
    smaller,
    sum_in_order,
)
from kernels.best.searches import Q4_1, Q5_1, Line
from kernels.formats import FORMATS
from kernels.reference.legacy import nibbles, with_fifth_bit


def _fitted(sums: tuple[F32, F32, F32], sum_w: F32, sum_x: F32) -> tuple[F32, F32]:
    """Scale and low end of least squares for given codes."""
    sum_l, sum_l2, sum_xl = sums
    determinant = sum_w * sum_l2 - sum_l * sum_l
    scale: F32 = np.divide(sum_w * sum_xl - sum_x * sum_l, determinant)
    low: F32 = np.divide(sum_l2 * sum_x - sum_l * sum_xl, determinant)
    return scale, low


def _search_line(x: F32, weights: F32, how: Line) -> Found:
    """The f16 scale and minus the f16 low end of each block."""
    low: F32 = x[0]
    high: F32 = x[0]
    for v in x:
        low, high = smaller(v, low), larger(v, high)
    sum_w, sum_x = sum_in_order(weights), sum_in_order(weights * x)
    span = high - low
    best, d, m = np.full_like(low, -HUGE), span / f32(how.levels), low
    for p in range(how.stretches):
        stretched = span / (f32(how.levels) + f32(how.first) + f32(how.step) * f32(p))
        for q in range(how.shifts):
            start = low + stretched * (f32(how.shift) + f32(how.shift_step) * f32(q))
            sums = affine_sums(x, weights, how, inverse=ONE_F / stretched, low=start)
            trial, trial_low = _fitted(sums, sum_w, sum_x)
            gain = trial * sums[2] + trial_low * sum_x
            better = gain > best
            best, d, m = (np.where(better, a, b) for a, b in ((gain, best), (trial, d), (trial_low, m)))
    d, m = half(d), half(m)
    error = affine_error(x, weights, how, scale=d, low=m, mean_absolute=False)
    trial, trial_low = d, m
    for _ in range(how.rounds):
        sums = affine_sums(x, weights, how, inverse=ONE_F / trial, low=trial_low)
        trial, trial_low = (half(part) for part in _fitted(sums, sum_w, sum_x))
        trial_error = affine_error(x, weights, how, scale=trial, low=trial_low, mean_absolute=False)
        better = trial_error < error
        error, d, m = (np.where(better, a, b) for a, b in ((trial_error, error), (trial, d), (trial_low, m)))
    return np.ones_like(d), np.ones_like(d), d, ZERO - m


def _pack(name: str, found: Found, levels: F32) -> U8:
    block, codes = np.zeros(len(levels), FORMATS[name].dtype), levels.astype(np.int32)
    block["d"], block["m"] = found[2], ZERO - found[3]
    if name == "Q5_1":
        block["qs"], block["qh"] = with_fifth_bit(codes)
    else:
        block["qs"] = nibbles(codes)
    return block.view(np.uint8).reshape(len(block), -1)


@dataclass(frozen=True)
class _Search:
    """The search of a format: blocks, their importance, the mean squares of their rows, and the bytes to improve."""

    name: str
    how: Line

    def __call__(self, x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
        lanes = lanes_of(x, self.how.size)
        weights = weigh(lanes, importance, means, self.how)
        improve(
            lanes,
            weights,
            packed,
            name=self.name,
            how=self.how,
            found=_search_line(lanes, weights, self.how),
            level=between(0, self.how.levels),
            pack=lambda found, levels: _pack(self.name, found, levels),
            important=importance is not None,
        )


SEARCHES = {"Q4_1": _Search("Q4_1", Q4_1), "Q5_1": _Search("Q5_1", Q5_1)}
