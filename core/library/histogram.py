"""How the values of one tensor are spread: counted in bins, from all of them or from slabs evenly spread over it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf, isfinite, prod, sqrt
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

import kernels
from core.errors import Cancelled, JobFailed, SnugError
from core.model import TensorInfo

BINS = 64
MOST_WEIGHTS = 1 << 24
_SLAB = 1 << 20
# Little-endian numpy types of what a safetensors file may hold and GGML's formats do not.
_NUMPY = {"F64": "<f8", "I64": "<i8", "U64": "<u8", "I32": "<i4", "U32": "<u4", "I16": "<i2", "U16": "<u2"}
_NUMPY |= {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1", "BOOL": "u1"}
_FP8 = {"F8_E4M3": kernels.numbers.E4M3, "F8_E5M2": kernels.numbers.E5M2}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Histogram:
    """`counts` of finite values in equal bins from `low` to `high`; `looked_at` of `weights` values were read."""

    tensor: str
    low: float
    high: float
    counts: tuple[int, ...]
    mean: float
    deviation: float
    zeros: int
    non_finite: int
    looked_at: int
    weights: int


def tensor_histogram(
    tensor: TensorInfo,
    *,
    bins: int = BINS,
    most: int = MOST_WEIGHTS,
    cancelled: Callable[[], bool] = lambda: False,
) -> Histogram:
    """The spread of the values of `tensor`. Raises SnugError for a format that cannot be read, Cancelled when asked."""
    check_readable(tensor)
    found = _measure(_slabs(tensor, most, cancelled))
    counts = np.zeros(bins, np.int64)
    for slab in _slabs(tensor, most, cancelled):
        counts += np.bincount(_bins(slab[np.isfinite(slab)], found, bins), minlength=bins)
    finite = max(found.seen - found.bad, 1)
    with np.errstate(all="ignore"):
        mean = found.total / finite
        variance = found.squares / finite - mean * mean
    return Histogram(
        tensor=tensor.name,
        low=found.low,
        high=found.high,
        counts=tuple(int(count) for count in counts),
        mean=mean if isfinite(mean) else 0.0,
        deviation=sqrt(variance) if isfinite(variance) and variance > 0 else 0.0,
        zeros=found.zeros,
        non_finite=found.bad,
        looked_at=found.seen,
        weights=prod(tensor.shape),
    )


def check_readable(tensor: TensorInfo) -> None:
    """Raises SnugError unless the values can be had."""
    if tensor.dtype in _NUMPY or tensor.dtype in _FP8 or kernels.decodable(tensor.dtype):
        return
    raise SnugError(f"Snug cannot read values of the format {tensor.dtype}.", "Choose another tensor.")


class _Measured(NamedTuple):
    """`bad`: values that are not finite; `seen`: all values."""

    low: float
    high: float
    total: float
    squares: float
    zeros: int
    bad: int
    seen: int


def _measure(slabs: Iterable[Array]) -> _Measured:
    low, high, total, squares, zeros, bad, seen = inf, -inf, 0.0, 0.0, 0, 0, 0
    for slab in slabs:
        finite = slab[np.isfinite(slab)].astype(np.float64)
        seen, bad, zeros = seen + slab.size, bad + slab.size - finite.size, zeros + int(np.sum(finite == 0))
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            with np.errstate(over="ignore"):
                total, squares = total + float(finite.sum()), squares + float(np.square(finite).sum())
    if low > high:
        low = high = 0.0
    return _Measured(low, high, total, squares, zeros, bad, seen)


def _bins(values: Array, found: _Measured, bins: int) -> npt.NDArray[np.int64]:
    """The bin of each value; halves of the bounds, so that the largest numbers have a distance too."""
    distance = found.high / 2 - found.low / 2
    if distance <= 0:
        return np.zeros(values.size, np.int64)
    place = (values.astype(np.float64) / 2 - found.low / 2) / distance * bins
    return np.clip(place.astype(np.int64), 0, bins - 1)


def _slabs(tensor: TensorInfo, most: int, cancelled: Callable[[], bool]) -> Iterator[Array]:
    """The values, some blocks at a time; of a large tensor, slabs evenly spread over it."""
    width, unit = _block(tensor.dtype)
    count, blocks = tensor.nbytes // unit, max(1, _SLAB // width)
    step = max(1, -(-(count * width) // most))
    with _reading(tensor.file) as file:
        for start in range(0, count, blocks * step):
            if cancelled():
                raise Cancelled
            file.seek(tensor.offset + start * unit)
            length = min(blocks, count - start) * unit
            data = np.frombuffer(file.read(length), np.uint8)
            if data.size != length:
                raise JobFailed(f"{tensor.file} ends in the middle of {tensor.name}.", "Download or make it again.")
            yield _values(data, tensor.dtype, unit)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise JobFailed(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error


def _block(dtype: str) -> tuple[int, int]:
    """(values, bytes) of the least that can be read by itself."""
    if dtype in _FP8:
        return 1, 1
    if dtype in _NUMPY:
        return 1, np.dtype(_NUMPY[dtype]).itemsize
    return kernels.FORMATS[dtype].block_size, kernels.FORMATS[dtype].block_bytes


def _values(data: npt.NDArray[np.uint8], dtype: str, unit: int) -> Array:
    if dtype in _FP8:
        return kernels.numbers.decode_fp8(data, _FP8[dtype])
    if dtype in _NUMPY:
        return data.view(_NUMPY[dtype])
    return kernels.decode(data.reshape(-1, unit), dtype).ravel()
