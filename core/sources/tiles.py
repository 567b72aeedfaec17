"""Codes of one byte, FP8 or INT8, that share a scale tile by tile: the whole tensor, a row, a group or a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from core.model import ReadBytes, TensorInfo
from core.sources.stored import F32, NUMBERS, damaged, numbers, tile_size

Blocks = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Tiled:
    """value = (code - zero) * scale in float32; a scale a `tile` of [rows, columns], `grid` [matrices, down, across].

    Without a scale the codes are the values.
    """

    codes: TensorInfo
    scale: TensorInfo | None
    zero: TensorInfo | None
    grid: tuple[int, int, int]
    tile: tuple[int, int]

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        return tuple(part for part in (self.codes, self.scale, self.zero) if part)

    def rows(self, read: ReadBytes, first: int, count: int) -> F32:
        """float32 [count, columns]."""
        width = self.codes.shape[-1]
        values = numbers(read, self.codes, first * width, count * width).reshape(count, width)
        if self.zero:
            values -= self._spread(read, self.zero, first, count)
        if self.scale:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite, encode refuses by name
                values *= self._spread(read, self.scale, first, count)
        return values

    def _spread(self, read: ReadBytes, per_tile: TensorInfo, first: int, count: int) -> F32:
        """The scale of every weight, as an array that broadcasts against [count, columns]."""
        matrices, down, across = self.grid
        rows = self.codes.shape[-2] if len(self.codes.shape) > 1 else 1
        row = np.arange(first, first + count)
        at = (row // rows if matrices > 1 else 0) * down + row % rows // self.tile[0]
        low, high = int(at.min()), int(at.max()) + 1
        found = numbers(read, per_tile, low * across, (high - low) * across).reshape(-1, across)[at - low]
        return found if across == 1 else np.repeat(found, self.tile[1], axis=1)[:, : self.codes.shape[-1]]


def block_sizes(value: Any) -> Blocks:
    """The rows and columns of a block as settings have them, [128, 128]; none for anything else."""
    if isinstance(value, list) and len(value) == 2 and all(type(size) is int for size in value):
        return [(value[0], value[1])]
    return []


def tiled(codes: TensorInfo, scale: TensorInfo, blocks: Blocks, zero: TensorInfo | None = None) -> Tiled:
    """The packing of codes whose scale's shape says what shares one; `blocks` are the sizes that tiles may have.

    A scale of fewer dimensions is that of whole rows or matrices: [rows] means [rows, 1]. Raises SnugError.
    """
    if scale.dtype not in NUMBERS:
        raise damaged(codes, f"its scale is of type {scale.dtype}")
    shape = (1,) * (2 - len(codes.shape)) + codes.shape
    grid = scale.shape + (1,) * (len(shape) - len(scale.shape))
    leads = len(grid) == len(shape) and grid[:-2] in (shape[:-2], (1,) * (len(shape) - 2))
    down = tile_size(shape[-2], grid[-2], [block[0] for block in blocks])
    across = tile_size(shape[-1], grid[-1], [block[1] for block in blocks])
    if not leads or not down or not across or 0 in grid:
        raise damaged(codes, f"its scale of shape {list(scale.shape)} does not fit shape {list(codes.shape)}")
    if zero and (prod(zero.shape) != prod(scale.shape) or zero.dtype not in NUMBERS):
        raise damaged(codes, f"its zero point of shape {list(zero.shape)} does not fit its scale")
    return Tiled(codes, scale, zero, (prod(grid[:-2]), grid[-2], grid[-1]), (down, across))
