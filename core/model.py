"""A model seen from its headers: names, shapes and keys, no weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from core.tensor_ops import Column, Rows, Shape, TensorOp, chunks

FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Metadata:
    """One GGUF key-value. `type` is a GGUF type name (u32, f32, bool, str, ...) or an array of it ([str], [f32])."""

    key: str
    type: str
    value: Any


class Packing(Protocol):
    """How a checkpoint that is quantized already stores one tensor: in several stored ones, `parts`."""

    @property
    def parts(self) -> tuple[TensorInfo, ...]: ...

    def rows(self, read: ReadBytes, first: int, count: int) -> npt.NDArray[Any]:
        """Rows `first` on of the tensor, flattened to two dimensions: [count, columns] float32 values, or for dtype
        MXFP4 [count, row bytes] uint8 as GGML lays them out. Reentrant: several threads read at once.
        """
        ...


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor as the source stores it. `shape` has the row length last; `offset` counts from the file's start.

    One with `packed` is not stored as such: it is computed from the parts. Its dtype is F32 (or MXFP4), its offset 0,
    and `nbytes` what the parts take.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int
    packed: Packing | None = None


ReadBytes = Callable[[TensorInfo, int, int], npt.NDArray[np.uint8]]
"""(stored tensor, first byte, number of bytes) -> uint8 [number of bytes]."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of an output tensor: a source tensor, and what is done to it."""

    source: TensorInfo
    ops: tuple[TensorOp, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """A vector stays one, unless an op made a matrix of it on purpose."""
        shape = chunks(self.source.shape, self.ops)[1]
        is_vector = len(self.source.shape) == 1 and shape[-1] == 1 and Column() not in self.ops
        return (prod(shape),) if is_vector else shape

    @property
    def window(self) -> tuple[int, Shape, tuple[TensorOp, ...]]:
        """Where in the source its rows begin, their shape, and the ops left: no more is read than needed."""
        first = self.ops[0] if self.ops else None
        if isinstance(first, Rows) and first.stride == 1 and len(self.source.shape) == 2:
            return first.start, first.shape(self.source.shape), self.ops[1:]
        return 0, self.source.shape, self.ops


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """A tensor of the GGUF to be: the parts whose rows it is made of, in order, or its values."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    parts: tuple[Part, ...] = ()
    values: tuple[float, ...] = ()

    @property
    def sources(self) -> tuple[TensorInfo, ...]:
        """The source tensors of the parts; one that gives several parts is named once."""
        return tuple({part.source.name: part.source for part in self.parts}.values())

    @property
    def columns(self) -> int:
        """Row length: GGUF's ne[0]."""
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        """Number of rows when every dimension but the last is flattened."""
        return prod(self.shape[:-1])

    @property
    def weights(self) -> int:
        return prod(self.shape)


class Parameters(NamedTuple):
    """Numbers of weights: of all tensors, of those that every token uses, of one expert of each layer; and experts."""

    total: int
    shared: int
    expert: int
    experts: int


def count_parameters(tensors: Iterable[OutputTensor]) -> Parameters:
    """As llama.cpp's converter counts them for general.size_label."""
    total = shared = expert = stacks = experts = 0
    for tensor in tensors:
        total += tensor.weights
        if "_exps." not in tensor.name or len(tensor.shape) < 2:
            shared += tensor.weights
            continue
        expert += tensor.weights // tensor.shape[0]
        experts += tensor.shape[0]
        stacks += 1
    return Parameters(total, shared, expert, experts // stacks if stacks else 0)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Source tensors that are not converted, for one reason: how many, and the first of them."""

    reason: str
    tensors: int
    first: str

    @property
    def note(self) -> str:
        more = f" and {self.tensors - 1} more" if self.tensors > 1 else ""
        return f"Left out: {self.first}{more} ({self.reason})."


def left_out(dropped: Sequence[tuple[str, str]]) -> tuple[LeftOut, ...]:
    """Dropped tensors, (name, reason) each, by their reasons."""
    counts = Counter(reason for _, reason in dropped)
    first = {reason: name for name, reason in reversed(dropped)}
    return tuple(LeftOut(reason, count, first[reason]) for reason, count in counts.items())


@dataclass(frozen=True)
class ModelInfo:
    """A whole model, known from headers alone; the same for a Hugging Face folder and for a GGUF file.

    `metadata` are the GGUF keys of the result except those that the recipe decides (general.file_type and
    general.quantization_version). `dtype` is the float type that most weights are stored in. `dropped` are the source
    tensors that are left out, each with its reason.
    """

    name: str
    path: Path
    family: str
    architecture: str
    dtype: str
    metadata: tuple[Metadata, ...]
    tensors: tuple[OutputTensor, ...]
    files: tuple[Path, ...]
    is_gguf: bool = False
    notes: tuple[str, ...] = field(default=())
    dropped: tuple[tuple[str, str], ...] = field(default=())

    @cached_property
    def keys(self) -> Mapping[str, Any]:
        """Value by GGUF key."""
        return {item.key: item.value for item in self.metadata}

    def key(self, name: str, default: Any = None) -> Any:
        """The value of an architecture key, without its prefix: key("block_count") reads llama.block_count."""
        return self.keys.get(f"{self.architecture}.{name}", default)

    @cached_property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is not converted, and why."""
        return left_out(self.dropped)

    @cached_property
    def quantized_formats(self) -> tuple[str, ...]:
        """The formats in which the source has lost precision before; empty for an unquantized one."""
        return tuple(sorted({tensor.dtype for tensor in self.tensors if tensor.dtype not in FLOATS}))

    @cached_property
    def parameters(self) -> int:
        """Number of weights in all tensors."""
        return sum(tensor.weights for tensor in self.tensors)

    @cached_property
    def active_parameters(self) -> int:
        """Number of weights that one token meets: of experts only as many as are used at once."""
        counted = count_parameters(self.tensors)
        return counted.shared + counted.expert * int(self.key("expert_used_count", 0) or 0)

    @cached_property
    def source_bytes(self) -> int:
        """Bytes of all source tensors."""
        return sum(source.nbytes for tensor in self.tensors for source in tensor.sources)
