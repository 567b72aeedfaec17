"""BitNet b1.58 packed offline: -1, 0 and 1 in two bits, and a scale for the tensor.

Layout of transformers: `weight` uint8 [rows / 4, columns]; with R packed rows, row r is in bits 2 * (r // R) of row
r % R, as code + 1. Plain BitLinear stores the inverse of the scale in `weight_scale`, AutoBitLinear the scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from core.model import ReadBytes, TensorInfo
from core.sources.stored import F32, Stored, check_matrix, damaged, logical, whole


@dataclass(frozen=True, slots=True)
class Ternary:
    """value = code / scale, or code * scale where it `multiplies`."""

    codes: TensorInfo
    scale: TensorInfo
    multiplies: bool

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        return (self.codes, self.scale)

    def rows(self, read: ReadBytes, first: int, count: int) -> F32:
        """float32 [count, columns]."""
        packed, width = self.codes.shape
        values = np.empty((count, width), np.float32)
        for place in range(4):
            low, high = max(first, place * packed), min(first + count, (place + 1) * packed)
            if low < high:
                data = read(self.codes, (low - place * packed) * width, (high - low) * width)
                values[low - first : high - first] = ((data >> (2 * place)) & 3).reshape(-1, width)
        values -= np.float32(1)
        scale = whole(read, self.scale)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return values * scale if self.multiplies else values / scale


def fold(stored: Stored) -> Iterator[TensorInfo]:
    """Every weight stored as U8."""
    multiplies = stored.settings.get("linear_class") == "autobitlinear"
    for base, codes in stored.ending(".weight"):
        if codes.dtype != "U8":
            continue
        check_matrix(codes, ["U8"])
        scale = stored.part(codes, base + ".weight_scale")
        if prod(scale.shape) != 1 or scale.dtype not in ("F32", "BF16", "F16"):
            raise damaged(codes, f"its scale is {scale.dtype} of shape {list(scale.shape)}, not one number")
        shape = (4 * codes.shape[0], codes.shape[1])
        yield logical(base + ".weight", shape, Ternary(codes, scale, multiplies))
