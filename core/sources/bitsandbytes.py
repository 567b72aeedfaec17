"""bitsandbytes: NF4 and FP4 in blocks with their largest magnitude (QLoRA), and INT8 by rows (LLM.int8()).

4 bit: `W` uint8, weights in order, the first of two in the high nibble; `W.absmax` a block, float32, or uint8 when
nested; `W.quant_map` the 16 levels; `W.quant_state.bitsandbytes__nf4` (or fp4) the bytes of a JSON text with sizes.
value = level * absmax; nested, absmax = nested_quant_map[code] * nested_absmax + nested_offset. In float32, where
bitsandbytes itself rounds the product to the model's dtype. 8 bit: `weight` int8, `SCB` a row: code * SCB / 127.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np

import kernels
from core.model import ReadBytes, TensorInfo
from core.sources.stored import F32, Stored, check, check_matrix, damaged, logical, numbers, whole

_STATES = tuple(f".quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4"))


@dataclass(frozen=True, slots=True)
class Nested:
    """Magnitudes in 8 bits: `levels` [256], `absmax` each `block` of them, and their mean."""

    levels: TensorInfo
    absmax: TensorInfo
    block: int
    offset: float


@dataclass(frozen=True, slots=True)
class FourBit:
    """Codes of a matrix of `columns`, in blocks that run on from row to row."""

    codes: TensorInfo
    absmax: TensorInfo
    levels: TensorInfo
    state: TensorInfo
    nested: Nested | None
    block: int
    columns: int

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        found = (self.codes, self.absmax, self.levels, self.state)
        return (*found, self.nested.levels, self.nested.absmax) if self.nested else found

    def rows(self, read: ReadBytes, first: int, count: int) -> F32:
        """float32 [count, columns]."""
        low, length = first * self.columns, count * self.columns
        end = low + length
        data = read(self.codes, low // 2, -(-end // 2) - low // 2)
        codes = np.stack([data >> 4, data & 15], axis=-1).reshape(-1)[low % 2 :][:length]
        begin, stop = low // self.block, -(-end // self.block)
        magnitudes = np.repeat(self._magnitudes(read, begin, stop - begin), self.block)
        values = whole(read, self.levels)[codes]
        with np.errstate(over="ignore", invalid="ignore"):
            values *= magnitudes[low - begin * self.block :][:length]
        return values.reshape(count, self.columns)

    def _magnitudes(self, read: ReadBytes, first: int, count: int) -> F32:
        if not self.nested:
            return numbers(read, self.absmax, first, count)
        nested, codes = self.nested, read(self.absmax, first, count)
        begin, stop = first // nested.block, -(-(first + count) // nested.block)
        scales = np.repeat(numbers(read, nested.absmax, begin, stop - begin), nested.block)
        with np.errstate(over="ignore", invalid="ignore"):
            found: F32 = whole(read, nested.levels)[codes] * scales[first - begin * nested.block :][:count]
            return found + np.float32(nested.offset)


@dataclass(frozen=True, slots=True)
class RowInt8:
    """Codes and the largest magnitude of each row."""

    codes: TensorInfo
    magnitudes: TensorInfo
    layout: TensorInfo | None

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        return tuple(part for part in (self.codes, self.magnitudes, self.layout) if part)

    def rows(self, read: ReadBytes, first: int, count: int) -> F32:
        """float32 [count, columns]."""
        width = self.codes.shape[1]
        codes = read(self.codes, first * width, count * width).view(np.int8).reshape(count, width)
        return kernels.numbers.dequantize_llm_int8(codes, numbers(read, self.magnitudes, first, count))


def fold(stored: Stored) -> Iterator[TensorInfo]:
    """Every weight with a quantization state (4 bit) or an SCB (8 bit)."""
    for suffix in _STATES:
        for name, state in stored.ending(suffix):
            yield _four_bit(stored, name, state)
    for base, magnitudes in stored.ending(".SCB"):
        yield _int8(stored, base, magnitudes)


def _four_bit(stored: Stored, name: str, state: TensorInfo) -> TensorInfo:
    codes, absmax, levels = (stored.part(state, name + end) for end in ("", ".absmax", ".quant_map"))
    facts = _facts(stored, state)
    shape, block = _shape(state, facts), _size(state, facts, "blocksize")
    weights = prod(shape)
    if codes.nbytes != -(-weights // 2):
        raise damaged(codes, f"{codes.nbytes} bytes do not hold {list(shape)} weights of 4 bits")
    check(levels, dtypes=["F32"], shape=(16,))
    nested = _nested(stored, name, state, facts, -(-weights // block))
    check(absmax, dtypes=["U8" if nested else "F32"], shape=(-(-weights // block),))
    packing = FourBit(codes, absmax, levels, state, nested, block, shape[-1])
    return logical(name, shape, packing)


def _nested(stored: Stored, name: str, state: TensorInfo, facts: dict[str, Any], blocks: int) -> Nested | None:
    if "nested_blocksize" not in facts and name + ".nested_absmax" not in stored.tensors:
        return None
    levels, absmax = (stored.part(state, name + end) for end in (".nested_quant_map", ".nested_absmax"))
    size, offset = _size(state, facts, "nested_blocksize"), facts.get("nested_offset")
    if not isinstance(offset, (int, float)) or not isfinite(offset):
        raise damaged(state, f"its nested_offset is {offset!r}")
    check(levels, dtypes=["F32"], shape=(256,))
    check(absmax, dtypes=["F32"], shape=(-(-blocks // size),))
    return Nested(levels, absmax, size, offset)


def _facts(stored: Stored, state: TensorInfo) -> dict[str, Any]:
    try:
        found = json.loads(stored.read(state, 0, min(state.nbytes, 1 << 16)).tobytes())
    except (ValueError, RecursionError) as error:
        raise damaged(state, "it is not readable JSON") from error
    if not isinstance(found, dict):
        raise damaged(state, "it is no table of settings")
    return found


def _shape(state: TensorInfo, facts: dict[str, Any]) -> tuple[int, ...]:
    shape = facts.get("shape")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and size > 0 for size in shape):
        raise damaged(state, f"its shape is {str(shape)[:60]}")
    return tuple(shape)


def _size(state: TensorInfo, facts: dict[str, Any], name: str) -> int:
    size = facts.get(name)
    if type(size) is not int or not 0 < size <= 1 << 16:
        raise damaged(state, f"its {name} is {str(size)[:60]}")
    return size


def _int8(stored: Stored, base: str, magnitudes: TensorInfo) -> TensorInfo:
    codes = stored.part(magnitudes, base + ".weight")
    check_matrix(codes, ["I8"])
    check(magnitudes, dtypes=["F32"], shape=(codes.shape[0],))
    layout = stored.tensors.get(base + ".weight_format")
    if layout and stored.read(layout, 0, layout.nbytes).any():
        raise damaged(codes, "it is laid out for a certain GPU (weight_format is not 0)")
    return logical(base + ".weight", codes.shape, RowInt8(codes, magnitudes, layout))
