"""compressed-tensors (llm-compressor, vLLM): W4A16 and W8A16 packed into words, FP8, INT8, NVFP4 and MXFP4.

What a layer is, its stored tensors say: groups of layers may differ. Packed words: `weight_packed` int32
[rows, words], values lowest bits first, offset by 2 ** (bits - 1), densely or, in older files, 32 // bits a word;
`weight_scale` [rows, groups]; `weight_shape`; for asymmetric ones `weight_zero_point` int32, packed down the rows;
`weight_g_idx`, the group of each column. value = (code - zero) * scale in float32, as llama.cpp's converter does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import SnugError
from core.model import ReadBytes, TensorInfo
from core.sources import fp8
from core.sources.fp4 import fp4
from core.sources.groups import FLOATS, read_groups, scaled
from core.sources.stored import F32, Stored, check, check_matrix, damaged, logical, numbers, tile_size
from core.sources.tiles import Blocks, block_sizes, tiled
from core.sources.words import Run, dense, loose, unpack_columns, unpack_rows


@dataclass(frozen=True, slots=True)
class PackedInts:
    """Rows of small integers in words; `group` columns share a scale, or those that `g_idx` says."""

    packed: TensorInfo
    scale: TensorInfo
    size: TensorInfo
    zero: TensorInfo | None
    g_idx: TensorInfo | None
    bits: int
    run: Run
    columns: int
    group: int

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        return tuple(part for part in (self.packed, self.scale, self.size, self.zero, self.g_idx) if part)

    def rows(self, read: ReadBytes, first: int, count: int) -> F32:
        """float32 [count, columns]."""
        width, groups = 4 * self.packed.shape[1], self.scale.shape[1]
        data = read(self.packed, first * width, count * width).reshape(count, width)
        codes = unpack_rows(data, self.bits, self.run)[:, : self.columns]
        scales = numbers(read, self.scale, first * groups, count * groups).reshape(count, groups)
        at = read_groups(read, self.g_idx, self.group, groups) if self.g_idx else self.group
        return scaled(codes, at, self._zeros(read, first, count), scales)

    def _zeros(self, read: ReadBytes, first: int, count: int) -> F32 | np.float32:
        """float32 [count, groups], offset as the codes are; the offset alone for a symmetric tensor."""
        offset = np.float32(1 << self.bits - 1)
        if not self.zero:
            return offset
        (words, groups), (each, per) = self.zero.shape, self.run
        if self.zero.dtype == "I8":
            return numbers(read, self.zero, first * groups, count * groups).reshape(count, groups) + offset
        low, high = first // each, -(-(first + count) // each)
        begin, end = low * per, min(high * per, words)
        data = read(self.zero, 4 * begin * groups, 4 * (end - begin) * groups).reshape(-1, 4 * groups)
        return unpack_columns(data, self.bits, self.run)[first - low * each :][:count].astype(np.float32)


def fold(stored: Stored) -> Iterator[TensorInfo]:
    """Every weight that is packed, or has FP8 or INT8 codes."""
    _refuse_foreign(stored.settings)
    schemes = _schemes(stored.settings)
    blocks = [block for scheme in schemes for block in _blocks(scheme)]
    for name, tensor in stored.tensors.items():
        if name.endswith(".weight_packed"):
            yield _packed(stored, name.removesuffix("_packed"), tensor, schemes)
        elif tensor.dtype in (*fp8.DTYPES, "I8") and name.endswith(".weight"):
            scale = stored.part(tensor, name + "_scale")
            scale = replace(scale, dtype="F8_E8M0") if scale.dtype == "U8" else scale
            zero = stored.tensors.get(name + "_zero_point")
            yield logical(name, tensor.shape, tiled(tensor, scale, [*blocks, (128, 128)], zero))


def _refuse_foreign(settings: Mapping[str, Any]) -> None:
    sparsity = settings.get("sparsity_config") or {}
    sparse = sparsity.get("format", "dense") if isinstance(sparsity, Mapping) else sparsity
    reasons = {
        f"sparse weights in the format {sparse}": sparse != "dense",
        f"the format {settings.get('format')}": "marlin" in str(settings.get("format")),
        "weights that are rotated (transform_config)": bool(settings.get("transform_config")),
    }
    for reason, there in reasons.items():
        if there:
            raise SnugError(
                f"This checkpoint (compressed-tensors) has {reason}, which Snug cannot read.",
                "Use the full-precision model that it was made from.",
            )


def _schemes(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What config_groups says of weights; only sizes are taken from it, and only where shapes leave them open."""
    groups = settings.get("config_groups")
    found = groups.values() if isinstance(groups, Mapping) else []
    weights = [group.get("weights") for group in found if isinstance(group, Mapping)]
    return [scheme for scheme in weights if isinstance(scheme, Mapping)]


