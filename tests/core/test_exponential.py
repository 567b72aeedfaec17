"""exp32 against PyTorch, which llama.cpp's converter computes with."""

from __future__ import annotations

import numpy as np
import torch

from core.exponential import exp32

RECORDED = [1028386182, 1056850030, 1065353216, 1066235454, 1073741824, 1076754516, 1077936128, 1098907648, 1188885781]


def test_exp32_is_within_six_tenths_of_the_last_place() -> None:
    x = np.linspace(-80, 80, 200_001, dtype=np.float32)
    exact = np.exp(x.astype(np.float64))
    error = np.abs(exp32(x) - exact) / np.spacing(exact.astype(np.float32))
    assert error.max() < 0.6


def test_exp32_of_what_is_no_number_or_too_large_is_that_of_numpy() -> None:
    assert exp32(np.array([100, -200, np.inf, -np.inf], np.float32)).tolist() == [np.inf, 0, np.inf, 0]
    assert np.isnan(exp32(np.array([np.nan], np.float32)))[0]


def test_exp32_has_the_bits_that_the_converter_writes() -> None:
    """Bits of torch.exp as recorded on x86-64."""
    x = np.array([-3.0, -0.7, 0.0, 0.1, 0.6931472, 1.0, 1.0986123, 2.7725887, 10.25], np.float32)
    assert exp32(x).view(np.uint32).tolist() == RECORDED


def test_exp32_is_never_more_than_one_bit_from_torch() -> None:
    """On x86-64 without other vector libraries not even that; elsewhere PyTorch rounds otherwise."""
    x = (np.random.default_rng(1).standard_normal(100_000) * 3).astype(np.float32)
    expected = torch.exp(torch.from_numpy(x)).numpy()
    assert np.abs(exp32(x).view(np.int32) - expected.view(np.int32)).max() <= 1
