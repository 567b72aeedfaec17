"""The words of a grid, arranged for a search of all of them: which second halves go with each first half.

A half has a number, its codes as digits to the base `levels`, the first lowest, and a key, as words have: its codes in
`bits` bits each.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels import codebooks

I32 = NDArray[np.int32]


class Halves(NamedTuple):
    """Flat and read-only. The second halves of first half `firsts[a]` are `seconds[starts[a] : starts[a + 1]]`."""

    keys: I32  # of the halves, by number
    firsts: I32
    starts: I32
    seconds: I32
    word_of_key: I32
    codes: NDArray[np.int8]  # [words, dims]


@cache
def halves(name: str) -> Halves:
    """The halves of a grid's words, in order of their numbers."""
    grid = codebooks.grid(name)
    size = grid.dims // 2
    digits = np.arange(grid.levels**size)[:, None] // grid.levels ** np.arange(size) % grid.levels
    keys = (digits << (grid.bits * np.arange(size))).sum(axis=1)
    numbers = grid.codes.reshape(-1, 2, size) @ grid.levels ** np.arange(size)
    numbers = numbers[np.lexsort((numbers[:, 1], numbers[:, 0]))]
    firsts, starts = np.unique(numbers[:, 0], return_index=True)
    ends = np.append(starts, len(numbers))
    found = Halves(
        keys=keys.astype(np.int32),
        firsts=firsts.astype(np.int32),
        starts=ends.astype(np.int32),
        seconds=numbers[:, 1].astype(np.int32),
        word_of_key=grid.word_of_key.copy(),
        codes=grid.codes.reshape(-1).copy(),
    )
    for array in found:
        array.flags.writeable = False
    return found
