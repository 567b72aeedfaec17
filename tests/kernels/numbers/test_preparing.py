"""The lanes of plain formats can be compiled ahead of their use."""

from pathlib import Path

import numpy as np
import pytest

import kernels
from kernels import cpu, numbers

WEIGHTS = np.ones((2, 64), np.float32)


@pytest.mark.parametrize("name", list(numbers.KERNELS))
def test_a_plain_format_is_prepared_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cpu.cache, "folder", lambda: tmp_path)
    assert not kernels.is_prepared([name], np.float32)
    kernels.prepare([name], np.float32)
    assert kernels.is_prepared([name], np.float32)


def test_nothing_more_is_compiled_when_prepared_formats_are_used() -> None:
    kernels.prepare(numbers.KERNELS, np.float32)
    names = ("extremes", "integers", "fp8", "four_bit", "magnitude_sums", "squared_errors")
    before = {name: len(cpu.load("plain", name).signatures) for name in names}
    numbers.symmetric_int8(WEIGHTS.astype(np.float16), clip=numbers.LeastError())
    numbers.asymmetric_int8(WEIGHTS, numbers.TENSOR)
    numbers.llm_int8(WEIGHTS)
    for fp8 in (numbers.E4M3, numbers.E5M2):
        numbers.quantize_fp8(WEIGHTS, fp8, numbers.BLOCK_128)
        numbers.encode_fp8(WEIGHTS, fp8, overflow="special")
    for book in (numbers.FP4, numbers.NF4):
        numbers.quantize_4bit(WEIGHTS, book)
    numbers.quantize_ternary(WEIGHTS)
    assert {name: len(cpu.load("plain", name).signatures) for name in names} == before
