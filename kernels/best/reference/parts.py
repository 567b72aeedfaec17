"""What the searches for lower error have in common: orders of summation, roundings, weights, and the guard."""

import numpy as np
from numpy.typing import NDArray

from kernels.best.searches import MAGNITUDE, ONE, RMS, SQUARE

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

f32 = np.float32
ZERO, ONE_F = f32(0), f32(1)
HUGE = f32(3e38)


def larger(a: F32 | np.float32, b: F32 | np.float32) -> F32:
    """a > b ? a : b."""
    chosen: F32 = np.where(a > b, a, b)
    return chosen


def smaller(a: F32 | np.float32, b: F32 | np.float32) -> F32:
    """a < b ? a : b."""
    chosen: F32 = np.where(a < b, a, b)
    return chosen


def sum_in_order(terms: F32) -> F32:
    """The sum over the first axis, one term after the other."""
    total_of = np.zeros(terms.shape[1:], terms.dtype)
    for term in terms:
        total_of = total_of + term
    return total_of


def total(values: F32, count: int) -> F32:
    """For every value, the sum over its `count` neighbours (a power of 2): pairs, pairs of pairs and so on."""
    groups = values.reshape(-1, count)
    distance = 1
    while distance < count:
        groups = groups + groups[:, np.arange(count) ^ distance]
        distance *= 2
    return groups.reshape(-1)


def top(values: F32, count: int) -> F32:
    """For every value, the largest of its `count` neighbours."""
    groups = values.reshape(-1, count)
    distance = 1
    while distance < count:
        groups = larger(groups, groups[:, np.arange(count) ^ distance])
        distance *= 2
    return groups.reshape(-1)


def half(values: F32) -> F32:
    """The nearest f16, as float32; infinity for what is not a number."""
    rounded = values.astype(np.float16).astype(np.float32)
    return np.where(np.isnan(rounded), f32(np.inf), rounded)


def lanes_of(values: F32, size: int) -> F32:
    """[elements, sub-blocks]: a loop or sum over the first axis walks every sub-block left to right."""
    return np.ascontiguousarray(values.reshape(-1, size).T)


def plain_weights(x: F32, kind: int) -> F32:
    """What an error at each weight costs when nothing is known of its importance; x is [elements, sub-blocks]."""
    if kind == ONE:
        return np.ones_like(x)
    if kind == SQUARE:
        return x * x
    if kind == MAGNITUDE:
        return np.abs(x)
    assert kind == RMS
    mean: F32 = np.sqrt(sum_in_order(x * x) / f32(len(x)))
    return mean + np.abs(x)


def importance_weights(x: F32, importance: F32, mean: F32) -> F32:
    """Importance times the root of `mean` plus the square of the weight."""
    weights: F32 = importance * np.sqrt(mean + x * x)
    return weights


def is_improved(
    ours: F32, theirs: F32, x: F32, weights: F32, *, evenly: bool, mean_absolute: bool = False
) -> NDArray[np.bool_]:
    """Blocks that decode with less error than GGML's, and if `evenly` with no more when all weights count the same.

    Arrays are [n, block_size]. A block whose error is infinite is none: its scale overflowed, which is for the caller
    to find.
    """
    before = errors(theirs, x, weights, mean_absolute=mean_absolute)
    better = (errors(ours, x, weights, mean_absolute=mean_absolute) < before) & np.isfinite(before)
    if evenly:
        one = np.ones_like(x)
        better &= errors(ours, x, one, mean_absolute=False) <= errors(theirs, x, one, mean_absolute=False)
    return better


def errors(values: F32, x: F32, weights: F32, *, mean_absolute: bool) -> F64:
    """The error of each decoded block [n, block_size] in doubles: 16 sums side by side, then those in order."""
    difference = values.astype(np.float64) - x.astype(np.float64)
    size = np.abs(difference) if mean_absolute else difference * difference
    terms = (weights.astype(np.float64) * size).reshape(len(x), -1, 16)
    sums: F64 = np.zeros((len(x), 16))
    for part in range(terms.shape[1]):
        sums = sums + terms[:, part]
    result: F64 = np.zeros(len(x))
    for lane in range(16):
        result = result + sums[:, lane]
    return result
