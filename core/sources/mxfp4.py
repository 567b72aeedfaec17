"""MXFP4 experts as gpt-oss ships them, kept as they are: only the order of the nibbles is GGML's.

`X_blocks` uint8 [experts, rows, blocks, 16] and `X_scales` uint8 [experts, rows, blocks], an exponent (E8M0) for 32
weights. Byte j holds elements 2j (low nibble) and 2j + 1; in GGML's blocks of 17 bytes, after the exponent, elements j
and j + 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.model import ReadBytes, TensorInfo
from core.sources.stored import U8, Stored, check, damaged, logical


@dataclass(frozen=True, slots=True)
class Mxfp4:
    """Rows of GGML's MXFP4."""

    blocks: TensorInfo
    scales: TensorInfo

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        return (self.blocks, self.scales)

    def rows(self, read: ReadBytes, first: int, count: int) -> U8:
        """uint8 [count, 17 * blocks]."""
        each = self.blocks.shape[-2]
        data = read(self.blocks, first * each * 16, count * each * 16).reshape(-1, 16)
        codes = np.stack([data & 15, data >> 4], axis=-1).reshape(-1, 32)
        found = np.empty((count * each, 17), np.uint8)
        found[:, 0] = read(self.scales, first * each, count * each)
        found[:, 1:] = codes[:, :16] | codes[:, 16:] << 4
        return found.reshape(count, 17 * each)


def fold(stored: Stored) -> Iterator[TensorInfo]:
    """Every pair of blocks and scales: X [experts, rows, columns], rows being outputs, of dtype MXFP4."""
    for name, blocks in stored.ending("_blocks"):
        scales = stored.part(blocks, name + "_scales")
        if blocks.dtype != "U8" or len(blocks.shape) < 3 or blocks.shape[-1] != 16 or 0 in blocks.shape:
            raise damaged(blocks, f"{blocks.dtype} of shape {list(blocks.shape)} is no row of MXFP4 blocks")
        check(scales, dtypes=["U8", "F8_E8M0"], shape=blocks.shape[:-1])
        yield logical(name, (*blocks.shape[:-2], 32 * blocks.shape[-2]), Mxfp4(blocks, scales), "MXFP4")
