"""Explicit SIMD through numba: the reference's bytes, one sub-block a lane. Importing this imports no numba."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kernels.formats import BlockFormat

KERNELS: Mapping[str, tuple[str, str]] = {}


def encode(rows: NDArray[np.generic], packed: NDArray[np.uint8], layout: BlockFormat) -> bool:
    """Packs the rows; False if a weight is not finite."""
    raise NotImplementedError


def prepare(layout: BlockFormat, dtype: np.dtype) -> None:
    """Loads the kernel of a format for a source dtype."""
    raise NotImplementedError


def is_prepared(name: str, dtype: np.dtype) -> bool:
    """Whether the kernel is in the cache."""
    raise NotImplementedError
