"""Small integers packed into 32-bit words, lowest bits first."""

from __future__ import annotations

from math import lcm

import numpy as np

from core.sources.stored import F32, U8


def unit(bits: int) -> tuple[int, int]:
    """The shortest run that ends with a word: (values, words). 3 bits: 32 values in 3 words."""
    length = lcm(bits, 32)
    return length // bits, length // 32


def unpack_stream(data: U8, bits: int) -> F32:
    """Values that run on from word to word, down a column: bytes [words, 4 * n] -> float32 [32 * words / bits, n]."""
    values, words = unit(bits)
    runs = data.view("<u4").reshape(-1, words, data.shape[1] // 4)
    found = np.empty((runs.shape[0], values, runs.shape[2]), np.float32)
    mask = np.uint32((1 << bits) - 1)
    for index in range(values):
        word, shift = divmod(index * bits, 32)
        value = runs[:, word] >> np.uint32(shift)
        if shift + bits > 32:
            value |= runs[:, word + 1] << np.uint32(32 - shift)
        found[:, index] = value & mask
    return found.reshape(-1, runs.shape[2])


def unpack_words(data: U8, bits: int, order: tuple[int, ...] = ()) -> F32:
    """Values that never cross a word, along each row: bytes [n, 4 * words] -> float32 [n, words * (32 // bits)].

    Place `i` of a word holds its value `order[i]`, else value `i`.
    """
    words = data.view("<u4")
    each = 32 // bits
    found = np.empty((*words.shape, each), np.float32)
    mask = np.uint32((1 << bits) - 1)
    for index in range(each):
        place = order[index] if order else index
        found[..., place] = (words >> np.uint32(index * bits)) & mask
    return found.reshape(len(words), -1)
