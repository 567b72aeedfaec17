"""Q2_K to Q6_K with lower error: a wider search for scales, their super-scales tried together, codes chosen again.

GGML searches scale and minimum of each sub-block, then rounds them to integers and lets the codes follow. Here d and
dmin are chosen for the sub-blocks together, integers near the rounded ones are tried by the true error, and d and dmin
are fitted again to the codes found. An array is [elements, sub-blocks] in the searches, and [sub-blocks] for what a
sub-block has once.
"""

from dataclasses import dataclass

import numpy as np

from kernels.best.reference.frame import Found, Level, Pack, between, improve, weigh
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
    top,
    total,
)
from kernels.best.searches import Q2_K, Q3_K, Q3_K_PLAIN, Q4_K, Q5_K, Q6_K, Affine, Line, Signed
from kernels.formats import FORMATS
from kernels.reference.k_quants import (
    I32,
    pack_pairs_of_bits,
    pack_q3_scales,
    pack_six_bit,
    stacked_bits,
)

_SIZE = FORMATS["Q4_K"].block_size
# Scale and minimum.


def _code(x: F32, inverse: F32, low: F32, levels: int) -> F32:
    return larger(smaller(np.rint((x - low) * inverse), f32(levels)), ZERO)


def affine_error(x: F32, weights: F32, how: Affine | Line, *, scale: F32, low: F32, mean_absolute: bool) -> F32:
    """The error of each sub-block with its best codes."""
    difference = scale * _code(x, ONE_F / scale, low, how.levels) + low - x
    return sum_in_order(weights * (np.abs(difference) if mean_absolute else difference * difference))


def affine_sums(x: F32, weights: F32, how: Affine | Line, *, inverse: F32, low: F32) -> tuple[F32, F32, F32]:
    """sum(w q), sum(w q q) and sum(w q x) of each sub-block."""
    codes = _code(x, inverse, low, how.levels)
    wl = weights * codes
    return sum_in_order(wl), sum_in_order(wl * codes), sum_in_order(wl * x)


def _fitted(sums: tuple[F32, F32, F32], sum_w: F32, sum_x: F32) -> tuple[F32, F32, np.ndarray]:
    """Scale and low end of least squares for given codes, low end at most 0; and whether there is one."""
    sum_l, sum_l2, sum_xl = sums
    determinant = sum_w * sum_l2 - sum_l * sum_l
    scale: F32 = np.divide(sum_w * sum_xl - sum_x * sum_l, determinant)
    low: F32 = np.divide(sum_l2 * sum_x - sum_l * sum_xl, determinant)
    alone: F32 = np.divide(sum_xl, sum_l2)
    positive = low > 0
    scale, low = np.where(positive, alone, scale), np.where(positive, ZERO, low)
    return scale, low, (determinant > 0) & (scale > 0)


def _search_affine(x: F32, weights: F32, how: Affine, *, mean_absolute: bool) -> tuple[F32, F32, F32, F32, F32, F32]:
    """The float scale and low end of each sub-block, the curve of its error around them, and sum(w) and sum(w x)."""
    low: F32 = x[0]
    high: F32 = x[0]
    for v in x:
        low, high = smaller(v, low), larger(v, high)
    sum_w, sum_x = sum_in_order(weights), sum_in_order(weights * x)
    low = smaller(low, ZERO)
    span = high - low
    best, scale, best_low = np.full_like(low, -HUGE), span / f32(how.levels), low
    for p in range(how.stretches):
        stretched = span / (f32(how.levels) + f32(how.first) + f32(how.step) * f32(p))
        for q in range(how.shifts):
            start = smaller(low + stretched * (f32(how.shift) + f32(how.shift_step) * f32(q)), ZERO)
            sums = affine_sums(x, weights, how, inverse=ONE_F / stretched, low=start)
            trial, trial_low, found = _fitted(sums, sum_w, sum_x)
            if mean_absolute:
                gain = ZERO - affine_error(x, weights, how, scale=trial, low=trial_low, mean_absolute=True)
            else:
                gain = trial * sums[2] + trial_low * sum_x
            better = np.where(found, gain, -HUGE) > best
            best, scale = np.where(better, gain, best), np.where(better, trial, scale)
            best_low = np.where(better, trial_low, best_low)
    low = best_low
    error = affine_error(x, weights, how, scale=scale, low=low, mean_absolute=mean_absolute)
    for _ in range(how.polish):
        sums = affine_sums(x, weights, how, inverse=ONE_F / scale, low=low)
        trial, trial_low, found = _fitted(sums, sum_w, sum_x)
        trial_error = affine_error(x, weights, how, scale=trial, low=trial_low, mean_absolute=mean_absolute)
        better = np.where(found, trial_error, error) < error
        error = np.where(better, trial_error, error)
        scale, low = np.where(better, trial, scale), np.where(better, trial_low, low)
    sum_l, sum_l2, _ = affine_sums(x, weights, how, inverse=ONE_F / scale, low=low)
    mean = sum_l / sum_w
    return scale, low, mean, sum_l2 - sum_l * mean, sum_w, sum_x


