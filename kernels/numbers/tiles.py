"""Weights that share a scale, and what all plain formats do with them first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import cpu
from kernels.errors import NonFinite, UnsupportedBackend
from kernels.reference.float import bf16_values

F32 = NDArray[np.float32]

Tile = tuple[int | None, int | None]  # rows and columns; None means all of them

TENSOR: Tile = (None, None)
CHANNEL: Tile = (1, None)
BLOCK_128: Tile = (128, 128)

_INFINITE_BITS = 0x7F800000


def group(columns: int) -> Tile:
    """The tile of `columns` neighbours in a row."""
    return (1, columns)


def wants_cpu(backend: str) -> bool:
    """Whether a backend's name means the compiled kernels; UnsupportedBackend if it means nothing."""
    if backend not in ("auto", "cpu", "reference"):
        raise UnsupportedBackend(f"no backend {backend!r} for plain formats; available: cpu, reference")
    return backend != "reference"


def run(name: str, x: F32, *arguments: Any) -> Any:
    """What a kernel of kernels.cpu.plain gives for weights and further arguments."""
    flat = x.reshape(-1)
    flat = flat.view() if flat.flags.aligned else flat.copy()
    flat.flags.writeable = False  # numba compiles anew for arrays that may be written
    return cpu.call(cpu.load("plain", name), flat, *arguments)


def as_matrix(x: NDArray[np.generic]) -> F32:
    """The float32 values of a matrix of weights: float32, float16, or uint16 holding bf16 bits."""
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"weights must be a matrix that is not empty, not of shape {x.shape}")
    if x.dtype == np.uint16:
        return bf16_values(np.ascontiguousarray(x, np.uint16))
    if x.dtype not in (np.float32, np.float16):
        raise ValueError(f"weights must be float32, float16 or uint16 (bf16 bits), not {x.dtype}")
    return np.ascontiguousarray(x, np.float32)


def refuse_non_finite(x: F32) -> None:
    """Raises NonFinite with the place of the first weight that is infinite or not a number."""
    finite = np.isfinite(x)
    if not finite.all():
        row, column = np.unravel_index(int(np.argmin(finite)), x.shape)
        raise NonFinite(int(row), int(column))


def tile_size(shape: tuple[int, ...], tile: Tile) -> tuple[int, int]:
    """Rows and columns of a tile in a matrix of this shape; ValueError if they are not positive."""
    rows, columns = (whole if part is None else part for whole, part in zip(shape, tile, strict=True))
    if rows < 1 or columns < 1:
        raise ValueError(f"a tile has at least one row and one column, not {rows} x {columns}")
    return rows, columns


def grid(shape: tuple[int, ...], tile: Tile) -> tuple[int, int]:
    """How many tiles a matrix has down and across; the last ones may be cut short."""
    rows, columns = tile_size(shape, tile)
    return -(-shape[0] // rows), -(-shape[1] // columns)


def spread(per_tile: NDArray[Any], shape: tuple[int, ...], tile: Tile) -> NDArray[Any]:
    """A value a tile as a value a weight: [down, across] -> one that broadcasts against [rows, columns]."""
    rows, columns = tile_size(shape, tile)
    tall = per_tile if per_tile.shape[0] == 1 else np.repeat(per_tile, rows, axis=0)[: shape[0]]
    return tall if per_tile.shape[1] == 1 else np.repeat(tall, columns, axis=1)[:, : shape[1]]


def whole_tiles(x: F32, tile: Tile) -> F32:
    """Each tile's weights as a row: [rows, columns] -> [tiles, weights]. ValueError unless they are equally many."""
    rows, columns = tile_size(x.shape, tile)
    if x.shape[0] % rows or x.shape[1] % columns:
        raise ValueError(f"tiles of {rows} x {columns} do not fill a matrix of {x.shape[0]} x {x.shape[1]}")
    down, across = grid(x.shape, tile)
    return x.reshape(down, rows, across, columns).swapaxes(1, 2).reshape(down * across, -1)


def extremes(x: F32, tile: Tile, backend: str) -> tuple[F32, F32]:
    """The smallest and largest weight of each tile [down, across], 0 counted in. Raises NonFinite."""
    if not wants_cpu(backend):
        refuse_non_finite(x)
        low, high = _reduced(x, tile, np.minimum), _reduced(x, tile, np.maximum)
        return np.where(low < 0, low, np.float32(0)), np.where(high > 0, high, np.float32(0))
    below, above = np.zeros((2, *grid(x.shape, tile)), np.float32)
    peak = run("extremes", x, x.shape[1], *tile_size(x.shape, tile), below.reshape(-1), above.reshape(-1))
    if peak >= _INFINITE_BITS:
        refuse_non_finite(x)
    return np.float32(0) - below, above


def _reduced(x: F32, tile: Tile, function: np.ufunc) -> F32:
    rows, columns = tile_size(x.shape, tile)
    flat = function.reduceat(x, np.arange(0, x.shape[0], rows), axis=0)
    reduced: F32 = function.reduceat(flat, np.arange(0, x.shape[1], columns), axis=1)
    return reduced


def sixteen_sums(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of each row [n, k] -> [n]: sixteen sums of every sixteenth term in order, then those in order."""
    padded = np.zeros((len(terms), -(-terms.shape[1] // 16), 16))
    padded.reshape(len(terms), -1)[:, : terms.shape[1]] = terms
    parts = np.add.accumulate(padded, axis=1)[:, -1]
    total: NDArray[np.float64] = np.add.accumulate(parts, axis=1)[:, -1]
    return total
