"""INT8: torch's codes, bitsandbytes' rows, and clipping that does what it says."""

import bitsandbytes.functional as bnb
import numpy as np
import pytest
import torch

import kernels
from kernels import numbers
from tests.kernels.numbers.samples import weights

TILES = {"tensor": numbers.TENSOR, "channel": numbers.CHANNEL, "group": numbers.group(32), "block": numbers.BLOCK_128}
CLIPS = [None, numbers.Percentile(99.5), numbers.LeastError(30)]
QUANTIZERS = [numbers.symmetric_int8, numbers.asymmetric_int8]


def assert_same(a: numbers.Int8, b: numbers.Int8) -> None:
    assert np.array_equal(a.codes, b.codes)
    assert np.array_equal(a.scale, b.scale)
    assert np.array_equal(a.zero_point, b.zero_point)


@pytest.mark.parametrize("columns", [320, 7 * 32])
@pytest.mark.parametrize("clip", CLIPS, ids=str)
@pytest.mark.parametrize("tile", ["tensor", "channel", "group"])
@pytest.mark.parametrize("quantize", QUANTIZERS)
def test_the_fast_path_gives_the_bytes_of_the_reference(quantize, tile: str, clip, columns: int) -> None:
    x = weights(33, columns)
    assert_same(
        quantize(x, TILES[tile], clip=clip, backend="cpu"), quantize(x, TILES[tile], clip=clip, backend="reference")
    )


@pytest.mark.parametrize("quantize", QUANTIZERS)
def test_tiles_cut_short_and_odd_columns_are_as_in_the_reference(quantize) -> None:
    x = weights(200, 301)
    assert quantize(x, numbers.BLOCK_128).scale.shape == (2, 3)
    for tile in (numbers.BLOCK_128, numbers.group(40), (3, 7)):
        assert_same(quantize(x, tile), quantize(x, tile, backend="reference"))


@pytest.mark.parametrize("quantize", QUANTIZERS)
@pytest.mark.parametrize("dtype", [np.float16, np.uint16])
def test_16_bit_weights_are_taken_at_their_values(quantize, dtype: type) -> None:
    x = weights()
    source = x.astype(np.float16) if dtype is np.float16 else (x.view(np.uint32) >> 16).astype(np.uint16)
    values = source.astype(np.float32) if dtype is np.float16 else (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert_same(quantize(source), quantize(values))


@pytest.mark.parametrize(("quantize", "lowest"), [(numbers.symmetric_int8, -127), (numbers.asymmetric_int8, -128)])
def test_values_are_those_torch_fakes_with_the_same_scales(quantize, lowest: int) -> None:
    x = weights()
    q = quantize(x)
    zeros = np.zeros(len(x), np.int32) if q.zero_point is None else q.zero_point[:, 0]
    faked = torch.fake_quantize_per_channel_affine(
        torch.from_numpy(x), torch.from_numpy(q.scale[:, 0].copy()), torch.from_numpy(zeros.copy()), 0, lowest, 127
    )
    assert np.array_equal(numbers.dequantize_int8(q), faked.numpy())


@pytest.mark.parametrize("quantize", QUANTIZERS)
@pytest.mark.parametrize("tile", list(TILES))
def test_no_weight_is_off_by_more_than_half_a_step(quantize, tile: str) -> None:
    x = weights()
    q = quantize(x, TILES[tile])
    bound = (0.5 if q.zero_point is None else 1.0) * 1.0001  # a zero point is rounded as well
    size = numbers.tiles.tile_size(x.shape, TILES[tile])
    steps = np.repeat(np.repeat(q.scale, size[0], axis=0)[:48], size[1], axis=1)[:, :320]
    assert (np.abs(numbers.dequantize_int8(q) - x) <= bound * steps).all()


@pytest.mark.parametrize("quantize", QUANTIZERS)
def test_zero_stays_zero(quantize) -> None:
    x = weights()
    assert (numbers.dequantize_int8(quantize(x))[x == 0] == 0).all()
    assert (numbers.dequantize_int8(quantize(x))[1] == 0).all()


def test_the_largest_weight_of_a_symmetric_row_takes_the_last_code() -> None:
    x = weights()
    codes = np.abs(numbers.symmetric_int8(x).codes).max(axis=1)
    assert codes.tolist() == [127, 0, 0, *[127] * 45]


def test_a_one_sided_row_uses_all_codes_with_a_zero_point() -> None:
    q = numbers.asymmetric_int8(weights())
    assert q.zero_point is not None
    assert q.zero_point[3, 0] == -128
    assert (q.codes[3].min(), q.codes[3].max()) == (-128, 127)


@pytest.mark.parametrize("quantize", QUANTIZERS)
def test_the_search_for_the_range_lowers_the_error(quantize) -> None:
    x = weights(64, 512)

    def errors(clip: numbers.LeastError | None) -> np.ndarray:
        return ((numbers.dequantize_int8(quantize(x, clip=clip)).astype(np.float64) - x) ** 2).sum(axis=1)

    plain, searched = errors(None), errors(numbers.LeastError())
    assert (searched <= plain).all()
    assert (searched < plain).any()


def test_the_search_gives_up_a_single_outlier() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (256, 256)).astype(np.float32)
    x[3, 5] = 1.3
    q = numbers.symmetric_int8(x, numbers.TENSOR, clip=numbers.LeastError())
    assert 0.99 < 127 * q.scale[0, 0] < 1.1
    assert q.codes[3, 5] == 127


