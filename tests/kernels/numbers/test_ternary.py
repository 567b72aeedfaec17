"""Ternary weights: BitNet's rounding and the packing of its files."""

import numpy as np
import pytest
import torch

import kernels
from kernels import numbers
from tests.kernels.numbers.samples import weights

BACKENDS = ["cpu", "reference"]
TILES = [numbers.TENSOR, numbers.CHANNEL, numbers.group(80)]


@pytest.mark.parametrize("columns", [320, 480])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_the_fast_path_gives_the_bytes_of_the_reference(tile: numbers.Tile, columns: int) -> None:
    x = weights(37, columns)
    ours, reference = numbers.quantize_ternary(x, tile), numbers.quantize_ternary(x, tile, backend="reference")
    assert np.array_equal(ours.codes, reference.codes)
    assert np.array_equal(ours.scale, reference.scale)


def test_rows_of_an_odd_length_are_as_in_the_reference() -> None:
    x = weights(11, 203)
    for tile in (numbers.TENSOR, numbers.CHANNEL):
        ours, reference = numbers.quantize_ternary(x, tile), numbers.quantize_ternary(x, tile, backend="reference")
        assert np.array_equal(ours.codes, reference.codes)
        assert np.array_equal(ours.scale, reference.scale)


@pytest.mark.parametrize("backend", BACKENDS)
def test_codes_and_scale_are_those_of_torch(backend: str) -> None:
    x = weights()
    q = numbers.quantize_ternary(x, backend=backend)
    w = torch.from_numpy(x)
    assert np.isclose(q.scale[0, 0], w.abs().mean().item(), rtol=1e-6)
    inverse = 1.0 / torch.from_numpy(q.scale)
    assert np.array_equal(q.codes, (w * inverse).round().clamp(-1, 1).to(torch.int8).numpy())


def test_the_scale_is_the_mean_magnitude_of_each_row() -> None:
    x = np.random.default_rng(1).standard_normal((20, 333)).astype(np.float32)
    scale = numbers.quantize_ternary(x, numbers.CHANNEL).scale
    assert np.array_equal(scale[:, 0], np.abs(x).mean(axis=1, dtype=np.float64).astype(np.float32))


@pytest.mark.parametrize("backend", BACKENDS)
def test_ternary_weights_survive(backend: str) -> None:
    x = np.random.default_rng(2).choice([-0.5, 0.5], (16, 64)).astype(np.float32)
    assert np.array_equal(numbers.dequantize_ternary(numbers.quantize_ternary(x, backend=backend)), x)


def test_a_row_of_zeros_has_the_smallest_scale_and_no_ones() -> None:
    q = numbers.quantize_ternary(weights(), numbers.CHANNEL)
    assert q.scale[1, 0] == np.float32(1e-5)
    assert (q.codes[1] == 0).all()


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 9, 37])
def test_packed_codes_are_read_back(rows: int) -> None:
    codes = np.random.default_rng(rows).integers(-1, 2, (rows, 12), np.int8)
    packed = numbers.pack_ternary(codes)
    assert packed.shape == (-(-rows // 4), 12)
    assert np.array_equal(numbers.unpack_ternary(packed, rows), codes)


def test_the_rows_of_a_byte_lie_a_quarter_of_the_matrix_apart() -> None:
    codes = np.array([[0], [-1], [-1], [1], [1], [0], [1], [1]], np.int8)
    assert numbers.pack_ternary(codes).ravel().tolist() == [0b10_10_00_01, 0b10_01_10_00]


def test_rows_that_do_not_fit_are_refused() -> None:
    for rows in (4, 9):
        with pytest.raises(ValueError, match=f"2 packed rows cannot hold {rows} rows"):
            numbers.unpack_ternary(np.zeros((2, 3), np.uint8), rows)


def test_a_non_finite_weight_is_refused_with_its_place() -> None:
    x = weights()
    x[0, 1] = np.nan
    with pytest.raises(kernels.NonFinite, match="row 0, column 1"):
        numbers.quantize_ternary(x)


def test_tiles_that_do_not_fill_the_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fill"):
        numbers.quantize_ternary(weights(), numbers.group(100))
