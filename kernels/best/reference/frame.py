"""The frame of every search: weights of the errors, levels for what was found, and the guard that keeps GGML's bytes.

What a family adds is a search and a packing. In a search an array is [elements, sub-blocks], and [sub-blocks] for what
a sub-block has once.
"""

from collections.abc import Callable

import numpy as np

from kernels.best.reference.parts import (
    F32,
    ONE_F,
    U8,
    ZERO,
    f32,
    importance_weights,
    is_improved,
    lanes_of,
    larger,
    plain_weights,
    smaller,
    sum_in_order,
    total,
)
from kernels.best.searches import BARE, ONE, ROW, How
from kernels.reference import DECODERS

Found = tuple[F32, F32, F32, F32]  # d, dmin, scale and minimum of every sub-block
Level = Callable[[F32], F32]  # the nearest of what a code can stand for
Pack = Callable[[Found, F32], U8]  # the bytes [n, block_bytes] of what was found and of levels [n, block_size]


def between(low: int, high: int) -> Level:
    """The nearest integer from low to high."""
    return lambda quotient: larger(smaller(np.rint(quotient), f32(high)), f32(low))


def row_means(rows: F32) -> F32:
    """The mean square of each row: 16 sums side by side, then those in order."""
    parts = rows.reshape(len(rows), -1, 16)
    sums = np.zeros((len(rows), 16), np.float32)
    for k in range(parts.shape[1]):
        sums = sums + parts[:, k] * parts[:, k]
    return sum_in_order(sums.T) / f32(rows.shape[1])


def weigh(x: F32, importance: F32 | None, means: F32 | None, how: How) -> F32:
    """What errors cost, [elements, sub-blocks] as x; importance is [n, block_size], means [n] are of their rows."""
    if importance is None or means is None:
        return plain_weights(x, how.plain)
    known = lanes_of(importance, how.size)
    count = how.block // how.size
    if how.spread == BARE:
        return known
    if how.spread == ROW:
        return importance_weights(x, known, np.repeat(means, count))
    mean = total(sum_in_order(x * x), count) * (f32(how.spread) / f32(how.block))
    return importance_weights(x, known, mean)


def _levels(x: F32, level: Level, found: Found, block: int) -> F32:
    """Levels [n, block] for rounded scales and minima; where a scale is 0, those of 0."""
    d, dmin, scale, minimum = found
    rounded, offset = d * scale, dmin * minimum
    inverse = np.where(rounded != 0, ONE_F / rounded, ZERO)
    return np.ascontiguousarray(level((x + offset) * inverse).T).reshape(-1, block)


def improve(
    x: F32,
    weights: F32,
    packed: U8,
    *,
    name: str,
    how: How,
    found: Found,
    level: Level,
    pack: Pack,
    important: bool,
    absolute: bool = False,
) -> None:
    """Replaces blocks [n, block_bytes] by what was found, where that decodes with less error; x is [elements, subs]."""
    ours = pack(found, _levels(x, level, found, how.block))
    values, costs = (np.ascontiguousarray(lanes.T).reshape(-1, how.block) for lanes in (x, weights))
    decode, evenly = DECODERS[name], not important and how.plain != ONE
    better = is_improved(decode(ours), decode(packed), values, costs, evenly=evenly, mean_absolute=absolute)
    packed[better] = ours[better]
