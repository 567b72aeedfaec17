"""A checksum of many bytes, at the speed of memory: it tells what was written from what was not, and is no secret."""

from __future__ import annotations

from functools import cache
from zlib import crc32

import numpy as np
import numpy.typing as npt

_WORDS = 4096
_BLOCK = 8 * _WORDS


def checksum(data: bytes | memoryview) -> int:
    """32 bits. Each block of 32 KiB is a sum of its 64-bit words times odd numbers, so a change of any one word shows;
    what is left, and all the sums in order, go through CRC-32.
    """
    view = memoryview(data).cast("B")
    whole = len(view) // _BLOCK * _BLOCK
    words = np.frombuffer(view[:whole], "<u8").reshape(-1, _WORDS)
    sums = np.einsum("ij,j->i", words, _factors())
    return crc32(view[whole:], crc32(sums.tobytes(), len(view) & 0xFFFFFFFF))


@cache
def _factors() -> npt.NDArray[np.uint64]:
    """Numbers without a pattern: SplitMix64 (Steele, Lea and Flood 2014) of 1, 2, 3, ..., made odd."""
    mixed = np.arange(1, _WORDS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)
