"""The stored tensors of a quantized checkpoint, and the few ways in which packings read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

import kernels
from core.errors import SnugError
from core.model import Packing, ReadBytes, TensorInfo
from core.tensor_ops import as_float32

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

USE_ORIGINAL = "Download the checkpoint again, or use the full-precision model that it was made from."
_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1", "I32": "<i4", "I64": "<i8"}
_FP8 = {"F8_E4M3": kernels.numbers.E4M3, "F8_E5M2": kernels.numbers.E5M2}
NUMBERS = (*_PLAIN, *_FP8, "BF16", "F8_E8M0")


@dataclass(frozen=True)
class Stored:
    """A checkpoint as a method sees it: `settings` (quantization_config), the stored tensors by name, their bytes."""

    settings: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]
    read: ReadBytes

    def ending(self, suffix: str) -> Iterator[tuple[str, TensorInfo]]:
        """(name without the suffix, tensor) of all whose name ends so."""
        for name, tensor in self.tensors.items():
            if name.endswith(suffix):
                yield name.removesuffix(suffix), tensor

    def part(self, owner: TensorInfo, name: str) -> TensorInfo:
        """The tensor of that name, which `owner` cannot do without."""
        if name not in self.tensors:
            raise damaged(owner, f"the tensor {name} is missing")
        return self.tensors[name]


class Fold(Protocol):
    """Finds the tensors that a method packed, and gives the logical ones."""

    def __call__(self, stored: Stored) -> Iterator[TensorInfo]: ...


def logical(name: str, shape: tuple[int, ...], packing: Packing, dtype: str = "F32") -> TensorInfo:
    """The tensor that stored parts stand for."""
    parts = packing.parts
    return TensorInfo(name, dtype, shape, parts[0].file, 0, sum(part.nbytes for part in parts), packing)


def damaged(tensor: TensorInfo, why: str) -> SnugError:
    """The error for a quantized tensor whose parts do not fit together."""
    return SnugError(f"{tensor.file.name}: {tensor.name} cannot be unpacked: {why}.", USE_ORIGINAL)


def check(tensor: TensorInfo, *, dtypes: Sequence[str], shape: tuple[int, ...]) -> None:
    """Raises SnugError unless the tensor has one of the dtypes and this shape."""
    if tensor.dtype not in dtypes:
        raise damaged(tensor, f"it is {tensor.dtype}, not {' or '.join(dtypes)}")
    if tensor.shape != shape:
        raise damaged(tensor, f"its shape is {list(tensor.shape)}, not {list(shape)}")


def check_matrix(tensor: TensorInfo, dtypes: Sequence[str]) -> None:
    """Raises SnugError unless the tensor is a matrix, not empty, of one of the dtypes."""
    if tensor.dtype not in dtypes:
        raise damaged(tensor, f"it is {tensor.dtype}, not {' or '.join(dtypes)}")
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise damaged(tensor, f"its shape is {list(tensor.shape)}, which is no matrix")


def tile_size(length: int, tiles: int, candidates: Sequence[int]) -> int | None:
    """How many of `length` numbers share one of `tiles` scales; None if that cannot be. The last tile may be short."""
    if tiles < 1:
        return None
    if tiles in (1, length):
        return length // tiles
    fitting = (size for size in candidates if size > 0 and -(-length // size) == tiles)
    even = length // tiles if length % tiles == 0 else None
    return next(fitting, even)


def numbers(read: ReadBytes, tensor: TensorInfo, first: int, count: int) -> F32:
    """`count` numbers of a stored tensor from `first` on, as float32."""
    size = tensor.nbytes // max(1, _length(tensor))
    data = read(tensor, first * size, count * size)
    if tensor.dtype in _PLAIN:
        return data.view(_PLAIN[tensor.dtype]).astype(np.float32)
    if tensor.dtype in _FP8:
        return kernels.numbers.decode_fp8(data, _FP8[tensor.dtype])
    if tensor.dtype == "BF16":
        return as_float32(data.view("<u2"))
    if tensor.dtype == "F8_E8M0":
        return _powers_of_two(data)
    raise damaged(tensor, f"numbers of type {tensor.dtype} are not known here")


def whole(read: ReadBytes, tensor: TensorInfo) -> F32:
    """All numbers of a stored tensor, flat."""
    return numbers(read, tensor, 0, _length(tensor))


def columns(read: ReadBytes, tensor: TensorInfo, first: int, count: int) -> U8:
    """Bytes `first` on of each row of a stored matrix: uint8 [rows, count]. Nothing else is read."""
    rows = tensor.shape[0]
    width = tensor.nbytes // rows
    if count == width:
        return read(tensor, 0, tensor.nbytes).reshape(rows, width)
    found = np.empty((rows, count), np.uint8)
    for row in range(rows):
        found[row] = read(tensor, row * width + first, count)
    return found


def _length(tensor: TensorInfo) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64))


def _powers_of_two(data: U8) -> F32:
    values = np.ldexp(np.float32(1), data.astype(np.int32) - 127)
    values[data == 255] = np.nan
    return values