def _grid_value(peak: F32, how: Affine, k: int) -> F32:
    return half(peak / (f32(how.top) + f32(0.4) - f32(how.reach) * f32(k) / f32(how.grid)))


def _integer(value: F32, inverse: F32, limit: int) -> F32:
    return larger(smaller(np.rint(value * inverse), f32(limit)), ZERO)


def _search_super_scales(searched: tuple[F32, F32, F32, F32, F32, F32], how: Affine) -> Found:
    """d, dmin and integers of least error, if the error were the parabola around the searched scales and low ends."""
    scale, low, mean, curve, sum_w, _ = searched
    count = _SIZE // how.size
    peak, depth = top(scale, count), top(ZERO - low, count)
    dmins = [_grid_value(depth, how, q) for q in range(how.grid)]
    best = np.full_like(scale, HUGE)
    found = (_grid_value(peak, how, 0), dmins[0], np.zeros_like(scale), np.zeros_like(scale))
    for p in range(how.grid):
        d = _grid_value(peak, how, p)
        integer = _integer(scale, ONE_F / d, how.top)
        change = d * integer - scale
        wanted = low - mean * change
        known = curve * change * change
        for dmin in dmins:
            minimum = _integer(ZERO - wanted, ONE_F / dmin, how.top)
            miss = dmin * minimum + wanted
            error = total(known + sum_w * miss * miss, count)
            found = _better(error < best, (d, dmin, integer, minimum), found)
            best = np.where(error < best, error, best)
    return found


def _better(mask: np.ndarray, new: Found, old: Found) -> Found:
    d, dmin, scale, minimum = (np.where(mask, a, b) for a, b in zip(new, old, strict=True))
    return d, dmin, scale, minimum


