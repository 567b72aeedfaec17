"""Integers in rows whose columns share scales and zero points in groups: what GPTQ, AWQ and compressed-tensors have."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.model import ReadBytes, TensorInfo
from core.sources.stored import F32, U8, Array, columns, damaged
from core.tensor_ops import as_float32

FLOATS = ("F16", "BF16", "F32")
Groups = int | npt.NDArray[np.int64]  # how many neighbours share a scale, or the group of each column


def scaled(codes: U8, groups: Groups, zeros: F32 | np.float32, scales: F32) -> F32:
    """(code - zero) * scale in float32: codes [rows, columns], zeros (or one number) and scales [rows, groups]."""
    values = codes.astype(np.float32)
    values -= _spread(zeros, groups, values.shape[1]) if isinstance(zeros, np.ndarray) else zeros
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite, encode refuses by name
        values *= _spread(scales, groups, values.shape[1])
    return values


def _spread(each: F32, groups: Groups, width: int) -> F32:
    if isinstance(groups, int):
        return each if each.shape[1] == 1 else np.repeat(each, groups, axis=1)[:, :width]
    return np.take(each, groups, axis=1, mode="clip")


def read_groups(read: ReadBytes, g_idx: TensorInfo, size: int, count: int) -> Groups:
    """The group of each column; `size` where they are in the usual order, which -1 throughout means too.

    Raises SnugError for a group beyond `count`.
    """
    found = read(g_idx, 0, g_idx.nbytes).view("<i4").astype(np.int64)
    if size and (found.max() == -1 or np.array_equal(found, np.arange(len(found)) // size)):
        return size
    if found.min() < 0 or found.max() >= count:
        raise damaged(g_idx, f"it names groups beyond the {count} that there are")
    return found


def float_columns(read: ReadBytes, tensor: TensorInfo, first: int, count: int) -> F32:
    """Columns of a stored matrix of floats, as float32 [count, rows]."""
    size = 4 if tensor.dtype == "F32" else 2
    data: Array = columns(read, tensor, size * first, size * count)
    values = as_float32(data.view("<u2")) if tensor.dtype == "BF16" else data.view(f"<f{size}")
    return np.ascontiguousarray(values.T, dtype=np.float32)
