"""The closed set of things a family may do to a tensor between the source and the GGUF.

A tensor is a stack of matrices: shape (..., rows, columns); one dimension counts as a column. `shape(shape)` is what an
op makes of a whole tensor, `step(shape)` of how many rows (all dimensions but the last flattened) a slab must be a
multiple, and `apply(slab, shape)` does it to a slab of whole steps, [rows, columns] of a tensor of that shape. An op
that only `moves` rows works on their stored bytes as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, lcm, prod
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from core.errors import SnugError
from core.exponential import exp32

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class TensorOp(Protocol):
    moves: ClassVar[bool]

    def shape(self, shape: Shape) -> Shape: ...
    def step(self, shape: Shape) -> int: ...
    def apply(self, slab: Array, shape: Shape) -> Array: ...


def as_float32(slab: Array) -> npt.NDArray[np.float32]:
    """Stored values as float32; uint16 holds the bits of bf16."""
    if slab.dtype == np.uint16:
        return (slab.astype(np.uint32) << 16).view(np.float32)
    return slab.astype(np.float32, copy=False)


def matrix(shape: Shape) -> tuple[int, int]:
    """Rows and columns of each matrix of a stack."""
    return (shape[-2], shape[-1]) if len(shape) > 1 else (shape[0], 1)


def flat_rows(shape: Shape) -> int:
    """Rows of all matrices."""
    return prod(shape[:-1]) if len(shape) > 1 else shape[0]


def chunks(shape: Shape, ops: tuple[TensorOp, ...]) -> tuple[int, Shape]:
    """Into how many equal runs of rows the ops may cut a tensor of `shape`, and the shape they make of it."""
    count = flat_rows(shape)
    for op in ops:
        count = gcd(count, flat_rows(shape) // op.step(shape))
        shape = op.shape(shape)
    return gcd(count, flat_rows(shape)), shape


def apply_all(ops: tuple[TensorOp, ...], slab: Array, shape: Shape) -> Array:
    """A slab of whole chunks of a tensor of `shape`, after all ops."""
    for op in ops:
        slab = op.apply(slab, shape)
        shape = op.shape(shape)
    return np.ascontiguousarray(slab)


def _divided(rows: int, parts: int, what: str) -> int:
    """A share of the rows. Raises SnugError where they cannot be shared."""
    if parts < 1 or rows % parts:
        raise SnugError(
            f"{rows} rows cannot be shared evenly by {parts} {what}.",
            "config.json and the weights do not belong together; download both again.",
        )
    return rows // parts


@dataclass(frozen=True, slots=True)
class RopePermute:
    """Rows of q or k from Hugging Face's half-split rotary order to the interleaved pairs that llama.cpp expects.

    Per head of d rows: row 2i of the result is row i of the source, row 2i+1 is row i + d/2.
    """

    heads: int
    moves: ClassVar[bool] = True

    def shape(self, shape: Shape) -> Shape:
        rows = matrix(shape)[0]
        if rows % (2 * self.heads):
            _divided(rows, self.heads, "heads")
            raise SnugError(f"{rows // self.heads} rows of a head have no halves.", "Download the model again.")
        return shape

    def step(self, shape: Shape) -> int:
        return matrix(shape)[0] // self.heads

    def apply(self, slab: Array, shape: Shape) -> Array:
        halves = slab.reshape(-1, 2, self.step(shape) // 2, slab.shape[-1])
        return halves.swapaxes(1, 2).reshape(slab.shape)


@dataclass(frozen=True, slots=True)
class RopeHalves:
    """The first `turned` rows of each head of q or k from interleaved rotary pairs to halves: RopePermute's inverse.

    Per head: row i of the result is row 2i of the source, row i + turned/2 is row 2i+1; the rest stay.
    """

    heads: int
    turned: int
    moves: ClassVar[bool] = True

    def shape(self, shape: Shape) -> Shape:
        size = _divided(matrix(shape)[0], self.heads, "heads")
        if self.turned % 2 or not 0 <= self.turned <= size:
            raise SnugError(
                f"{self.turned} of {size} rows of a head cannot turn in pairs.", "Download config.json again."
            )
        return shape

    def step(self, shape: Shape) -> int:
        return matrix(shape)[0] // self.heads

    def apply(self, slab: Array, shape: Shape) -> Array:
        heads = slab.reshape(-1, self.step(shape), slab.shape[-1])
        turned, rest = heads[:, : self.turned], heads[:, self.turned :]
        return np.concatenate((turned[:, ::2], turned[:, 1::2], rest), axis=1).reshape(slab.shape)


@dataclass(frozen=True, slots=True)
class Rows:
    """Of each matrix the rows from `start` to `stop`, every `stride`-th."""

    start: int
    stop: int
    stride: int = 1
    moves: ClassVar[bool] = True

    def shape(self, shape: Shape) -> Shape:
        rows = matrix(shape)[0]
        if not 0 <= self.start < self.stop <= rows:
            raise SnugError(
                f"Rows {self.start} to {self.stop} of a tensor are needed, but it has {rows}.",
                "config.json and the weights do not belong together; download both again.",
            )
        kept = len(range(self.start, self.stop, self.stride))
        return (*shape[:-2], kept, shape[-1]) if len(shape) > 1 else (kept,)

    def step(self, shape: Shape) -> int:
        return matrix(shape)[0]

    def apply(self, slab: Array, shape: Shape) -> Array:
        matrices = slab.reshape(-1, matrix(shape)[0], slab.shape[-1])
        return matrices[:, self.start : self.stop : self.stride].reshape(-1, slab.shape[-1])


@dataclass(frozen=True, slots=True)
class Heads:
    """The rows of a matrix as a stack of `count` matrices: [rows, columns] -> [count, rows / count, columns]."""

    count: int
    moves: ClassVar[bool] = True

    def shape(self, shape: Shape) -> Shape:
        rows, columns = matrix(shape)
        return (*shape[:-2], self.count, _divided(rows, self.count, "heads"), columns)

    def step(self, shape: Shape) -> int:
        return matrix(shape)[0] // self.count

    def apply(self, slab: Array, shape: Shape) -> Array:
        return slab


@dataclass(frozen=True, slots=True)
class Flatten:
    """A stack of matrices as one: [count, rows, columns] -> [count * rows, columns]."""

    moves: ClassVar[bool] = True

    def shape(self, shape: Shape) -> Shape:
        return (*shape[:-3], shape[-3] * shape[-2], shape[-1])

    def step(self, shape: Shape) -> int:
        return 1

    def apply(self, slab: Array, shape: Shape) -> Array:
        return slab


@dataclass(frozen=True, slots=True)
class Column:
    """A vector as a matrix with one column, [n] -> [n, 1], as some families' state parameters are stored."""

    moves: ClassVar[bool] = True

    def shape(self, shape: Shape) -> Shape:
        return (*shape, 1)

    def step(self, shape: Shape) -> int:
        return 1

    def apply(self, slab: Array, shape: Shape) -> Array:
        return slab.reshape(-1, 1) if len(shape) > 1 else slab


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same values in another shape; one dimension may be -1."""

    to: Shape
    moves: ClassVar[bool] = False

    def shape(self, shape: Shape) -> Shape:
        known = -prod(self.to) if -1 in self.to else prod(self.to)
        made = tuple(prod(shape) // known if size == -1 else size for size in self.to)
        if known < 1 or prod(made) != prod(shape):
            raise SnugError(
                f"A tensor of shape {list(shape)} does not become {list(self.to)}.",
                "config.json and the weights do not belong together; download both again.",
            )
        return made

    def step(self, shape: Shape) -> int:
        before, after = matrix(shape)[1], matrix(self.shape(shape))[1]
        return lcm(before, after) // before

    def apply(self, slab: Array, shape: Shape) -> Array:
        return slab.reshape(-1, matrix(self.shape(shape))[1])


@dataclass(frozen=True, slots=True)
class Squeeze:
    """Without a dimension of size one: a convolution's [channels, 1, width] -> [channels, width]."""

    axis: int = -2
    moves: ClassVar[bool] = False

    def shape(self, shape: Shape) -> Shape:
        axis = self.axis % len(shape)
        if shape[axis] != 1:
            raise SnugError(f"A tensor of shape {list(shape)} has no dimension of one to leave out.", "Download again.")
        return shape[:axis] + shape[axis + 1 :]

    def step(self, shape: Shape) -> int:
        return Reshape(self.shape(shape)).step(shape)

    def apply(self, slab: Array, shape: Shape) -> Array:
        return Reshape(self.shape(shape)).apply(slab, shape)


