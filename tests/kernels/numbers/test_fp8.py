"""FP8: torch's codes and values, bit for bit."""

import numpy as np
import pytest
import torch

import kernels
from kernels import numbers
from kernels.numbers import E4M3, E5M2, Fp8
from tests.kernels.numbers.samples import spread_wide, weights

TORCH = {E4M3: torch.float8_e4m3fn, E5M2: torch.float8_e5m2}
FORMATS = [pytest.param(format, id=format.name) for format in TORCH]
BACKENDS = ["cpu", "reference"]


def every_16_bit_value(dtype: torch.dtype) -> np.ndarray:
    bits = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
    return bits.view(dtype).float().numpy()


def by_torch(values: np.ndarray, format: Fp8) -> np.ndarray:
    return torch.from_numpy(values).to(TORCH[format]).view(torch.uint8).numpy()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("format", FORMATS)
def test_codes_are_those_of_torch(format: Fp8, source: str, backend: str) -> None:
    values = spread_wide() if source == "float32" else every_16_bit_value(getattr(torch, source))
    theirs = by_torch(values, format)
    # Which of the two torch does with what is too large is a matter of its version (2.13 saturates E4M3 only).
    either = [numbers.encode_fp8(values, format, overflow=way, backend=backend) for way in ("saturate", "special")]
    assert any(np.array_equal(ours, theirs) for ours in either)
    number = np.abs(values) <= format.largest
    assert all(np.array_equal(ours[number], theirs[number]) for ours in either)


@pytest.mark.parametrize("format", FORMATS)
def test_values_are_those_of_torch(format: Fp8) -> None:
    codes = np.arange(256, dtype=np.uint8)
    theirs = torch.from_numpy(codes).view(TORCH[format]).float().numpy()
    ours = numbers.decode_fp8(codes, format)
    assert np.array_equal(ours, theirs, equal_nan=True)
    assert np.array_equal(np.signbit(ours)[~np.isnan(ours)], np.signbit(theirs)[~np.isnan(theirs)])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_code_survives(format: Fp8, backend: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    codes = codes[~np.isnan(format.values)]
    back = numbers.encode_fp8(format.values[codes], format, overflow="special", backend=backend)
    assert np.array_equal(back, codes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("format", "limit", "saturated", "special"), [(E4M3, 464, 0x7E, 0x7F), (E5M2, 61440, 0x7B, 0x7C)]
)
def test_what_is_too_large_saturates_or_becomes_special(
    format: Fp8, limit: float, saturated: int, special: int, backend: str
) -> None:
    beyond = np.array([np.nextafter(np.float32(limit), np.float32(np.inf)), 3e38, np.inf, -np.inf], np.float32)
    codes = numbers.encode_fp8(beyond, format, backend=backend)
    assert codes.tolist() == [saturated, saturated, saturated, saturated | 0x80]
    codes = numbers.encode_fp8(beyond, format, overflow="special", backend=backend)
    assert codes.tolist() == [special, special, special, special | 0x80]


def test_halfway_to_the_code_after_the_largest_is_rounded_to_even() -> None:
    assert numbers.encode_fp8(np.array([464], np.float32), E4M3, overflow="special").tolist() == [0x7E]
    assert numbers.encode_fp8(np.array([61440], np.float32), E5M2, overflow="special").tolist() == [0x7C]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("format", FORMATS)
def test_not_a_number_stays_so_with_its_sign(format: Fp8, backend: str) -> None:
    bits = np.array([0x7FC00000, 0xFFC00000, 0x7F800001], np.uint32)
    assert numbers.encode_fp8(bits.view(np.float32), format, backend=backend).tolist() == [0x7F, 0xFF, 0x7F]


@pytest.mark.parametrize("tile", [numbers.TENSOR, numbers.CHANNEL, numbers.group(64), numbers.BLOCK_128], ids=str)
@pytest.mark.parametrize("format", FORMATS)
def test_scaled_codes_are_those_of_torch(format: Fp8, tile: numbers.Tile) -> None:
    x = weights(150, 321)
    q, reference = numbers.quantize_fp8(x, format, tile), numbers.quantize_fp8(x, format, tile, backend="reference")
    assert np.array_equal(q.codes, reference.codes)
    assert np.array_equal(q.scale, reference.scale)
    rows, columns = (whole if part is None else part for whole, part in zip(x.shape, tile, strict=True))
    scales = np.repeat(np.repeat(q.scale, rows, axis=0)[:150], columns, axis=1)[:, :321]
    assert np.array_equal(q.codes, by_torch(np.clip(x / scales, -format.largest, format.largest), format))
    values = torch.from_numpy(q.codes).view(TORCH[format]).float().numpy() * scales
    assert np.array_equal(numbers.dequantize_fp8(q), values)


def test_the_largest_weight_of_a_block_takes_the_largest_number() -> None:
    q = numbers.quantize_fp8(weights(256, 384), E4M3, numbers.BLOCK_128)
    assert q.scale.shape == (2, 3)
    blocks = (q.codes & 0x7F).reshape(2, 128, 3, 128).max(axis=(1, 3))
    assert (blocks == 0x7E).all()


def test_rows_of_zeros_have_scale_one() -> None:
    q = numbers.quantize_fp8(weights(), E4M3)
    assert q.scale[1, 0] == 1
    assert (numbers.dequantize_fp8(q)[1] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_non_finite_weight_is_refused_with_its_place(backend: str) -> None:
    x = weights()
    x[7, 3] = np.nan
    with pytest.raises(kernels.NonFinite, match="row 7, column 3"):
        numbers.quantize_fp8(x, E5M2, numbers.BLOCK_128, backend=backend)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="not float64"):
        numbers.encode_fp8(np.zeros(3), E4M3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'saturate' or 'special'"):
        numbers.encode_fp8(np.zeros(3, np.float32), E4M3, overflow="wrap")
    assert numbers.encode_fp8(np.zeros((0, 4), np.float32), E4M3).shape == (0, 4)