def test_a_percentile_clips_outliers_and_100_clips_none() -> None:
    x = weights()
    x[:, 7] = 1e4
    clipped = numbers.symmetric_int8(x, clip=numbers.Percentile(99))
    assert (clipped.scale < 1e4 / 127).all()
    assert (clipped.codes[:, 7] == 127).all()
    assert_same(numbers.symmetric_int8(x, clip=numbers.Percentile(100)), numbers.symmetric_int8(x))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rows_are_those_of_bitsandbytes(dtype: torch.dtype, backend: str) -> None:
    x = torch.from_numpy(np.delete(weights(), [1, 2], axis=0)).to(dtype)
    theirs, magnitudes, _ = bnb.int8_vectorwise_quant(x)
    codes, scb = numbers.llm_int8(x.numpy(), backend=backend)
    assert np.array_equal(codes, theirs.numpy())
    assert np.array_equal(scb, magnitudes.numpy())
    back = bnb.int8_vectorwise_dequant(theirs, magnitudes)
    assert np.array_equal(numbers.dequantize_llm_int8(codes, scb), back.numpy())


def test_a_row_of_zeros_has_magnitude_zero_in_llm_int8() -> None:
    codes, scb = numbers.llm_int8(weights())
    assert scb[1] == 0
    assert (codes[1] == 0).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("quantize", [*QUANTIZERS, numbers.llm_int8])
def test_a_non_finite_weight_is_refused_with_its_place(quantize, bad: float, backend: str) -> None:
    x = weights()
    x[5, 317] = x[6, 0] = bad
    with pytest.raises(kernels.NonFinite, match="row 5, column 317"):
        quantize(x, backend=backend)


def test_what_makes_no_sense_is_refused() -> None:
    x = weights()
    with pytest.raises(ValueError, match="do not fill a matrix of 48 x 320"):
        numbers.symmetric_int8(x, numbers.group(33), clip=numbers.LeastError())
    with pytest.raises(ValueError, match="at least one row"):
        numbers.symmetric_int8(x, numbers.group(0))
    with pytest.raises(ValueError, match="not float64"):
        numbers.symmetric_int8(x.astype(np.float64))
    with pytest.raises(ValueError, match="must be a matrix"):
        numbers.symmetric_int8(x[0])
    with pytest.raises(ValueError, match=r"50\.\.100"):
        numbers.Percentile(1)
    with pytest.raises(ValueError, match="1 to 100 steps"):
        numbers.LeastError(0)
    with pytest.raises(kernels.UnsupportedBackend, match="available: cpu, reference"):
        numbers.symmetric_int8(x, backend="gpu")


def test_read_only_weights_are_taken() -> None:
    x = weights()
    frozen = np.frombuffer(x.tobytes(), np.float32).reshape(x.shape)
    assert_same(numbers.symmetric_int8(frozen), numbers.symmetric_int8(x))
