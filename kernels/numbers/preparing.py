"""Compiling the lanes of the plain formats before they are needed, by quantizing next to nothing."""

from collections.abc import Callable, Mapping

import numpy as np

from kernels.cpu import cache
from kernels.numbers.fp4 import FP4, NF4, quantize_4bit
from kernels.numbers.fp8 import E4M3, E5M2, quantize_fp8
from kernels.numbers.int8 import LeastError, asymmetric_int8
from kernels.numbers.ternary import quantize_ternary

_WEIGHTS = np.zeros((1, 64), np.float32)

KERNELS: Mapping[str, Callable[[], object]] = {
    "INT8": lambda: asymmetric_int8(_WEIGHTS, clip=LeastError(1)),
    "E4M3": lambda: quantize_fp8(_WEIGHTS, E4M3),
    "E5M2": lambda: quantize_fp8(_WEIGHTS, E5M2),
    "FP4": lambda: quantize_4bit(_WEIGHTS, FP4),
    "NF4": lambda: quantize_4bit(_WEIGHTS, NF4),
    "TERNARY": lambda: quantize_ternary(_WEIGHTS),
}


def prepare(name: str) -> None:
    """Loads the cpu kernels of a key of KERNELS, compiling what this machine has not compiled yet."""
    KERNELS[name]()
    cache.mark(_name(name))


def is_prepared(name: str) -> bool:
    """Whether `prepare` would find everything compiled already."""
    return cache.is_marked(_name(name))


def _name(name: str) -> str:
    return f"{name}-numbers"
