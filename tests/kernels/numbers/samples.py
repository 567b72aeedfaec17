"""Matrices that try the plain formats."""

import numpy as np
from numpy.typing import NDArray


def weights(rows: int = 48, columns: int = 320, *, seed: int = 0) -> NDArray[np.float32]:
    """Heavy-tailed rows of very different sizes, with zeros, a row of zeros and a tiny row."""
    rng = np.random.default_rng(seed)
    x = rng.standard_t(4, (rows, columns)) * np.exp(rng.uniform(-8, 4, (rows, 1)))
    x[:, :3] = 0
    x[1] = 0
    x[2] *= 1e-42
    x[3] = np.abs(x[3])
    return x.astype(np.float32)


def spread_wide(*, seed: int = 0) -> NDArray[np.float32]:
    """Every size of float32 that there is, and its edges."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 1 << 32, 1 << 18, np.uint32)
    return bits.view(np.float32)
