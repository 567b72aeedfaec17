"""Weights that try the encoders: what models hold, and what they had better not."""

import numpy as np
from numpy.typing import NDArray

COLUMNS = 1024
_SUBNORMALS = [0, 1e-44, 1e-39, -1e-40]


def _normal(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.standard_normal((4, COLUMNS), np.float32) * np.float32(0.02)


def _sparse(rng: np.random.Generator) -> NDArray[np.float32]:
    return _normal(rng) * (rng.random((4, COLUMNS)) < 0.1)


def _outlier_channels(rng: np.random.Generator) -> NDArray[np.float32]:
    x = _normal(rng)
    x[:, ::97] *= 30
    return x


def _spikes(rng: np.random.Generator) -> NDArray[np.float32]:
    x = _normal(rng)
    x[:, ::37] *= 1000
    return x


def _zero_subblocks(rng: np.random.Generator) -> NDArray[np.float32]:
    x = _normal(rng)
    x[:, :16] = x[:, 64:96] = x[:, 512:768] = 0
    return x


def _all_magnitudes(rng: np.random.Generator) -> NDArray[np.float32]:
    return np.exp(rng.uniform(-100, 88, (4, COLUMNS))) * rng.choice([-1, 1], (4, COLUMNS))


CASES = {
    "normal": _normal,
    "heavy tails": lambda rng: rng.standard_t(2, (4, COLUMNS)),
    "outlier channels": _outlier_channels,
    "spikes": _spikes,
    "sparse, with zeros of both signs": _sparse,
    "zeros": lambda rng: np.zeros((4, COLUMNS)),
    "negative zeros": lambda rng: np.full((4, COLUMNS), -0.0),
    "zero sub-blocks": _zero_subblocks,
    "a positive constant": lambda rng: np.full((4, COLUMNS), 0.5),
    "a negative constant": lambda rng: np.full((4, COLUMNS), -0.3),
    "nearly constant": lambda rng: -1 + 1e-6 * rng.standard_normal((4, COLUMNS)),
    "all positive": lambda rng: np.abs(_normal(rng)),
    "all negative": lambda rng: -np.abs(_normal(rng)),
    "alternating signs": lambda rng: np.where(np.arange(4 * COLUMNS).reshape(4, -1) % 2, 0.3, -0.3),
    "small integers": lambda rng: rng.integers(-3, 4, (4, COLUMNS)),
    "scale 1e5": lambda rng: _normal(rng) * np.float32(1e5),
    "scale 1e30": lambda rng: _normal(rng) * np.float32(1e30),
    "scale 1e36": lambda rng: _normal(rng) * np.float32(1e36),
    "scale 1e-7": lambda rng: _normal(rng) * np.float32(1e-7),
    "scale 1e-14": lambda rng: _normal(rng) * np.float32(1e-14),
    "scale 1e-20": lambda rng: _normal(rng) * np.float32(1e-20),
    "scale 1e-38": lambda rng: _normal(rng) * np.float32(1e-38),
    "scale 1e-41": lambda rng: _normal(rng) * np.float32(1e-41),
    "subnormals": lambda rng: rng.choice(_SUBNORMALS, (4, COLUMNS)),
    "subnormals beside the largest": lambda rng: rng.choice([*_SUBNORMALS, 3e38, -3e38], (4, COLUMNS)),
    "all magnitudes": _all_magnitudes,
}


def weights(case: str) -> NDArray[np.float32]:
    """The rows of one case, float32 [4, COLUMNS], always the same."""
    rng = np.random.default_rng(sorted(CASES).index(case))
    return np.ascontiguousarray(CASES[case](rng), np.float32)


def all_weights() -> NDArray[np.float32]:
    """The rows of all cases, one after the other."""
    return np.concatenate([weights(case) for case in CASES])


def case_of_row(row: int) -> str:
    """The case that a row of `all_weights` belongs to."""
    return list(CASES)[row // 4]


def as_source(x: NDArray[np.float32], dtype: str) -> tuple[NDArray[np.generic], NDArray[np.float32]]:
    """Weights as `encode` takes them in "f32", "f16" or "bf16", and the float32 values they then have."""
    if dtype == "f32":
        return x, x
    if dtype == "f16":
        halves = np.clip(x, -65504, 65504).astype(np.float16)
        return halves, halves.astype(np.float32)
    bits = (x.view(np.uint32) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)
