"""How the effort "best" looks for lower error: one row of data a format, read by the reference and the lanes alike.

The error of a block is sum(weight * (value - x)**2). Weights are those that GGML minimises for the format, so that
what is lowered is what it lowers too; where it only looks for extremes they are 1, or the importance if there is one.
"""

from typing import NamedTuple

ONE, MAGNITUDE, SQUARE, RMS = range(4)  # weights without importance: 1, |x|, x**2, rms of the sub-block + |x|

# With importance a weight is importance * sqrt(mean + x**2), where mean is `spread` times the mean square of the block,
# or the mean square of the ROW, or the importance BARE.
ROW, BARE = -1.0, 0.0


class Affine(NamedTuple):
    """x ~ d * scale * q - dmin * minimum, with q in 0..levels and scale and minimum in 0..top.

    Starts divide the range of a sub-block by `levels + first + step * k`, and move its low end by `shift + shift_step
    * k` steps. `grid` f16 values each of d and dmin are tried together; then scales and minima one up or one down,
    `rounds` times more after d and dmin were fitted to the codes.
    """

    block: int
    size: int  # of a sub-block
    levels: int
    top: int
    plain: int
    spread: float
    stretches: int
    first: float
    step: float
    shifts: int
    shift: float
    shift_step: float
    polish: int
    grid: int
    reach: float  # the grid ends where the largest scale is this far below `top`
    rounds: int
    mean_absolute: bool = False  # GGML's Q2_K without importance: sum(weight * |value - x|)


class Signed(NamedTuple):
    """x ~ d * scale * level, with levels that the family knows and scale in -top - 1..top.

    Starts put the largest weight of a sub-block, and its negative, at `first + step * k`. `grid` f16 values of d are
    tried with either sign; for each, the scales up to `around` from the nearest one. `rounds` times more d is
    fitted to the codes and the scales looked for again.
    """

    block: int
    size: int  # of a sub-block
    top: int
    plain: int
    spread: float
    starts: int
    first: float
    step: float
    grid: int
    reach: float
    around: int
    rounds: int


class Single(NamedTuple):
    """x ~ d * level, with one f16 scale a block, and levels that the family knows.

    Starts put the largest weight of a block, and with two `sides` its negative, at `first + step * k`; from there d is
    fitted `rounds` times to the levels nearest for it, and all are compared by their true error.
    """

    block: int
    size: int
    plain: int
    spread: float
    sides: int
    starts: int
    first: float
    step: float
    rounds: int


class Line(NamedTuple):
    """x ~ d * q + m, with q in 0..levels, and d and m in f16.

    Starts are those of Affine; the best is fitted to its codes `rounds` times and rounded each time.
    """

    block: int
    size: int
    levels: int
    plain: int
    spread: float
    stretches: int
    first: float
    step: float
    shifts: int
    shift: float
    shift_step: float
    rounds: int


class Scan(NamedTuple):
    """x ~ d * level, where d is an 8-bit float: those from `below` under to `above` over the usual one are tried."""

    block: int
    size: int
    plain: int
    spread: float
    below: int
    above: int


class Words(NamedTuple):
    """x ~ d * unit * (2 s + 1) * level, where levels of a group of weights spell a word of the grid; s is in 0..top.

    Levels stand for magnitudes, or, with a `shift`, for values that it moves up or down, the same way for `shared`
    weights.

    Starts make the largest weight of a sub-block `first + step * k` times the scale; with a shift, it is the scale of
    least error for GGML's words that they divide by that. `trials` f16 values of d are tried
    with the words that the starts gave, scales one down and one up too. The best get words of their own, and `rounds`
    times more d is fitted to those and words are chosen for it; then d is fitted once more. Words are always the best
    of all.
    """

    block: int
    size: int  # of a sub-block
    grid: str
    levels: tuple[float, ...]  # of the codes
    unit: float
    even: bool  # eight weights have an even number of minus signs
    factor: int  # GGML's sigma2 is this many times the mean square of the block: weights are importance *
    share: float  # sqrt(sigma2 + x**2) with importance, share * sigma2 + x**2 without
    starts: int
    first: float
    step: float
    trials: int
    reach: float  # the trials end where the largest multiple of d is this far below 2 * top + 1.9
    rounds: int
    top: int = 15
    shift: float = 0.0
    shared: int = 0