@dataclass(frozen=True, slots=True)
class Transpose:
    """Each matrix mirrored: [rows, columns] -> [columns, rows]."""

    moves: ClassVar[bool] = False

    def shape(self, shape: Shape) -> Shape:
        return (*shape[:-2], shape[-1], shape[-2])

    def step(self, shape: Shape) -> int:
        return matrix(shape)[0]

    def apply(self, slab: Array, shape: Shape) -> Array:
        rows, columns = matrix(shape)
        return slab.reshape(-1, rows, columns).swapaxes(1, 2).reshape(-1, rows)


@dataclass(frozen=True, slots=True)
class Oriented:
    """Each matrix as [rows, columns]: mirrored where a file has it the other way round, as some versions save it."""

    rows: int
    columns: int
    moves: ClassVar[bool] = False

    def shape(self, shape: Shape) -> Shape:
        if matrix(shape) not in ((self.rows, self.columns), (self.columns, self.rows)):
            raise SnugError(
                f"A tensor of shape {list(shape)} is not made of matrices of {self.rows} times {self.columns}.",
                "config.json and the weights do not belong together; download both again.",
            )
        return (*shape[:-2], self.rows, self.columns)

    def step(self, shape: Shape) -> int:
        return 1 if matrix(shape) == (self.rows, self.columns) else Transpose().step(shape)

    def apply(self, slab: Array, shape: Shape) -> Array:
        return slab if matrix(shape) == (self.rows, self.columns) else Transpose().apply(slab, shape)


