"""GPTQ: 2, 3, 4 or 8 bits, groups of input columns with a scale and a zero point, in any order (`g_idx`).

Layout of AutoGPTQ and GPTQModel: `qweight` int32 [in * bits / 32, out] packed along in, `qzeros` int32
[groups, out * bits / 32] packed along out, `scales` [groups, out], `g_idx` int32 [in], the group of each column.
weight[o, i] = scales[g, o] * (q[i, o] - zero[g, o]). Checkpoint format "gptq" stores the zero point less one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.errors import SnugError
from core.model import ReadBytes, TensorInfo
from core.sources.groups import FLOATS, float_columns, read_groups, scaled
from core.sources.stored import (
    F32,
    USE_ORIGINAL,
    Stored,
    check,
    check_matrix,
    columns,
    damaged,
    logical,
    tile_size,
)
from core.sources.words import dense, turned, unpack_columns, unpack_rows

BITS = (2, 3, 4, 8)

_STORED_LESS = {"gptq": 1, "gptq_v2": 0}


@dataclass(frozen=True, slots=True)
class Gptq:
    """`less` is what was taken off the zero points before they were stored; `group` counts where g_idx is not there."""

    qweight: TensorInfo
    qzeros: TensorInfo
    scales: TensorInfo
    g_idx: TensorInfo | None
    bits: int
    group: int
    less: int

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        found = (self.qweight, self.qzeros, self.scales)
        return (*found, self.g_idx) if self.g_idx else found

    def rows(self, read: ReadBytes, first: int, count: int) -> F32:
        """float32 [count, columns]; of every stored row, only what belongs to these outputs is read."""
        codes = unpack_columns(columns(read, self.qweight, 4 * first, 4 * count), self.bits, dense(self.bits))
        groups = read_groups(read, self.g_idx, self.group, self.scales.shape[0]) if self.g_idx else self.group
        zeros, scales = self._zeros(read, first, count), float_columns(read, self.scales, first, count)
        return scaled(turned(codes), groups, zeros, scales)

    def _zeros(self, read: ReadBytes, first: int, count: int) -> F32:
        """float32 [count, groups]."""
        each, words = run = dense(self.bits)
        low, high = first // each, -(-(first + count) // each)
        data = columns(read, self.qzeros, 4 * words * low, 4 * words * (high - low))
        codes = unpack_rows(data, self.bits, run)[:, first - low * each :][:, :count]
        return codes.T.astype(np.float32) + np.float32(self.less)


def fold(stored: Stored) -> Iterator[TensorInfo]:
    """Every linear layer that has a `qweight`."""
    kind = str(stored.settings.get("checkpoint_format") or stored.settings.get("format") or "gptq")
    if kind not in _STORED_LESS or stored.settings.get("is_marlin_format"):
        raise SnugError(
            f"This GPTQ checkpoint is in the format {kind if kind not in _STORED_LESS else 'marlin'}, "
            "which Snug cannot read.",
            "Use one in the usual format (gptq), or the full-precision model that it was made from.",
        )
    for base, qweight in stored.ending(".qweight"):
        yield _folded(stored, base, qweight, less=_STORED_LESS[kind])


def _folded(stored: Stored, base: str, qweight: TensorInfo, *, less: int) -> TensorInfo:
    check_matrix(qweight, ["I32"])
    qzeros, scales = stored.part(qweight, base + ".qzeros"), stored.part(qweight, base + ".scales")
    check_matrix(scales, FLOATS)
    groups, outputs = scales.shape
    bits = _bits(stored, qweight, qzeros, outputs)
    if qweight.shape[0] % dense(bits).words or outputs * bits % 32:
        raise damaged(qweight, f"its shape {list(qweight.shape)} is not one of {bits} bits")
    check(qweight, dtypes=["I32"], shape=(qweight.shape[0], outputs))
    check(qzeros, dtypes=["I32"], shape=(groups, outputs * bits // 32))
    inputs = qweight.shape[0] * 32 // bits
    g_idx = stored.tensors.get(base + ".g_idx")
    if g_idx:
        check(g_idx, dtypes=["I32"], shape=(inputs,))
    size = stored.settings.get("group_size")
    group = tile_size(inputs, groups, [size] if type(size) is int else [])
    if group is None and not g_idx:
        raise damaged(qweight, f"its {inputs} columns cannot be shared out to {groups} groups")
    packing = Gptq(qweight, qzeros, scales, g_idx, bits, group or 0, less)
    return logical(base + ".weight", (outputs, inputs), packing)


def _bits(stored: Stored, qweight: TensorInfo, qzeros: TensorInfo, outputs: int) -> int:
    """As the zero points' shape has it: layers may differ from what the settings say (`dynamic`)."""
    claimed = stored.settings.get("bits")
    if claimed is not None and claimed not in BITS:
        raise SnugError(f"GPTQ with {claimed} bits is not known.", USE_ORIGINAL)
    if len(qzeros.shape) != 2:
        raise damaged(qzeros, f"its shape is {list(qzeros.shape)}, which is no matrix")
    bits = qzeros.shape[1] * 32 // outputs
    if bits not in BITS or (claimed not in (None, bits) and not stored.settings.get("dynamic")):
        raise damaged(qweight, f"its zero points are of {bits} bits" + (f", not {claimed}" if claimed else ""))
    return bits