def _around(x: F32, weights: F32, how: Affine, *, around: Found, mean_absolute: bool) -> tuple[F32, Found]:
    """The best of scale and minimum one up, one down or as they are, not one up and one down, by the true error."""
    d, dmin, scale, minimum = around
    best, best_scale, best_minimum = np.full_like(scale, HUGE), scale, minimum
    for up in (-1, 0, 1):
        trial = larger(smaller(scale + f32(up), f32(how.top)), ZERO)
        for deeper in (-1, 0, 1):
            if up * deeper < 0:
                continue
            trial_minimum = larger(smaller(minimum + f32(deeper), f32(how.top)), ZERO)
            error = affine_error(
                x, weights, how, scale=d * trial, low=ZERO - dmin * trial_minimum, mean_absolute=mean_absolute
            )
            better = error < best
            best, best_scale = np.where(better, error, best), np.where(better, trial, best_scale)
            best_minimum = np.where(better, trial_minimum, best_minimum)
    return total(best, _SIZE // how.size), (d, dmin, best_scale, best_minimum)


def _refit_affine(x: F32, weights: F32, how: Affine, *, found: Found, sum_w: F32, sum_x: F32) -> Found:
    """d and dmin of least squares for the codes of the superblock, or as they were where there are none."""
    d, dmin, scale, minimum = found
    count = _SIZE // how.size
    inverse = ONE_F / (d * scale)
    sum_l, sum_l2, sum_xl = affine_sums(x, weights, how, inverse=inverse, low=ZERO - dmin * minimum)
    a11 = total(scale * scale * sum_l2, count)
    a12 = ZERO - total(scale * minimum * sum_l, count)
    a22 = total(minimum * minimum * sum_w, count)
    b1, b2 = total(scale * sum_xl, count), ZERO - total(minimum * sum_x, count)
    determinant = a11 * a22 - a12 * a12
    trial, trial_min = (a22 * b1 - a12 * b2) / determinant, (a11 * b2 - a12 * b1) / determinant
    fits = (determinant > 0) & (trial > 0) & (trial_min > 0)
    return np.where(fits, half(trial), d), np.where(fits, half(trial_min), dmin), scale, minimum


def _affine(x: F32, weights: F32, how: Affine, *, mean_absolute: bool) -> Found:
    searched = _search_affine(x, weights, how, mean_absolute=mean_absolute)
    start = _search_super_scales(searched, how)
    error, found = _around(x, weights, how, around=start, mean_absolute=mean_absolute)
    for _ in range(how.rounds):
        again = _refit_affine(x, weights, how, found=found, sum_w=searched[4], sum_x=searched[5])
        trial_error, trial = _around(x, weights, how, around=again, mean_absolute=mean_absolute)
        found = _better(trial_error < error, trial, found)
        error = np.where(trial_error < error, trial_error, error)
    return found


# Scale alone.


def _signed_error(x: F32, weights: F32, level: Level, scale: F32) -> F32:
    """The error of each sub-block with its best codes."""
    difference = scale * level(x * (ONE_F / scale)) - x
    return sum_in_order(weights * (difference * difference))


def _signed_sums(x: F32, weights: F32, level: Level, inverse: F32) -> tuple[F32, F32]:
    """sum(w q x) and sum(w q q) of each sub-block."""
    codes = level(x * inverse)
    wl = weights * codes
    return sum_in_order(wl * x), sum_in_order(wl * codes)


def _search_signed(x: F32, weights: F32, how: Signed, level: Level) -> F32:
    """The float scale of each sub-block."""
    magnitude: F32 = np.zeros_like(x[0])
    peak: F32 = magnitude
    for v in x:
        found = np.abs(v) > magnitude
        magnitude, peak = np.where(found, np.abs(v), magnitude), np.where(found, v, peak)
    best: F32 = np.zeros_like(peak)
    scale: F32 = best
    for base in (peak, ZERO - peak):
        for k in range(how.starts):
            inverse = (f32(how.first) + f32(how.step) * f32(k)) / base
            sum_lx, sum_l2 = _signed_sums(x, weights, level, inverse)
            trial: F32 = np.divide(sum_lx, sum_l2)
            better = trial * sum_lx > best
            best, scale = np.where(better, trial * sum_lx, best), np.where(better, trial, scale)
    return scale


def _signed_around(x: F32, weights: F32, how: Signed, level: Level, *, d: F32, scale: F32) -> tuple[F32, F32]:
    """The best integer scale near `scale`, by the true error, and the error of the superblock."""
    best, best_scale = np.full_like(d, HUGE), scale
    for k in range(-how.around, how.around + 1):
        trial = larger(smaller(scale + f32(k), f32(how.top)), f32(-how.top - 1))
        error = _signed_error(x, weights, level, d * trial)
        better = error < best
        best, best_scale = np.where(better, error, best), np.where(better, trial, best_scale)
    return total(best, _SIZE // how.size), best_scale


def signed(x: F32, weights: F32, how: Signed, level: Level) -> Found:
    """d and the integer scale of every sub-block."""
    count = _SIZE // how.size
    searched = _search_signed(x, weights, how, level)
    peak = top(np.abs(searched), count)
    error, d, scale = np.full_like(peak, HUGE), half(peak / f32(how.top)), np.zeros_like(peak)
    for p in range(how.grid):
        for side in (0, 1):
            # With d negative the largest scale may be one larger.
            longest = f32(how.top + side) + f32(0.4) - f32(how.reach) * f32(p) / f32(how.grid)
            trial_d = half(peak / (-longest if side else longest))
            start = np.rint(searched * (ONE_F / trial_d))
            trial_error, trial = _signed_around(x, weights, how, level, d=trial_d, scale=start)
            better = trial_error < error
            error, d, scale = (np.where(better, a, b) for a, b in ((trial_error, error), (trial_d, d), (trial, scale)))
    for _ in range(how.rounds):
        sum_lx, sum_l2 = _signed_sums(x, weights, level, ONE_F / (d * scale))
        fitted = total(scale * sum_lx, count) / total(scale * scale * sum_l2, count)
        trial_d = half(np.where(np.abs(fitted) > 0, fitted, d))
        trial_error, trial = _signed_around(x, weights, how, level, d=trial_d, scale=scale)
        better = trial_error < error
        error, d, scale = (np.where(better, a, b) for a, b in ((trial_error, error), (trial_d, d), (trial, scale)))
    return d, np.zeros_like(d), scale, np.zeros_like(d)


# Bytes.


def _block(name: str, found: Found, count: int) -> tuple[np.ndarray, I32, I32]:
    """A record with d and dmin, and the integers [n, sub-blocks]."""
    d, dmin, scale, minimum = (part.reshape(-1, count) for part in found)
    block = np.zeros(len(d), FORMATS[name].dtype)
    block["d"] = d[:, 0]
    if "dmin" in (block.dtype.names or ()):
        block["dmin"] = dmin[:, 0]
    return block, scale.astype(np.int32), minimum.astype(np.int32)


def _bytes(block: np.ndarray) -> U8:
    return block.view(np.uint8).reshape(len(block), -1)


def _pack_q4(found: Found, levels: F32) -> U8:
    block, scales, minima = _block("Q4_K", found, 8)
    pairs = levels.astype(np.int32).reshape(-1, 4, 2, 32)
    block["scales"] = pack_six_bit(scales, minima)
    block["qs"] = (pairs[:, :, 0] | (pairs[:, :, 1] << 4)).reshape(-1, 128)
    return _bytes(block)


def _pack_q5(found: Found, levels: F32) -> U8:
    block, scales, minima = _block("Q5_K", found, 8)
    codes = levels.astype(np.int32)
    pairs = codes.reshape(-1, 4, 2, 32) & 15
    block["scales"] = pack_six_bit(scales, minima)
    block["qs"] = (pairs[:, :, 0] | (pairs[:, :, 1] << 4)).reshape(-1, 128)
    block["qh"] = stacked_bits(codes.reshape(-1, 8, 32) >> 4, 1)
    return _bytes(block)


def _pack_q2(found: Found, levels: F32) -> U8:
    block, scales, minima = _block("Q2_K", found, 16)
    block["scales"] = scales | (minima << 4)
    block["qs"] = pack_pairs_of_bits(levels.astype(np.int32))
    return _bytes(block)


def _pack_q6(found: Found, levels: F32) -> U8:
    block, scales, _ = _block("Q6_K", found, 16)
    quarters = (levels.astype(np.int32) + 32).reshape(-1, 2, 4, 32)
    low = quarters & 15
    block["scales"] = scales
    block["ql"] = (low[:, :, 0:2] | (low[:, :, 2:4] << 4)).reshape(-1, 128)
    block["qh"] = stacked_bits((quarters >> 4).reshape(-1, 4, 32), 2).reshape(-1, 64)
    return _bytes(block)


def _pack_q3(found: Found, levels: F32) -> U8:
    block, scales, _ = _block("Q3_K", found, 16)
    biased = levels.astype(np.int32) + 4
    block["scales"] = pack_q3_scales(scales + 32)
    block["qs"] = pack_pairs_of_bits(biased & 3)
    block["hmask"] = stacked_bits((biased >> 2).reshape(-1, 8, 32), 1)
    return _bytes(block)


@dataclass(frozen=True)
class _Search:
    """The search of a format: blocks, their importance, the mean squares of their rows, and the bytes to improve."""

    name: str
    how: Affine | Signed
    level: Level
    pack: Pack
    plain: Signed | None = None  # without importance, where that differs

    def __call__(self, x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
        lanes = lanes_of(x, self.how.size)
        weights = weigh(lanes, importance, means, self.how)
        absolute = False
        if isinstance(self.how, Affine):
            absolute = self.how.mean_absolute and importance is None
            found = _affine(lanes, weights, self.how, mean_absolute=absolute)
        else:
            how = self.how if importance is not None or self.plain is None else self.plain
            found = signed(lanes, weights, how, self.level)
        improve(
            lanes,
            weights,
            packed,
            name=self.name,
            how=self.how,
            found=found,
            level=self.level,
            pack=self.pack,
            important=importance is not None,
            absolute=absolute,
        )


_ALL = (
    _Search("Q2_K", Q2_K, between(0, 3), _pack_q2),
    _Search("Q3_K", Q3_K, between(-4, 3), _pack_q3, Q3_K_PLAIN),
    _Search("Q4_K", Q4_K, between(0, 15), _pack_q4),
    _Search("Q5_K", Q5_K, between(0, 31), _pack_q5),
    _Search("Q6_K", Q6_K, between(-32, 31), _pack_q6),
)
SEARCHES = {search.name: search for search in _ALL}
