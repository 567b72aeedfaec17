"""What the grid formats have in common: the search for a sub-block's scale, and the way to the nearest code word.

From quantize_row_iq3_*_impl and quantize_row_iq2_*_impl of ggml-quants.c. Codes stand for the magnitudes 1, 3, 5, ...
of the scale. For each trial scale a group of weights takes the word its rounded codes spell, or, if there is none,
the best of the words near it. Arrays are [weights of a sub-block, sub-blocks]; sums walk the first axis.

GGML ends the process where no neighbour is at a finite distance or a scale is not a number, which only weights whose
squares overflow bring about. Here the first neighbour, and the scale 0, take their place.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.codebooks import Grid
from kernels.reference.k_quants import nearest_int, sum_in_order

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

f32 = np.float32
_ZERO, _ONE, _HALF = f32(0), f32(1), f32(0.5)
_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class Trials:
    """Trial k makes the largest weight `top + step * k` times the scale, k from -count to count."""

    count: int
    step: float
    refine: str  # which groups choose again for the best scale: "off grid", "all" if one is off the grid, or "always"


def squares_mean(x: F32, factor: int) -> F32:
    """`factor` times the mean square of blocks: [n, 256] -> [n]."""
    mean: F32 = f32(factor) * sum_in_order((x * x).T) / f32(x.shape[1])
    return mean


def importance_weights(x: F32, importance: F32, factor: int) -> F32:
    """importance * sqrt(sigma2 + x**2), where sigma2 is `factor` times the mean square: [n, 256]."""
    weights: F32 = importance * np.sqrt(squares_mean(x, factor)[:, None] + x * x)
    return weights


def by_sub_block(values: F32, size: int) -> F32:
    """[n, 256] -> [size, n * 256 / size]."""
    return np.ascontiguousarray(values.reshape(-1, size).T)


def magnitudes(x: F32) -> tuple[F32, U8]:
    """Magnitudes [n, 256] and sign bits [n, 32], a bit a weight."""
    negative = x < 0
    return np.where(negative, -x, x), np.packbits(negative, axis=1, bitorder="little")


def even_magnitudes(x: F32, weights: F32) -> tuple[F32, U8]:
    """As `magnitudes`, but with an even number of minus signs in each eight, of which seven bits are kept.

    Where it is odd, the weight that matters least counts with the other sign; its magnitude is negative then.
    """
    eights = x.reshape(-1, 8)
    negative = eights < 0
    cost = weights.reshape(-1, 8) * eights * eights
    least, place = cost[:, 0], np.zeros(len(eights), np.intp)
    for k in range(1, 8):
        less = cost[:, k] < least
        least, place = np.where(less, cost[:, k], least), np.where(less, k, place)
    odd = negative.sum(axis=1) % 2 == 1
    flipped = odd[:, None] & (place[:, None] == np.arange(8))
    negative ^= flipped
    signs = np.packbits(negative, axis=1, bitorder="little") & np.uint8(127)
    return np.where(negative, -eights, eights).reshape(x.shape), signs.reshape(len(x), -1)


def keys_of(codes: I32, grid: Grid) -> I32:
    """The keys of groups of codes: [size, s] -> [groups, s]."""
    groups = codes.reshape(len(codes) // grid.dims, grid.dims, codes.shape[1])
    keys: I32 = (groups << (grid.bits * np.arange(grid.dims))[:, None]).sum(axis=1).astype(np.int32)
    return keys


def nearest_words(
    grid: Grid, keys: I32, *, points: F32, x: F32, weights: F32, scale: F32, offset: F32 | None = None
) -> I32:
    """Of the words near each key, the one of least weighted distance.

    keys [m], none of them a word; points [words, dims], with offset [m] added, what the codes stand for in units of
    scale [m]; x and weights [m, dims]. The first best wins; the nearest word where all distances overflow.
    """
    near = grid.neighbours
    order = np.argsort(-near.counts[keys], kind="stable")  # so that those with a j-th neighbour come first
    starts, counts = near.starts[keys[order]], near.counts[keys[order]]
    x, weights, scale = x[order], weights[order], scale[order, None]
    offset = np.zeros_like(scale) if offset is None else offset[order, None]
    best, found = np.full(len(keys), _LARGEST, np.float32), near.words[starts]
    for j in range(counts[0] if len(counts) else 0):
        m = int(np.searchsorted(-counts, -j))
        candidates = near.words[starts[:m] + j]
        difference = scale[:m] * (points[candidates] + offset[:m]) - x[:m]
        distance = sum_in_order((weights[:m] * difference * difference).T)
        better = distance < best[:m]
        best[:m] = np.where(better, distance, best[:m])
        found[:m] = np.where(better, candidates, found[:m])
    words = np.empty_like(found)
    words[order] = found
    return words


def _on_grid(grid: Grid, codes: I32, x: F32, roots: F32, scale: F32) -> tuple[I32, NDArray[np.bool_]]:
    """Codes that spell words, and which groups [groups, s] did so before."""
    keys = keys_of(codes, grid)
    off = grid.word_of_key[keys] < 0
    group, lane = np.nonzero(off)
    shape = (len(keys), grid.dims, keys.shape[1])
    words = nearest_words(
        grid,
        keys[group, lane],
        points=(2 * grid.codes + 1).astype(np.float32),
        x=x.reshape(shape)[group, :, lane],
        weights=roots.reshape(shape)[group, :, lane],
        scale=scale[lane],
    )
    codes.reshape(shape)[group, :, lane] = grid.codes[words]
    return codes, ~off


def _rounded(x: F32, inverse: F32, levels: int) -> I32:
    return np.clip(nearest_int(_HALF * (inverse * x - _ONE)), 0, levels - 1)


def _sums(x: F32, weights: F32, codes: I32) -> tuple[F32, F32]:
    q = (2 * codes + 1).astype(np.float32)
    return sum_in_order(weights * x * q), sum_in_order(weights * q * q)


def search_words(
    grid: Grid, x: F32, weights: F32, *, trials: Trials, peak: F32, scale: F32
) -> tuple[F32, I32, NDArray[np.bool_]]:
    """Scales [s], words [groups, s], and where all signs change: [s].

    `peak` [s] is what the trials stretch, above 0; `scale` [s] what holds if no trial has a positive weight.
    """
    groups, roots = len(x) // grid.dims, np.sqrt(weights)
    best, codes = np.zeros(x.shape[1], np.float32), np.zeros(x.shape, np.int32)
    on_grid = np.full((groups, x.shape[1]), trials.refine == "off grid")
    for k in range(-trials.count, trials.count + 1):
        inverse = (f32(2 * grid.levels - 1) + f32(k) * f32(trials.step)) / peak
        trial, trial_on_grid = _on_grid(grid, _rounded(x, inverse, grid.levels), x, roots, _ONE / inverse)
        sum_qx, sum_q2 = _sums(x, weights, trial)
        better = (sum_q2 > 0) & (sum_qx * sum_qx > best * sum_q2)
        scale = np.where(better, sum_qx / sum_q2, scale)
        best = np.where(better, scale * sum_qx, best)
        codes, on_grid = np.where(better, trial, codes), np.where(better, trial_on_grid, on_grid)
    again = scale > 0
    if trials.refine != "always":
        again &= ~on_grid.all(axis=0)
    chosen, _ = _on_grid(grid, _rounded(x, _ONE / scale, grid.levels), x, roots, scale)
    these = again & ~on_grid if trials.refine == "off grid" else np.broadcast_to(again, on_grid.shape)
    codes = np.where(np.repeat(these, grid.dims, axis=0), chosen, codes)
    sum_qx, sum_q2 = _sums(x, weights, codes)
    scale = np.where(again & (sum_q2 > 0), sum_qx / sum_q2, scale)
    scale = np.where(np.isnan(scale), _ZERO, scale)
    return np.abs(scale), grid.word_of_key[keys_of(codes, grid)], scale < 0


@dataclass(frozen=True)
class Found:
    """What a search gives for blocks of 256: zeros for sub-blocks that count as zero."""

    scales: F32  # [n, subs]
    words: I32  # [n, 256 / dims]
    signs: U8  # [n, 32]
    some: NDArray[np.bool_]  # [n, subs]: which sub-blocks do not count as zero


def search_blocks(
    grid: Grid, x: F32, weights: F32, *, size: int, trials: Trials, smallest: float, even_signs: bool
) -> Found:
    """Scales, words and signs of blocks [n, 256]; a sub-block whose peak is below `smallest` counts as zero."""
    values, signs = even_magnitudes(x, weights) if even_signs else magnitudes(x)
    lanes, lane_weights = by_sub_block(values, size), by_sub_block(weights, size)
    peaks = lanes.max(axis=0)
    some = np.flatnonzero(peaks >= f32(smallest))
    found = search_words(
        grid,
        lanes[:, some],
        lane_weights[:, some],
        trials=trials,
        peak=peaks[some],
        scale=peaks[some] / f32(2 * grid.levels - 1),
    )
    return spread(*found, some=some, signs=signs, subs=x.shape[1] // size)


def spread(scales: F32, words: I32, minus: NDArray[np.bool_], *, some: NDArray[Any], signs: U8, subs: int) -> Found:
    """Puts what was found for the sub-blocks `some` in the places of all."""
    count = len(signs) * subs
    all_scales, mask = np.zeros(count, np.float32), np.zeros(count, np.bool_)
    all_words = np.zeros((count, len(words)), np.int32)
    all_scales[some], all_words[some], mask[some] = scales, words.T, True
    all_signs = signs.reshape(count, -1)
    all_signs[some] ^= np.where(minus, np.uint8(255), np.uint8(0))[:, None]
    all_signs[~mask] = 0
    n = len(signs)
    return Found(all_scales.reshape(n, -1), all_words.reshape(n, -1), all_signs.reshape(n, -1), mask.reshape(n, -1))


def odd_multiples(scales: F32, *, top: int) -> tuple[F32, I32]:
    """Scales [n, subs] as d [n] and integers s for the multiples 2 s + 1 of d up to `top`; 0 where all scales are."""
    largest = scales.max(axis=1)
    d = largest / f32(top)
    integers = nearest_int(_HALF * ((_ONE / d)[:, None] * scales - _ONE))
    integers = np.clip(integers, 0, (top - 1) // 2)
    return d, np.where((largest != 0)[:, None], integers, 0)


def nibbles(values: I32) -> U8:
    """[n, 2 k] values below 16 as [n, k] bytes, the first in the low half."""
    return (values[:, 0::2] | (values[:, 1::2] << 4)).astype(np.uint8)
