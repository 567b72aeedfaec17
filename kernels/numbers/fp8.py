"""FP8: E4M3 without infinities (the "fn" of torch.float8_e4m3fn) and E5M2, alone and with a scale a tile.

From Micikevicius et al. 2022, "FP8 Formats for Deep Learning", and the OCP 8-bit floating point specification. Rounds
to nearest, halves to even. What is too large either saturates or becomes special: not a number in E4M3, infinite in
E5M2. torch 2.13 saturates E4M3, infinities too, and does not saturate E5M2.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kernels.numbers.tiles import (
    CHANNEL,
    F32,
    Tile,
    as_matrix,
    extremes,
    run,
    spread,
    tile_size,
    wants_cpu,
)

U8 = NDArray[np.uint8]

f32 = np.float32
_SMALLEST = f32(2.0**-126)


@dataclass(frozen=True)
class Fp8:
    """An 8-bit float: a sign bit, the rest exponent and `mantissa` bits; `top` is the code of its largest number."""

    name: str
    mantissa: int
    bias: int
    top: int

    @cached_property
    def values(self) -> F32:
        """The value of each of the 256 codes."""
        codes = np.arange(128)
        exponent, fraction = codes >> self.mantissa, codes & ((1 << self.mantissa) - 1)
        whole = np.where(exponent > 0, fraction + (1 << self.mantissa), fraction)
        positive = np.ldexp(whole.astype(np.float32), np.maximum(exponent, 1) - self.bias - self.mantissa)
        positive[self.top + 1 :] = np.nan
        positive[self.special] = np.inf if self.special != 0x7F else np.nan
        return np.concatenate([positive, -positive])

    @property
    def special(self) -> int:
        """What comes after the largest number: infinity in E5M2, not a number in E4M3."""
        return self.top + 1

    @property
    def largest(self) -> np.float32:
        """The largest number."""
        largest: np.float32 = self.values[self.top]
        return largest


E4M3 = Fp8("E4M3", mantissa=3, bias=7, top=0x7E)
E5M2 = Fp8("E5M2", mantissa=2, bias=15, top=0x7B)


@dataclass(frozen=True)
class ScaledFp8:
    """`codes` uint8 [rows, columns] and `scale` float32 [down, across] tiles: x ~ scale * value of the code."""

    codes: U8
    scale: F32
    format: Fp8
    tile: Tile


def encode_fp8(x: F32, format: Fp8, *, overflow: str = "saturate", backend: str = "auto") -> U8:
    """The codes of float32 values of any shape, infinities and NaN included. `overflow` is "saturate" or "special".

    The sign of a NaN is kept. ValueError for another dtype or word.
    """
    if x.dtype != np.float32:
        raise ValueError(f"values must be float32, not {x.dtype}")
    if x.size == 0:
        return np.empty(x.shape, np.uint8)
    flat = np.ascontiguousarray(x).reshape(1, -1)
    one = np.ones((1, 1), np.float32)
    return _codes(flat, one, (None, None), format, overflow, backend).reshape(x.shape)


def decode_fp8(codes: U8, format: Fp8) -> F32:
    """The float32 values of codes, of any shape."""
    return format.values[codes]


def quantize_fp8(x: NDArray[np.generic], format: Fp8, tile: Tile = CHANNEL, *, backend: str = "auto") -> ScaledFp8:
    """Codes of x / scale and scale = largest magnitude / largest number, a tile; tiles at the edges may be cut short.

    x is [rows, columns]. A tile of zeros has scale 1. The scale is a multiplier: what compressed-tensors calls
    weight_scale and DeepSeek's files weight_scale_inv (with BLOCK_128).
    """
    rows = as_matrix(x)
    low, high = extremes(rows, tile, backend)
    peak: F32 = np.maximum(-low, high)
    scale = peak / format.largest
    scale = np.where(scale >= _SMALLEST, scale, f32(1))
    return ScaledFp8(_codes(rows, scale, tile, format, "saturate", backend), scale, format, tile)


def dequantize_fp8(q: ScaledFp8) -> F32:
    """The values of codes with scales, float32 [rows, columns]."""
    values: F32 = decode_fp8(q.codes, q.format) * spread(q.scale, q.codes.shape, q.tile)
    return values


def _codes(x: F32, scale: F32, tile: Tile, format: Fp8, overflow: str, backend: str) -> U8:
    if overflow not in ("saturate", "special"):
        raise ValueError(f"overflow must be 'saturate' or 'special', not {overflow!r}")
    beyond = format.top if overflow == "saturate" else format.special
    if not wants_cpu(backend):
        with np.errstate(all="ignore"):
            return _rounded(x / spread(scale, x.shape, tile), format, beyond)
    out = np.empty(x.shape, np.uint8)
    layout = tuple(np.int32(number) for number in (format.mantissa, format.bias, format.top, beyond))
    run("fp8", x, x.shape[1], *tile_size(x.shape, tile), scale.reshape(-1), *layout, out.reshape(-1))
    return out


def _rounded(values: F32, format: Fp8, beyond: int) -> U8:
    """Codes by integers: a float32 loses its low mantissa bits, and its exponent gets another bias."""
    bits = values.view(np.uint32)
    magnitude = (bits & 0x7FFFFFFF).view(np.int32)
    shift = 23 - format.mantissa
    step = np.ldexp(1.0, 1 - format.bias - format.mantissa)
    small = np.rint(np.abs(values).astype(np.float64) / step)
    odd = (magnitude >> shift) & 1
    normal = (magnitude.astype(np.int64) - ((127 - format.bias) << 23) + (1 << (shift - 1)) - 1 + odd) >> shift
    codes = np.where(magnitude < (128 - format.bias) << 23, small, normal)
    codes = np.where(codes > format.top, beyond, codes)
    signed: U8 = np.where(np.isnan(values), 0x7F, codes).astype(np.uint8) | ((bits >> 24) & 0x80).astype(np.uint8)
    return signed
