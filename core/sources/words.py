"""Small integers packed into 32-bit words, lowest bits first, in runs that begin and end with a word."""

from __future__ import annotations

from math import lcm
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.sources.stored import U8

_Words = npt.NDArray[np.uint32]
_STRIP = 64  # rows turned at once: what a cache holds


class Run(NamedTuple):
    """`values` of some bits in `words`: densely packed, 32 of 3 bits in 3 words; else what fits into one word."""

    values: int
    words: int

    def words_for(self, count: int, bits: int) -> int:
        """How many words `count` values take; the last run is cut short."""
        return -(-count * bits // 32) if self.words > 1 else -(-count // self.values)


def dense(bits: int) -> Run:
    """Runs in which no bit is lost."""
    length = lcm(bits, 32)
    return Run(length // bits, length // 32)


def loose(bits: int) -> Run:
    """Runs of one word, whose highest bits may be empty."""
    return Run(32 // bits, 1)


def unpack_columns(data: U8, bits: int, run: Run) -> U8:
    """Values that follow each other down each column: bytes [words, 4 * n] -> uint8 [values of whole runs, n]."""
    words: _Words = data.view("<u4")
    missing = -len(words) % run.words
    if missing:
        words = np.concatenate([words, np.zeros((missing, words.shape[1]), np.uint32)])
    runs = words.reshape(-1, run.words, words.shape[1])
    found = np.empty((len(runs), run.values, words.shape[1]), np.uint8)
    _unpack(runs.swapaxes(0, 1), found.swapaxes(0, 1), bits)
    return found.reshape(-1, words.shape[1])


def unpack_rows(data: U8, bits: int, run: Run) -> U8:
    """Values that follow each other along each row: bytes [n, 4 * words] -> uint8 [n, values of whole runs]."""
    words: _Words = data.view("<u4")
    missing = -words.shape[1] % run.words
    if missing:
        words = np.concatenate([words, np.zeros((len(words), missing), np.uint32)], axis=1)
    runs = words.reshape(len(words), -1, run.words)
    found = np.empty((*runs.shape[:2], run.values), np.uint8)
    _unpack(np.moveaxis(runs, -1, 0), np.moveaxis(found, -1, 0), bits)
    return found.reshape(len(words), -1)


def turned(matrix: U8) -> U8:
    """[n, m] -> [m, n], in strips: numpy alone turns a large matrix at half the speed."""
    found = np.empty(matrix.shape[::-1], np.uint8)
    for first in range(0, len(matrix), _STRIP):
        found[:, first : first + _STRIP] = matrix[first : first + _STRIP].T
    return found


def _unpack(runs: _Words, found: U8, bits: int) -> None:
    """Words [words, ...] into values [values, ...]; a value may begin in one word and end in the next."""
    mask = np.uint32((1 << bits) - 1)
    for index in range(len(found)):
        word, shift = divmod(index * bits, 32)
        value = runs[word] >> np.uint32(shift)
        if shift + bits > 32:
            value |= runs[word + 1] << np.uint32(32 - shift)
        found[index] = value & mask
