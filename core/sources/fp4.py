"""FP4 weights, E2M1, with a scale each 16 (NVFP4) or 32 (MXFP4) of a row: ModelOpt's, Quark's, compressed-tensors'.

Two codes share a byte, the first in the low nibble. NVFP4's scales are E4M3 with one float32 for the tensor:
ModelOpt's `weight_scale_2` multiplies, compressed-tensors' `weight_global_scale` divides. MXFP4's are powers of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from core.model import ReadBytes, TensorInfo
from core.sources.stored import F32, Stored, check, damaged, logical, numbers, whole

_MAGNITUDES = (0, 0.5, 1, 1.5, 2, 3, 4, 6)
_LEVELS = np.array([*_MAGNITUDES, *(-value for value in _MAGNITUDES)], np.float32)


@dataclass(frozen=True, slots=True)
class Fp4:
    """value = level of the code * (scale of the group, times or divided by the tensor's own), in float32."""

    codes: TensorInfo
    scale: TensorInfo
    overall: TensorInfo | None
    divides: bool

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        return (self.codes, self.scale, self.overall) if self.overall else (self.codes, self.scale)

    def rows(self, read: ReadBytes, first: int, count: int) -> F32:
        """float32 [count, columns]."""
        width, groups = self.codes.shape[-1], self.scale.shape[-1]
        data = read(self.codes, first * width, count * width)
        values = _LEVELS[np.stack([data & 15, data >> 4], axis=-1)].reshape(count, groups, -1)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values *= self._scales(read, first * groups, count * groups).reshape(count, groups, 1)
        return values.reshape(count, 2 * width)

    def _scales(self, read: ReadBytes, first: int, count: int) -> F32:
        scales = numbers(read, self.scale, first, count)
        if not self.overall:
            return scales
        overall = whole(read, self.overall)
        return scales / overall if self.divides else scales * overall


def fp4(name: str, codes: TensorInfo, scale: TensorInfo, overall: TensorInfo | None, *, divides: bool) -> TensorInfo:
    """The logical tensor of U8 codes. Raises SnugError for parts that do not fit together."""
    group = 32 if scale.dtype in ("U8", "F8_E8M0") else 16
    columns = 2 * codes.shape[-1] if codes.shape else 0
    if not columns or columns % group:
        raise damaged(codes, f"{columns} columns are not groups of {group}")
    check(scale, dtypes=["U8", "F8_E8M0", "F8_E4M3"], shape=(*codes.shape[:-1], columns // group))
    if overall and (prod(overall.shape) != 1 or overall.dtype not in ("F32", "BF16", "F16")):
        raise damaged(codes, f"its scale for the whole tensor is {overall.dtype} of shape {list(overall.shape)}")
    if group == 32:
        scale = replace(scale, dtype="F8_E8M0")
    return logical(name, (*codes.shape[:-1], columns), Fp4(codes, scale, overall, divides))


def fold(stored: Stored) -> Iterator[TensorInfo]:
    """Every weight stored as U8 with a `weight_scale`: ModelOpt's NVFP4, Quark's MXFP4."""
    for base, codes in stored.ending(".weight"):
        if codes.dtype != "U8":
            continue
        scale = stored.part(codes, base + ".weight_scale")
        overall = stored.tensors.get(base + ".weight_scale_2")
        if scale.dtype == "F8_E4M3" and overall is None:
            raise damaged(codes, f"the tensor {base}.weight_scale_2 is missing")
        yield fp4(base + ".weight", codes, scale, overall, divides=False)