@dataclass(frozen=True, slots=True)
class Retile:
    """The rows of each matrix from [outer, inner, d] order to [inner, outer, d]."""

    outer: int
    inner: int
    moves: ClassVar[bool] = True

    def shape(self, shape: Shape) -> Shape:
        _divided(matrix(shape)[0], self.outer * self.inner, "heads")
        return shape

    def step(self, shape: Shape) -> int:
        return matrix(shape)[0]

    def apply(self, slab: Array, shape: Shape) -> Array:
        d = matrix(shape)[0] // (self.outer * self.inner)
        tiles = slab.reshape(-1, self.outer, self.inner, d * slab.shape[-1])
        return tiles.swapaxes(1, 2).reshape(slab.shape)


@dataclass(frozen=True, slots=True)
class RetileColumns:
    """The columns of each matrix from [outer, inner, d] order to [inner, outer, d]."""

    outer: int
    inner: int
    moves: ClassVar[bool] = False

    def shape(self, shape: Shape) -> Shape:
        _divided(matrix(shape)[1], self.outer * self.inner, "heads")
        return shape

    def step(self, shape: Shape) -> int:
        return 1

    def apply(self, slab: Array, shape: Shape) -> Array:
        d = matrix(shape)[1] // (self.outer * self.inner)
        return slab.reshape(len(slab), self.outer, self.inner, d).swapaxes(1, 2).reshape(slab.shape)


class Computed:
    """An op that makes new values, float32 whatever the stored ones are, in their place."""

    __slots__ = ()
    moves: ClassVar[bool] = False

    def shape(self, shape: Shape) -> Shape:
        return shape

    def step(self, shape: Shape) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Add(Computed):
    """Plus a number, in float32: norms that are stored as what they differ from one."""

    value: float

    def apply(self, slab: Array, shape: Shape) -> Array:
        return as_float32(slab) + np.float32(self.value)


@dataclass(frozen=True, slots=True)
class Scale(Computed):
    """Times a number, in float32."""

    value: float

    def apply(self, slab: Array, shape: Shape) -> Array:
        return as_float32(slab) * np.float32(self.value)


@dataclass(frozen=True, slots=True)
class NegExp(Computed):
    """-exp(x), in float32: A of a state space model from its logarithm."""

    def apply(self, slab: Array, shape: Shape) -> Array:
        return -exp32(as_float32(slab))


@dataclass(frozen=True, slots=True)
class Ternary(Computed):
    """Each matrix as -s, 0 or s, where s is its mean magnitude: what BitNet b1.58 computes with.

    Source: Ma et al. 2024, "The Era of 1-bit LLMs", equation 1 to 3.
    """

    def step(self, shape: Shape) -> int:
        return matrix(shape)[0]

    def apply(self, slab: Array, shape: Shape) -> Array:
        matrices = as_float32(slab).reshape(-1, *matrix(shape))
        mean = np.maximum(np.abs(matrices).mean((1, 2), keepdims=True, dtype=np.float32), np.float32(1e-5))
        inverse = np.float32(1) / mean
        made: Array = np.clip(np.rint(matrices * inverse), -1, 1) / inverse
        return made.reshape(slab.shape)