def _blocks(scheme: Mapping[str, Any]) -> Blocks:
    group = scheme.get("group_size")
    return [*block_sizes(scheme.get("block_structure")), *([(1, group)] if type(group) is int else [])]


def _packed(stored: Stored, name: str, packed: TensorInfo, schemes: list[Mapping[str, Any]]) -> TensorInfo:
    scale = stored.part(packed, name + "_scale")
    if packed.dtype == "U8":
        overall = stored.tensors.get(name + "_global_scale")
        if scale.dtype == "F8_E4M3" and overall is None:
            raise damaged(packed, f"the tensor {name}_global_scale is missing")
        return fp4(name, packed, scale, overall, divides=True)
    check_matrix(packed, ["I32"])
    check_matrix(scale, FLOATS)
    size = stored.part(packed, name + "_shape")
    rows, columns = _stored_shape(stored, size)
    bits, run = _layout(packed, columns, [scheme.get("num_bits") for scheme in schemes])
    sizes = [group for scheme in schemes for _, group in _blocks(scheme)]
    group = tile_size(columns, scale.shape[1], sizes)
    if rows != packed.shape[0] or scale.shape[0] != rows or group is None:
        raise damaged(packed, f"its scale of shape {list(scale.shape)} does not fit shape {[rows, columns]}")
    zero, g_idx = stored.tensors.get(name + "_zero_point"), stored.tensors.get(name + "_g_idx")
    if zero:
        down = rows if zero.dtype == "I8" else run.words_for(rows, bits)
        check(zero, dtypes=["I32", "I8"], shape=(down, scale.shape[1]))
    if g_idx:
        check(g_idx, dtypes=["I32"], shape=(columns,))
    packing = PackedInts(packed, scale, size, zero, g_idx, bits, run, columns, group)
    return logical(name, (rows, columns), packing)


def _stored_shape(stored: Stored, size: TensorInfo) -> tuple[int, int]:
    check(size, dtypes=["I64", "I32"], shape=(2,))
    rows, columns = stored.read(size, 0, size.nbytes).view("<i8" if size.dtype == "I64" else "<i4").tolist()
    if rows < 1 or columns < 1:
        raise damaged(size, f"it says {[rows, columns]}")
    return rows, columns


def _layout(packed: TensorInfo, columns: int, claimed: list[Any]) -> tuple[int, Run]:
    """The number of bits, and the runs, with which the columns fill the words."""
    for bits in [*claimed, 4, 8]:
        runs = {dense(bits), loose(bits)} if type(bits) is int and 1 <= bits <= 8 else set()
        fitting = [run for run in runs if run.words_for(columns, bits) == packed.shape[1]]
        if len(fitting) > 1:
            raise damaged(packed, f"{columns} columns of {bits} bits may be packed in two ways")
        if fitting:
            return bits, fitting[0]
    raise damaged(packed, f"{packed.shape[1]} words do not hold {columns} columns of {claimed or [4, 8]} bits")
