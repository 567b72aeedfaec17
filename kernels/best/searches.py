"""How the effort "best" looks for lower error: one row of data a format, read by the reference and the lanes alike.

The error of a block is sum(weight * (value - x)**2). Weights are those that GGML minimises for the format, so that
what is lowered is what it lowers too; where it only looks for extremes they are 1, or the importance if there is one.
"""

from typing import NamedTuple

ONE, MAGNITUDE, SQUARE, RMS = range(4)  # weights without importance: 1, |x|, x**2, rms of the sub-block + |x|


class Affine(NamedTuple):
    """x ~ d * scale * q - dmin * minimum, with q in 0..levels and scale and minimum in 0..top.

    Starts divide the range of a sub-block by `levels + first + step * k`, and move its low end by `shift + shift_step
    * k` steps. `grid` f16 values each of d and dmin are tried together; then scales and minima one up and one down,
    `rounds` times more after d and dmin were fitted to the codes.
    """

    size: int
    levels: int
    top: int
    plain: int
    spread: float  # with importance: sigma**2 is this many times the mean square of the superblock
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


Q4_K = Affine(32, 15, 63, RMS, 2.0, 9, -1.5, 0.31, 3, -0.4, 0.4, 2, 12, 14.0, 2)
Q5_K = Affine(32, 31, 63, RMS, 2.0, 9, -1.5, 0.31, 3, -0.4, 0.4, 2, 12, 14.0, 2)
Q2_K = Affine(16, 3, 15, MAGNITUDE, 1.0, 7, -0.9, 0.3, 3, -0.4, 0.4, 1, 12, 6.0, 2, True)


class Signed(NamedTuple):
    """x ~ d * scale * q, with q in low..-low - 1 and scale in -top - 1..top.

    Starts divide the largest weight of a sub-block, and its negative, by `low - first - step * k`. `grid` f16 values
    of d are tried with either sign; for each, the scales up to `around` from the nearest one. `rounds` times more d is
    fitted to the codes and the scales looked for again.
    """

    size: int
    low: int
    top: int
    plain: int
    spread: float  # as in Affine; 0: the importance alone
    starts: int
    first: float
    step: float
    grid: int
    reach: float
    around: int
    rounds: int


Q6_K = Signed(16, -32, 127, SQUARE, 0.0, 6, -4.0, 1.0, 2, 20.0, 2, 1)
Q3_K = Signed(16, -4, 31, SQUARE, 2.0, 5, -1.5, 0.5, 1, 8.0, 1, 2)
