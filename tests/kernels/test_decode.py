"""Decoders give GGML's values bit for bit, even of bytes that no encoder wrote."""

import numpy as np
import pytest

import kernels
from tests.kernels import inputs, oracle

DECODABLE = [name for name in kernels.FORMATS if kernels.decodable(name)]
BLOCKS = [name for name in DECODABLE if kernels.FORMATS[name].block_size > 1]


@pytest.mark.parametrize("name", BLOCKS)
def test_values_of_random_bytes_are_those_of_ggml(name: str) -> None:
    rng = np.random.default_rng(3)
    data = rng.integers(0, 256, (32, 8 * kernels.FORMATS[name].block_bytes), np.uint8)
    ours, theirs = kernels.decode(data, name), oracle.dequantize(data, name)
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    number = ~np.isnan(ours)
    assert np.array_equal(ours.view(np.uint32)[number], theirs.view(np.uint32)[number])


def test_all_f16_and_bf16_patterns_decode_to_their_values() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    data = bits.view(np.uint8).reshape(1, -1)
    assert np.array_equal(kernels.decode(data, "F16")[0], bits.view(np.float16).astype(np.float32), equal_nan=True)
    exact = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(kernels.decode(data, "BF16")[0], exact, equal_nan=True)


@pytest.mark.parametrize(
    ("name", "bound"), [("Q8_0", 0.008), ("Q6_K", 0.03), ("Q5_K", 0.06), ("Q4_K", 0.1), ("Q4_0", 0.12)]
)
def test_decoding_gives_back_nearly_what_was_encoded(name: str, bound: float) -> None:
    x = inputs.weights("normal")
    error = kernels.decode(kernels.encode(x, name), name) - x
    assert np.sqrt((error**2).mean()) < bound * np.sqrt((x**2).mean())


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_a_16_bit_weight_survives_its_own_format(name: str) -> None:
    source, values = inputs.as_source(inputs.weights("normal"), {"F32": "f32", "F16": "f16", "BF16": "bf16"}[name])
    assert np.array_equal(kernels.decode(kernels.encode(source, name), name), values)


def test_decoding_what_is_not_there_yet_says_so() -> None:
    with pytest.raises(kernels.UnsupportedBackend, match="available: reference"):
        kernels.decode(np.zeros((1, 34), np.uint8), "Q8_0", backend="cpu")
