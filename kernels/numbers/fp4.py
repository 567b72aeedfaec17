"""FP4 and NF4 in blocks with their largest magnitude, as bitsandbytes stores them (QLoRA, Dettmers et al. 2023).

A block's weights are divided by its largest magnitude and each takes the nearest of sixteen levels, at a midpoint the
lower one. Two codes share a byte, the first in the high nibble. The magnitudes may be nested: their mean taken off,
then 8 bits each in blocks of 256 by the dynamic map of Dettmers 2015, "8-Bit Approximations for Parallelism in Deep
Learning".
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from kernels.numbers.tiles import F32, as_matrix, refuse_non_finite, run, wants_cpu

I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

f32 = np.float32
BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_SMALLEST = f32(1e-38)
_NESTED_BLOCK = 256


@dataclass(frozen=True)
class CodeBook:
    """Sixteen levels between -1 and 1, in the order of their codes."""

    name: str
    numbers: tuple[float, ...]

    @cached_property
    def levels(self) -> F32:
        """float32 [16]: the value of each code."""
        numbers = np.array(self.numbers, np.float32)
        levels: F32 = numbers / np.abs(numbers).max()
        return levels

    @cached_property
    def order(self) -> I32:
        """The codes from the lowest level to the highest; of FP4's two zeros, 0 comes before 8."""
        return np.argsort(self.levels, kind="stable").astype(np.int32)

    @cached_property
    def limits(self) -> F32:
        """float32 [15]: the midpoints of neighbouring levels."""
        ordered = self.levels[self.order]
        return (ordered[:-1] + ordered[1:]) / f32(2)


FP4 = CodeBook("fp4", (0, 0.0625, 8, 12, 4, 6, 2, 3, -0.0, -0.0625, -8, -12, -4, -6, -2, -3))
NF4 = CodeBook(
    "nf4",
    (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
        *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
        *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
        *(0.7229568362236023, 1.0),
    ),
)


@dataclass(frozen=True)
class FourBit:
    """`codes` uint8 [bytes], two weights each, and `absmax` float32 [blocks], of a matrix of `shape`, row by row."""

    codes: U8
    absmax: F32
    book: CodeBook
    block: int
    shape: tuple[int, int]


@dataclass(frozen=True)
class Nested:
    """Magnitudes in 8 bits: `codes` uint8 [n], `absmax` float32 [blocks of 256], `offset` float32, their mean."""

    codes: U8
    absmax: F32
    offset: np.float32


def quantize_4bit(x: NDArray[np.generic], book: CodeBook = NF4, block: int = 64, *, backend: str = "auto") -> FourBit:
    """Codes of weights [rows, columns] in blocks that run on from row to row; the last may be short.

    `block` is one of BLOCKS, else ValueError. An odd number of weights ends with the code of 0.
    """
    if block not in BLOCKS:
        raise ValueError(f"a block has {', '.join(map(str, BLOCKS))} weights, not {block}")
    rows = as_matrix(x)
    fast = wants_cpu(backend)
    refuse_non_finite(rows)
    flat = rows.reshape(-1)
    whole = flat.size // block * block
    encode = _encode_fast if fast else _encode
    codes, absmax = encode(flat[:whole], book, block)
    if whole < flat.size:
        last = flat[whole:]
        peak = np.maximum(np.abs(last).max(), _SMALLEST)
        codes = np.append(codes, _packed(last / peak, book))
        absmax = np.append(absmax, peak)
    return FourBit(codes, absmax, book, block, (rows.shape[0], rows.shape[1]))


def dequantize_4bit(q: FourBit) -> F32:
    """The values of codes, float32 of the matrix's shape."""
    count = q.shape[0] * q.shape[1]
    codes = np.stack([q.codes >> 4, q.codes & 15], axis=1).reshape(-1)[:count]
    values: F32 = q.book.levels[codes] * np.repeat(q.absmax, q.block)[:count]
    return values.reshape(q.shape)


def nest(absmax: F32) -> Nested:
    """Block magnitudes [n] in 8 bits ("double quantization"). The mean is summed in float64, torch's in float32."""
    offset = f32(absmax.mean(dtype=np.float64))
    rest = absmax - offset
    starts = np.arange(0, len(rest), _NESTED_BLOCK)
    peaks = np.maximum.reduceat(np.abs(rest), starts)
    inverse = np.repeat(f32(1) / np.maximum(peaks, _SMALLEST), _NESTED_BLOCK)[: len(rest)]
    scaled = rest * inverse
    short = len(rest) % _NESTED_BLOCK
    if short:
        peaks[-1] = np.maximum(peaks[-1], _SMALLEST)
        scaled[-short:] = rest[-short:] / peaks[-1]
    levels = dynamic_map()
    limits = (levels[:-1] + levels[1:]) / f32(2)
    codes = np.searchsorted(limits, np.clip(scaled, -1, 1), side="left").astype(np.uint8)
    return Nested(codes, peaks, offset)


def unnest(nested: Nested) -> F32:
    """The block magnitudes [n] that 8-bit codes stand for."""
    scales = np.repeat(nested.absmax, _NESTED_BLOCK)[: len(nested.codes)]
    values: F32 = dynamic_map()[nested.codes] * scales + nested.offset
    return values


@cache
def dynamic_map() -> F32:
    """float32 [256]: 0, 1, and for each of seven powers of ten 1, 2, ... 64 evenly spaced fractions of both signs."""
    parts = [np.array([0, 1], np.float32)]
    for power in range(7):
        edges = _evenly_spaced(2**power + 1)
        fractions = f32(10.0 ** (power - 6)) * ((edges[:-1] + edges[1:]) / f32(2))
        parts += [fractions, -fractions]
    return np.sort(np.concatenate(parts))


def _evenly_spaced(count: int) -> F32:
    """From 0.1 to 1, counted from the nearer end in steps of float32: torch.linspace, by which files are made."""
    start, end = f32(0.1), f32(1)
    step, i = np.float64((end - start) / f32(count - 1)), np.arange(count)
    from_end = np.float64(end) - step * (count - 1 - i)
    return np.where(i < count // 2, np.float64(start) + step * i, from_end).astype(np.float32)


def _encode(flat: F32, book: CodeBook, block: int) -> tuple[U8, F32]:
    blocks = flat.reshape(-1, block)
    absmax = np.abs(blocks).max(axis=1)
    scaled = blocks * (f32(1) / np.maximum(absmax, _SMALLEST))[:, None]
    return _packed(np.clip(scaled, -1, 1).reshape(-1), book), absmax


def _packed(scaled: F32, book: CodeBook) -> U8:
    even = np.append(scaled, f32(0)) if scaled.size % 2 else scaled
    codes = book.order[np.searchsorted(book.limits, even, side="left")].reshape(-1, 2)
    return ((codes[:, 0] << 4) | codes[:, 1]).astype(np.uint8)


def _encode_fast(flat: F32, book: CodeBook, block: int) -> tuple[U8, F32]:
    codes, absmax = np.empty(flat.size // 2, np.uint8), np.empty(flat.size // block, np.float32)
    run("four_bit", flat, block, book.limits, np.diff(book.order), book.order[0], absmax, codes)
    return codes, absmax