How = Affine | Signed | Single | Line | Scan

Q4_K = Affine(256, 32, 15, 63, RMS, 2.0, 9, -1.5, 0.31, 3, -0.4, 0.4, 2, 12, 7.0, 2)
Q5_K = Affine(256, 32, 31, 63, RMS, 2.0, 13, -3.5, 0.35, 2, -0.3, 0.5, 1, 20, 10.0, 2)
Q2_K = Affine(256, 16, 3, 15, MAGNITUDE, 1.0, 6, -0.9, 0.36, 3, -0.4, 0.4, 1, 8, 4.0, 1, True)
Q6_K = Signed(256, 16, 127, SQUARE, BARE, 6, -28.0, -1.0, 2, 20.0, 2, 1)
Q3_K = Signed(256, 16, 31, SQUARE, 2.0, 5, -2.5, -0.5, 1, 8.0, 1, 2)
Q3_K_PLAIN = Q3_K._replace(starts=2, first=-3.0, step=-1.0, around=0, rounds=1)  # without importance GGML is quick
IQ4_XS = Signed(256, 32, 31, SQUARE, 2.0, 9, -139.0, 4.0, 2, 8.0, 1, 2)
Q4_0 = Single(32, 32, ONE, ROW, 2, 15, -9.8, 0.2, 1)
Q5_0 = Single(32, 32, ONE, ROW, 2, 15, -18.0, 0.25, 1)
Q4_1 = Line(32, 32, 15, ONE, ROW, 9, -3.0, 0.45, 5, -0.4, 0.4, 3)
Q5_1 = Line(32, 32, 31, ONE, ROW, 9, -3.5, 0.5, 5, -0.4, 0.4, 3)
Q8_0 = Single(32, 32, ONE, ROW, 1, 48, -128.4, 0.39, 0)
IQ4_NL = Single(32, 32, SQUARE, 2.0, 2, 9, -139.0, 4.0, 1)
TQ1_0 = Single(256, 256, ONE, ROW, 1, 12, 1.0, 0.5, 2)
TQ2_0 = Single(256, 256, ONE, ROW, 1, 12, 1.0, 0.5, 2)
Q2_0 = Single(64, 64, ONE, ROW, 2, 9, 1.0, 0.4, 2)
Q1_0 = Single(128, 128, ONE, ROW, 1, 1, 1.0, 0.0, 0)
MXFP4 = Scan(32, 32, ONE, ROW, 1, 1)
NVFP4 = Scan(64, 16, ONE, ROW, 5, 7)

_THREE_BITS = (4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0)
_ODD = (1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0)
_TWO_BITS = (8.0, 25.0, 43.0)
_TERNARY = (-1.0, 0.0, 1.0)

IQ3_XXS = Words(256, 32, "IQ3_XXS", _THREE_BITS, 0.25, True, 2, 0.0, 8, 42.0, 5.0, 24, 12.0, 1)
IQ3_S = Words(256, 32, "IQ3_S", _ODD, 1.0, False, 2, 0.0, 9, 9.5, 1.1, 24, 12.0, 1)
IQ2_XXS = Words(256, 32, "IQ2_XXS", _TWO_BITS, 0.125, True, 1, 0.0, 9, 30.0, 6.0, 24, 12.0, 1)
IQ2_XS = Words(256, 16, "IQ2_XS", _TWO_BITS, 0.125, True, 1, 0.0, 7, 30.0, 6.0, 24, 12.0, 1)
IQ2_S = Words(256, 16, "IQ2_S", _TWO_BITS, 0.125, False, 2, 0.25, 6, 32.0, 6.0, 24, 12.0, 1)
IQ1_S = Words(256, 32, "IQ1_S", _TERNARY, 1.0, False, 2, 0.0, 2, 0.9, 0.2, 24, 8.0, 0, 7, 0.125, 32)
IQ1_M = Words(256, 16, "IQ1_S", _TERNARY, 1.0, False, 2, 0.0, 1, 1.0, 0.2, 24, 8.0, 0, 7, 0.125, 8)
