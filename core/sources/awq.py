"""AWQ, layout "gemm": 4 bits, groups of input columns with a scale and a zero point.

Layout of AutoAWQ: `qweight` int32 [in, out / 8] and `qzeros` int32 [groups, out / 8], both packed along out, and
`scales` [groups, out]. Nibble i of a word, from the lowest, holds output 0, 2, 4, 6, 1, 3, 5, 7.
weight[o, i] = (q[i, o] - zero[g, o]) * scales[g, o].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.errors import SnugError
from core.model import ReadBytes, TensorInfo
from core.sources.groups import FLOATS, float_columns, scaled
from core.sources.stored import F32, U8, Stored, check, check_matrix, columns, damaged, logical, tile_size
from core.sources.words import loose, turned, unpack_rows

_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)  # of outputs 0 to 7
_EACH = 8


@dataclass(frozen=True, slots=True)
class Awq:
    """`group` input columns share a scale and a zero point."""

    qweight: TensorInfo
    qzeros: TensorInfo
    scales: TensorInfo
    group: int

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        return (self.qweight, self.qzeros, self.scales)

    def rows(self, read: ReadBytes, first: int, count: int) -> F32:
        """float32 [count, columns]; of every stored row, only what belongs to these outputs is read."""
        codes, zeros = (_nibbles(read, part, first, count) for part in (self.qweight, self.qzeros))
        return scaled(codes, self.group, zeros.astype(np.float32), float_columns(read, self.scales, first, count))


def _nibbles(read: ReadBytes, tensor: TensorInfo, first: int, count: int) -> U8:
    """uint8 [count, stored rows]."""
    low, high = first // _EACH, -(-(first + count) // _EACH)
    found = turned(unpack_rows(columns(read, tensor, 4 * low, 4 * (high - low)), 4, loose(4)))
    in_order = found.reshape(high - low, _EACH, -1)[:, _PLACES].reshape(-1, found.shape[1])
    return in_order[first - low * _EACH :][:count]


def fold(stored: Stored) -> Iterator[TensorInfo]:
    """Every linear layer that has a `qweight`."""
    settings = stored.settings
    bits, layout = settings.get("bits", 4), str(settings.get("version") or settings.get("format") or "gemm").lower()
    if bits != 4 or layout != "gemm":
        raise SnugError(
            f"This AWQ checkpoint has {bits} bits in the layout {layout}; Snug reads 4 bits in the layout gemm.",
            "Use the full-precision model that it was made from.",
        )
    for base, qweight in stored.ending(".qweight"):
        check_matrix(qweight, ["I32"])
        qzeros, scales = stored.part(qweight, base + ".qzeros"), stored.part(qweight, base + ".scales")
        check_matrix(scales, FLOATS)
        inputs, outputs = qweight.shape[0], qweight.shape[1] * _EACH
        groups = scales.shape[0]
        check(scales, dtypes=FLOATS, shape=(groups, outputs))
        check(qzeros, dtypes=["I32"], shape=(groups, qweight.shape[1]))
        size = settings.get("group_size")
        group = tile_size(inputs, groups, [size] if type(size) is int else [])
        if group is None:
            raise damaged(qweight, f"its {inputs} columns cannot be shared out to {groups} groups")
        yield logical(base + ".weight", (outputs, inputs), Awq(qweight, qzeros, scales, group))
