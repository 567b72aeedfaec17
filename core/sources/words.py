"""Small integers packed into 32-bit words, lowest bits first, in runs that begin and end with a word."""

from __future__ import annotations

from math import lcm
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from core.sources.stored import F32, U8

_Words = npt.NDArray[np.uint32]


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


def unpack_columns(data: U8, bits: int, run: Run) -> F32:
    """Values that follow each other down each column: bytes [words, 4 * n] -> float32 [values of whole runs, n]."""
    words: _Words = data.view("<u4")
    missing = -len(words) % run.words
    if missing:
        words = np.concatenate([words, np.zeros((missing, words.shape[1]), np.uint32)])
    runs = words.reshape(-1, run.words, words.shape[1])
    found = np.empty((len(runs), run.values, words.shape[1]), np.float32)
    _unpack(runs.swapaxes(0, 1), found.swapaxes(0, 1), bits, range(run.values))
    return found.reshape(-1, words.shape[1])


def unpack_rows(data: U8, bits: int, run: Run, order: tuple[int, ...] = ()) -> F32:
    """Values that follow each other along each row: bytes [n, 4 * words] -> float32 [n, values of whole runs].

    Place `i` of a run holds its value `order[i]`, else value `i`.
    """
    words: _Words = data.view("<u4")
    missing = -words.shape[1] % run.words
    if missing:
        words = np.concatenate([words, np.zeros((len(words), missing), np.uint32)], axis=1)
    runs = words.reshape(len(words), -1, run.words)
    found = np.empty((*runs.shape[:2], run.values), np.float32)
    _unpack(np.moveaxis(runs, -1, 0), np.moveaxis(found, -1, 0), bits, order or range(run.values))
    return found.reshape(len(words), -1)


def _unpack(runs: _Words, found: F32, bits: int, order: Any) -> None:
    """Words [words, ...] into values [values, ...]; a value may begin in one word and end in the next."""
    mask = np.uint32((1 << bits) - 1)
    for index, place in enumerate(order):
        word, shift = divmod(index * bits, 32)
        value = runs[word] >> np.uint32(shift)
        if shift + bits > 32:
            value |= runs[word + 1] << np.uint32(32 - shift)
        found[place] = value & mask
