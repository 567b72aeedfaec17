"""Weights to search codes for, and the error that GGML minimises for a format, in double precision."""

import json
from functools import cache

import numpy as np
from numpy.typing import NDArray

import kernels
from tests.models import SAMPLE

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

COLUMNS = 2048
ROWS_MEAN = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0", "MXFP4", "NVFP4")


def _gaussian() -> F32:
    return np.random.default_rng(11).standard_normal((32, COLUMNS), np.float32) * np.float32(0.02)


def _student() -> F32:
    return (np.random.default_rng(12).standard_t(5, (32, COLUMNS)) * 0.02).astype(np.float32)


def _trained() -> F32:
    """The matrices of the sample model, one after the other, in rows of 256."""
    data = (SAMPLE / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    parts = []
    for name, tensor in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__" and len(tensor["shape"]) == 2 and "embed" not in name:
            first, last = tensor["data_offsets"]
            parts.append(np.frombuffer(data[8 + size + first : 8 + size + last], np.uint16))
    bits = np.concatenate(parts)[: 32 * COLUMNS * 4]
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(-1, 256)


SOURCES = {"gaussian": _gaussian, "student": _student, "trained": _trained}


@cache
def weights(source: str) -> F32:
    """The rows of one source."""
    return SOURCES[source]()


def importance(columns: int) -> F32:
    """Lognormal, as activations are."""
    return np.exp(np.random.default_rng(5).standard_normal(columns)).astype(np.float32)


def costs(x: F32, name: str, known: F32 | None) -> F64:
    """What GGML counts an error at each weight as; where it counts none, 1 or as for Q4_0."""
    wide = x.astype(np.float64)
    square = wide * wide
    if known is None:
        return _costs_of_unknown(wide, name)
    if name == "Q6_K":
        return np.broadcast_to(known, x.shape).astype(np.float64)
    if name in ROWS_MEAN:
        mean = square.mean(axis=1, keepdims=True)
    else:
        size = kernels.FORMATS[name].block_size
        factor = 1 if name in ("Q2_K", "IQ2_XXS", "IQ2_XS") else 2
        mean = factor * np.repeat(square.reshape(len(x), -1, size).mean(axis=2), size, axis=1)
    return known.astype(np.float64) * np.sqrt(mean + square)


def _costs_of_unknown(x: F64, name: str) -> F64:
    if name in ROWS_MEAN:
        return np.ones_like(x)
    if name == "Q2_K":
        return np.abs(x)
    if name in ("Q4_K", "Q5_K"):
        rms = np.sqrt((x.reshape(len(x), -1, 32) ** 2).mean(axis=2))
        return np.repeat(rms, 32, axis=1) + np.abs(x)
    if name == "IQ2_S":
        return 0.5 * np.repeat((x.reshape(-1, 256) ** 2).mean(axis=1), 256).reshape(x.shape) + x * x
    return x * x


def errors(data: NDArray[np.uint8], x: F32, name: str, known: F32 | None) -> F64:
    """The weighted error of every block, squared but for Q2_K without importance."""
    difference = kernels.decode(data, name).astype(np.float64) - x
    size = np.abs(difference) if name == "Q2_K" and known is None else difference**2
    return (costs(x, name, known) * size).reshape(-1, kernels.FORMATS[name].block_size).sum(axis=1)
