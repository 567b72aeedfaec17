"""INT8 codes with a scale, and with or without a zero point.

Symmetric: x ~ scale * q with scale = limit / 127 and q in -127..127. Asymmetric: x ~ scale * (q - zero_point) with the
range, which always holds 0, spread over -128..127 (Jacob et al. 2018, "Quantization and Training of Neural Networks
for Efficient Integer-Arithmetic-Only Inference"). A code is round(x * (1 / scale)) + zero_point, halves to even, as
torch.fake_quantize_per_channel_affine computes it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.numbers.tiles import (
    CHANNEL,
    F32,
    Tile,
    as_matrix,
    extremes,
    grid,
    run,
    sixteen_sums,
    spread,
    tile_size,
    wants_cpu,
    whole_tiles,
)

I8 = NDArray[np.int8]
I32 = NDArray[np.int32]

f32 = np.float32
_SMALLEST = f32(2.0**-126)  # the reciprocal of anything smaller may be infinite


@dataclass(frozen=True)
class Int8:
    """`codes` int8 [rows, columns], `scale` float32 and `zero_point` int32 (or None) [down, across] tiles."""

    codes: I8
    scale: F32
    zero_point: I32 | None
    tile: Tile


@dataclass(frozen=True)
class Percentile:
    """Clips what lies beyond this percentile of each tile, in 50..100, by linear interpolation (numpy.percentile)."""

    percent: float

    def __post_init__(self) -> None:
        if not 50 <= self.percent <= 100:
            raise ValueError(f"a clipping percentile lies in 50..100, not at {self.percent}")


@dataclass(frozen=True)
class LeastError:
    """Shrinks each tile's range by 0, 1, ... hundredths and takes the first of least squared error."""

    steps: int = 80

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 100:
            raise ValueError(f"a search shrinks the range in 1 to 100 steps, not {self.steps}")


@dataclass(frozen=True)
class _Scheme:
    lowest: int
    highest: int
    scale_and_zero: Callable[[F32, F32], tuple[F32, F32]]


def _usable(scale: F32) -> F32:
    return np.where(scale >= _SMALLEST, scale, f32(1))


def _symmetric(low: F32, high: F32) -> tuple[F32, F32]:
    limit: F32 = np.maximum(-low, high)
    scale = _usable(limit / f32(127))
    return scale, np.zeros_like(scale)


def _asymmetric(low: F32, high: F32) -> tuple[F32, F32]:
    scale = _usable(high / f32(255) - low / f32(255))
    return scale, np.clip(np.rint(f32(-128) - low / scale), -128, 127)


_SYMMETRIC, _ASYMMETRIC = _Scheme(-127, 127, _symmetric), _Scheme(-128, 127, _asymmetric)


def symmetric_int8(
    x: NDArray[np.generic],
    tile: Tile = CHANNEL,
    *,
    clip: Percentile | LeastError | None = None,
    backend: str = "auto",
) -> Int8:
    """Codes and a scale a tile of weights [rows, columns]; a tile of zeros (or all below 1.5e-36) has scale 1.

    Percentiles are of magnitudes. Clipping wants tiles that fill the matrix, else ValueError.
    """
    rows = as_matrix(x)
    low, high = extremes(rows, tile, backend)
    limit = np.maximum(-low, high)
    if isinstance(clip, Percentile):
        limit = _percentile(np.abs(rows), tile, clip.percent)
    low, high = -limit, limit
    return _quantize(rows, tile, _SYMMETRIC, *_shrunk(rows, tile, _SYMMETRIC, low, high, clip, backend), backend)


def asymmetric_int8(
    x: NDArray[np.generic],
    tile: Tile = CHANNEL,
    *,
    clip: Percentile | LeastError | None = None,
    backend: str = "auto",
) -> Int8:
    """Codes, a scale and a zero point a tile of weights [rows, columns]; otherwise as symmetric_int8.

    A percentile clips both ends.
    """
    rows = as_matrix(x)
    low, high = extremes(rows, tile, backend)
    if isinstance(clip, Percentile):
        low = np.minimum(_percentile(rows, tile, 100 - clip.percent), f32(0))
        high = np.maximum(_percentile(rows, tile, clip.percent), f32(0))
    return _quantize(rows, tile, _ASYMMETRIC, *_shrunk(rows, tile, _ASYMMETRIC, low, high, clip, backend), backend)


