"""Every block format as one row of data.

A block is `block_size` weights stored in `block_bytes` bytes, field after field without padding, little-endian.
Names, ids and field names are GGML's (ggml.h, ggml-common.h). Sizes, offsets and bits per weight follow from the row,
so nothing else in Snug writes such a number down.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

_DTYPES: Mapping[str, np.dtype] = {
    "u8": np.dtype("u1"),
    "i8": np.dtype("i1"),
    "u16": np.dtype("<u2"),
    "f16": np.dtype("<f2"),
    "bf16": np.dtype("<u2"),  # numpy has no bfloat16: its bit patterns
    "f32": np.dtype("<f4"),
}


@dataclass(frozen=True)
class Field:
    """One field of a block: `count` values of `dtype` (a key such as "f16" or "u8") at byte `offset`."""

    name: str
    dtype: str
    count: int
    offset: int

    @property
    def numpy_dtype(self) -> np.dtype:
        """The dtype of one value; bf16 is seen as its 16-bit patterns."""
        return _DTYPES[self.dtype]

    @property
    def nbytes(self) -> int:
        """The bytes of the whole field."""
        return self.numpy_dtype.itemsize * self.count


@dataclass(frozen=True)
class BlockFormat:
    """How one block lies in memory; `type_id` is GGML's number for the format."""

    name: str
    type_id: int
    block_size: int
    fields: tuple[Field, ...]

    @property
    def block_bytes(self) -> int:
        """The bytes of one block."""
        last = self.fields[-1]
        return last.offset + last.nbytes

    @property
    def bits_per_weight(self) -> float:
        """The bits a weight takes, scales included."""
        return 8 * self.block_bytes / self.block_size

    @cached_property
    def dtype(self) -> np.dtype:
        """The block as a numpy record, so that `blocks["qs"]` is the field; one value has no extra axis."""
        shapes = [(f.name, f.numpy_dtype, (f.count,)) if f.count > 1 else (f.name, f.numpy_dtype) for f in self.fields]
        return np.dtype(shapes)

    def row_bytes(self, columns: int) -> int:
        """The bytes of a row of `columns` weights; ValueError unless the blocks fill it exactly."""
        if columns % self.block_size:
            raise ValueError(
                f"{self.name} has blocks of {self.block_size} weights, which do not divide a row of {columns}"
            )
        return columns // self.block_size * self.block_bytes


def _fields(layout: str) -> tuple[Field, ...]:
    fields: list[Field] = []
    for part in layout.split():
        name, _, kind = part.partition(":")
        dtype, _, count = kind.partition("*")
        offset = fields[-1].offset + fields[-1].nbytes if fields else 0
        fields.append(Field(name, dtype, int(count or 1), offset))
    return tuple(fields)


def _format(name: str, type_id: int, block_size: int, layout: str) -> BlockFormat:
    return BlockFormat(name, type_id, block_size, _fields(layout))


_ALL = (
    _format("F32", 0, 1, "v:f32"),
    _format("F16", 1, 1, "v:f16"),
    _format("Q4_0", 2, 32, "d:f16 qs:u8*16"),
    _format("Q4_1", 3, 32, "d:f16 m:f16 qs:u8*16"),
    _format("Q5_0", 6, 32, "d:f16 qh:u8*4 qs:u8*16"),
    _format("Q5_1", 7, 32, "d:f16 m:f16 qh:u8*4 qs:u8*16"),
    _format("Q8_0", 8, 32, "d:f16 qs:i8*32"),
    _format("Q2_K", 10, 256, "scales:u8*16 qs:u8*64 d:f16 dmin:f16"),
    _format("Q3_K", 11, 256, "hmask:u8*32 qs:u8*64 scales:u8*12 d:f16"),
    _format("Q4_K", 12, 256, "d:f16 dmin:f16 scales:u8*12 qs:u8*128"),
    _format("Q5_K", 13, 256, "d:f16 dmin:f16 scales:u8*12 qh:u8*32 qs:u8*128"),
    _format("Q6_K", 14, 256, "ql:u8*128 qh:u8*64 scales:i8*16 d:f16"),
    _format("IQ2_XXS", 16, 256, "d:f16 qs:u16*32"),
    _format("IQ2_XS", 17, 256, "d:f16 qs:u16*32 scales:u8*8"),
    _format("IQ3_XXS", 18, 256, "d:f16 qs:u8*96"),
    _format("IQ1_S", 19, 256, "d:f16 qs:u8*32 qh:u16*8"),
    _format("IQ4_NL", 20, 32, "d:f16 qs:u8*16"),
    _format("IQ3_S", 21, 256, "d:f16 qs:u8*64 qh:u8*8 signs:u8*32 scales:u8*4"),
    _format("IQ2_S", 22, 256, "d:f16 qs:u8*64 qh:u8*8 scales:u8*8"),
    _format("IQ4_XS", 23, 256, "d:f16 scales_h:u16 scales_l:u8*4 qs:u8*128"),
    _format("IQ1_M", 29, 256, "qs:u8*32 qh:u8*16 scales:u8*8"),
    _format("BF16", 30, 1, "v:bf16"),
    _format("TQ1_0", 34, 256, "qs:u8*48 qh:u8*4 d:f16"),
    _format("TQ2_0", 35, 256, "qs:u8*64 d:f16"),
    _format("MXFP4", 39, 32, "e:u8 qs:u8*16"),
    _format("NVFP4", 40, 64, "d:u8*4 qs:u8*32"),
    _format("Q1_0", 41, 128, "d:f16 qs:u8*16"),
    _format("Q2_0", 42, 64, "d:f16 qs:u8*16"),
)

FORMATS: Mapping[str, BlockFormat] = MappingProxyType({row.name: row for row in _ALL})
