"""Ternary weights with their mean magnitude, as BitNet b1.58 trains them (Ma et al. 2024, arXiv 2402.17764).

A code is round(x / mean|x|) kept to -1, 0 and 1, and x ~ scale * code.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.numbers.int8 import integer_codes
from kernels.numbers.tiles import (
    F32,
    TENSOR,
    Tile,
    as_matrix,
    grid,
    refuse_non_finite,
    run,
    sixteen_sums,
    spread,
    wants_cpu,
    whole_tiles,
)

I8 = NDArray[np.int8]
U8 = NDArray[np.uint8]

f32 = np.float32
_SMALLEST = f32(1e-5)  # what transformers takes a smaller mean for


@dataclass(frozen=True)
class Ternary:
    """`codes` int8 -1, 0, 1 [rows, columns] and `scale` float32 [down, across] tiles."""

    codes: I8
    scale: F32
    tile: Tile


def quantize_ternary(x: NDArray[np.generic], tile: Tile = TENSOR, *, backend: str = "auto") -> Ternary:
    """Codes and scales of weights [rows, columns]: the scale is the tile's mean magnitude, at least 1e-5.

    Tiles must fill the matrix, else ValueError. The code is that of x * (1 / scale), halves to even (transformers'
    WeightQuant). Which of the two a file stores, scale or 1 / scale, differs between its loaders.
    """
    rows = as_matrix(x)
    fast = wants_cpu(backend)
    refuse_non_finite(rows)
    tiles = whole_tiles(rows, tile)
    sums = np.zeros(len(tiles))
    if fast:
        run("magnitude_sums", tiles, tiles.shape[1], sums)
    else:
        sums = sixteen_sums(np.abs(tiles).astype(np.float64))
    mean = (sums / tiles.shape[1]).astype(np.float32).reshape(grid(rows.shape, tile))
    scale = np.maximum(mean, _SMALLEST)
    codes = integer_codes(rows, tile, f32(1) / scale, np.zeros_like(scale), (-1, 1), backend)
    return Ternary(codes, scale, tile)


def dequantize_ternary(q: Ternary) -> F32:
    """The values of codes, float32 [rows, columns]."""
    values: F32 = q.codes.astype(np.float32) * spread(q.scale, q.codes.shape, q.tile)
    return values


def pack_ternary(codes: I8) -> U8:
    """Codes [rows, columns] four a byte [ceil(rows / 4), columns], as transformers' BitNet files.

    Row r goes with code + 1 into bits 2 * (r // n) of row r % n, where n is the number of packed rows; bits of rows
    that are not there are 0.
    """
    packed_rows = -(-codes.shape[0] // 4)
    padded = np.zeros((4 * packed_rows, codes.shape[1]), np.uint8)
    padded[: codes.shape[0]] = codes + np.int8(1)
    parts = padded.reshape(4, packed_rows, -1)
    packed: U8 = parts[0] | (parts[1] << 2) | (parts[2] << 4) | (parts[3] << 6)
    return packed


def unpack_ternary(packed: U8, rows: int) -> I8:
    """The first `rows` rows of codes that `pack_ternary` packed; ValueError if there are not so many."""
    if not 4 * (len(packed) - 1) < rows <= 4 * len(packed):
        raise ValueError(f"{len(packed)} packed rows cannot hold {rows} rows")
    parts = np.concatenate([(packed >> (2 * k)) & 3 for k in range(4)])[:rows]
    return parts.astype(np.int8) - np.int8(1)