def dequantize_int8(q: Int8) -> F32:
    """The values of codes, float32 [rows, columns]."""
    codes = q.codes.astype(np.float32)
    if q.zero_point is not None:
        codes = codes - spread(q.zero_point, codes.shape, q.tile).astype(np.float32)
    values: F32 = codes * spread(q.scale, codes.shape, q.tile)
    return values


def llm_int8(x: NDArray[np.generic], *, backend: str = "auto") -> tuple[I8, F32]:
    """Codes and row magnitudes ("SCB", float32 [rows]) as bitsandbytes stores them: x ~ codes * SCB / 127.

    bitsandbytes rounds weights to float16 first; give them so for its very bytes. Rows of zeros have magnitude 0.
    """
    rows = as_matrix(x)
    low, high = extremes(rows, CHANNEL, backend)
    peak = np.maximum(-low, high)
    inverse = np.divide(f32(127), peak, out=np.zeros_like(peak), where=peak >= _SMALLEST)
    codes = _codes(rows, CHANNEL, _SYMMETRIC, inverse, np.zeros_like(peak), backend)
    return codes, peak[:, 0]


def dequantize_llm_int8(codes: I8, scb: F32) -> F32:
    """The values of codes [rows, columns] and row magnitudes [rows]: codes * SCB * (1 / 127), as bitsandbytes does."""
    values: F32 = codes.astype(np.float32) * scb[:, None] * f32(1 / 127)
    return values


def _percentile(x: F32, tile: Tile, percent: float) -> F32:
    limits = np.percentile(whole_tiles(x, tile), percent, axis=1)
    return np.asarray(limits, np.float32).reshape(grid(x.shape, tile))


def _quantize(x: F32, tile: Tile, scheme: _Scheme, low: F32, high: F32, backend: str) -> Int8:
    scale, zero = scheme.scale_and_zero(low, high)
    codes = _codes(x, tile, scheme, f32(1) / scale, zero, backend)
    return Int8(codes, scale, None if scheme is _SYMMETRIC else zero.astype(np.int32), tile)


def _codes(x: F32, tile: Tile, scheme: _Scheme, inverse: F32, zero: F32, backend: str) -> I8:
    return integer_codes(x, tile, inverse, zero, (scheme.lowest, scheme.highest), backend)


def integer_codes(x: F32, tile: Tile, inverse: F32, zero: F32, limits: tuple[int, int], backend: str) -> I8:
    """round(x * inverse) + zero, halves to even, kept between two limits; inverse and zero are [down, across]."""
    low, high = f32(limits[0]), f32(limits[1])
    if not wants_cpu(backend):
        codes = np.rint(x * spread(inverse, x.shape, tile)) + spread(zero, x.shape, tile)
        kept: I8 = np.clip(codes, low, high).astype(np.int8)
        return kept
    out = np.empty(x.shape, np.int8)
    tiles = (x.shape[1], *tile_size(x.shape, tile), inverse.reshape(-1), zero.reshape(-1))
    run("integers", x, *tiles, low, high, out.view(np.uint8).reshape(-1))
    return out


def _shrunk(
    x: F32, tile: Tile, scheme: _Scheme, low: F32, high: F32, clip: Percentile | LeastError | None, backend: str
) -> tuple[F32, F32]:
    """The limits, shrunk where clip is a search."""
    if not isinstance(clip, LeastError):
        return low, high
    tiles = whole_tiles(x, tile)
    least = np.full(low.shape, np.inf)
    best = np.ones_like(low)
    for k in range(clip.steps):
        part = f32(1 - k / 100)
        scale, zero = scheme.scale_and_zero(low * part, high * part)
        errors = _squared_errors(tiles, scheme, scale.reshape(-1), zero.reshape(-1), backend).reshape(low.shape)
        best = np.where(errors < least, part, best)
        least = np.minimum(errors, least)
    return low * best, high * best


def _squared_errors(tiles: F32, scheme: _Scheme, scale: F32, zero: F32, backend: str) -> NDArray[np.float64]:
    inverse, low, high = f32(1) / scale, f32(scheme.lowest), f32(scheme.highest)
    if wants_cpu(backend):
        sums = np.zeros(len(tiles))
        run("squared_errors", tiles, tiles.shape[1], scale, inverse, zero, low, high, sums)
        return sums
    codes = np.clip(np.rint(tiles * inverse[:, None]) + zero[:, None], low, high)
    values = (codes - zero[:, None]) * scale[:, None]
    return sixteen_sums((tiles.astype(np.float64) - values) ** 2)
