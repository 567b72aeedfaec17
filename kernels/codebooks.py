"""Tables that formats share: the levels of the 4-bit I-quants, and the grids of the 1 to 3-bit ones.

A grid is a list of code words, each for 8 or 4 weights; a block stores positions in the list. Both come from ggml
(ggml-common.h; MIT, see data/README.md). What an encoder needs besides, which words lie near a word that is not in
the list, is computed when first asked for, as iq2xs_init_impl and iq3xs_init_impl do.
"""

import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IQ4_LEVELS = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8)
"""What the sixteen codes of IQ4_NL and IQ4_XS stand for, in units of the scale."""

_FILE = Path(__file__).parent / "data" / "grids.json"


@dataclass(frozen=True)
class Neighbours:
    """The words near each key: `words[starts[key] : starts[key] + counts[key]]`, nearest first; none for a word."""

    starts: NDArray[np.int32]
    counts: NDArray[np.int32]
    words: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Grid:
    """A list of code words. The key of `dims` codes packs them, the first in the lowest bits."""

    keys: NDArray[np.int64]
    bits: int  # of a code
    dims: int  # codes in a word
    levels: int  # codes run from 0 to levels - 1
    shells: int  # how many distances count as near

    @cached_property
    def codes(self) -> NDArray[np.int8]:
        """The words, spelled out: [words, dims]."""
        return self._codes(self.keys)

    @cached_property
    def word_of_key(self) -> NDArray[np.int32]:
        """The position of the word with a key, -1 where there is none."""
        table = np.full(1 << (self.bits * self.dims), -1, np.int32)
        table[self.keys] = np.arange(len(self.keys))
        return table

    @cached_property
    def neighbours(self) -> Neighbours:
        """The words at the `shells` smallest distances from each key that is no word, ordered by distance, position."""
        keys = self._all_keys()
        keys = keys[self.word_of_key[keys] < 0]
        counts = np.zeros(1 << (self.bits * self.dims), np.int32)
        found = [self._near(part) for part in np.array_split(keys, 1 + len(keys) // 512)]
        counts[keys] = np.concatenate([part_counts for part_counts, _ in found])
        starts = np.cumsum(counts, dtype=np.int32) - counts
        return Neighbours(starts, counts, np.concatenate([words for _, words in found]))

    def _codes(self, keys: NDArray[np.int64]) -> NDArray[np.int8]:
        shifts = self.bits * np.arange(self.dims)
        return ((keys[:, None] >> shifts) & ((1 << self.bits) - 1)).astype(np.int8)

    def _all_keys(self) -> NDArray[np.int64]:
        keys = np.arange(1 << (self.bits * self.dims))
        return keys[(self._codes(keys) < self.levels).all(axis=1)]

    def _near(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """How many words are near each key, and which, one key after the other."""
        codes = self._codes(keys)
        distances = np.zeros((len(keys), len(self.keys)), np.int16)
        for k in range(self.dims):
            difference = codes[:, k, None] - self.codes[None, :, k]
            distances += difference.astype(np.int16) ** 2
        order = np.argsort(distances, axis=1, kind="stable")
        ordered = np.take_along_axis(distances, order, axis=1)
        shell = np.cumsum(np.diff(ordered, axis=1, prepend=ordered[:, :1]) > 0, axis=1)
        near = shell < self.shells
        return near.sum(axis=1, dtype=np.int32), order[near].astype(np.int32)


_SHELLS = {"IQ1_S": 3, "IQ2_XXS": 2, "IQ2_XS": 2, "IQ2_S": 1, "IQ3_XXS": 2, "IQ3_S": 3}


@cache
def _keys() -> dict[str, list[int]]:
    keys: dict[str, list[int]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return keys


@cache
def grid(name: str) -> Grid:
    """The grid of a format; IQ1_M has that of IQ1_S."""
    keys = np.array(_keys()[name], np.int64)
    if name.startswith("IQ3"):
        return Grid(keys, bits=3, dims=4, levels=8, shells=_SHELLS[name])
    return Grid(keys, bits=2, dims=8, levels=3, shells=_SHELLS[name])


@cache
def parity_signs() -> NDArray[np.uint8]:
    """Eight sign bits from seven: the eighth makes their number even."""
    seven = np.arange(128, dtype=np.uint8)
    bits = np.unpackbits(seven[:, None], axis=1)
    signs: NDArray[np.uint8] = seven | ((bits.sum(axis=1, dtype=np.uint8) & np.uint8(1)) << np.uint8(7))
    return signs
