"""Small quantized checkpoints by hand, and reading them with every byte counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.model import TensorInfo
from core.shards import read_file
from core.sources import Unpacked, unpack
from tests.models import write_safetensors

Array = npt.NDArray[Any]
Tensors = dict[str, tuple[str, Array]]


class Counted:
    """Reads stored tensors and remembers how many bytes of each."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    def __call__(self, tensor: TensorInfo, first: int, count: int) -> npt.NDArray[np.uint8]:
        assert 0 <= first <= first + count <= tensor.nbytes
        self.bytes[tensor.name] = self.bytes.get(tensor.name, 0) + count
        with tensor.file.open("rb") as file:
            file.seek(tensor.offset + first)
            return np.frombuffer(file.read(count), np.uint8)


def write(folder: Path, tensors: Tensors) -> list[TensorInfo]:
    """model.safetensors of (dtype, array) by name; bf16 and FP8 are given as their bits."""
    file = folder / "model.safetensors"
    arrays = {name: np.ascontiguousarray(array) for name, (_, array) in tensors.items()}
    write_safetensors(file, arrays, {name: dtype for name, (dtype, _) in tensors.items()})
    return read_file(file)


def unpacked(folder: Path, tensors: Tensors, **settings: Any) -> Unpacked:
    """What becomes of a checkpoint with these settings as its quantization_config."""
    return unpack({"quantization_config": settings} if settings else {}, write(folder, tensors))


def named(found: Unpacked, name: str) -> TensorInfo:
    return next(tensor for tensor in found.tensors if tensor.name == name)


def values(tensor: TensorInfo, first: int = 0, count: int | None = None) -> Array:
    assert tensor.packed
    rows = int(np.prod(tensor.shape[:-1])) if count is None else count
    return tensor.packed.rows(Counted(), first, rows)


def assert_any_rows_equal_the_whole(tensor: TensorInfo, whole: Array) -> None:
    """In every way to cut it, the rows come out the same, bit for bit."""
    for size in (1, 3, 5, 16, len(whole)):
        for first in range(0, len(whole), size):
            count = min(size, len(whole) - first)
            assert values(tensor, first, count).tobytes() == whole[first : first + count].tobytes()


def assert_folds_to(tensor: TensorInfo, expected: Array) -> None:
    """The logical tensor has the expected shape and float32 values, bit for bit, whole and in any rows."""
    assert tensor.dtype == "F32"
    assert tensor.shape == expected.shape
    whole = values(tensor)
    assert whole.dtype == np.float32
    flat = expected.astype(np.float32).reshape(-1, expected.shape[-1])
    assert np.array_equal(whole, flat)
    assert_any_rows_equal_the_whole(tensor, whole)


def bytes_read(tensor: TensorInfo, first: int, count: int) -> dict[str, int]:
    """By stored tensor, the bytes that these rows cost."""
    assert tensor.packed
    reader = Counted()
    tensor.packed.rows(reader, first, count)
    return reader.bytes


def floats(shape: tuple[int, ...], seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def integers(low: int, high: int, shape: tuple[int, ...], seed: int = 2) -> npt.NDArray[np.int64]:
    """Whole numbers from low to high, both included, and both there."""
    found = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
    found.flat[0], found.flat[-1] = low, high
    return found
