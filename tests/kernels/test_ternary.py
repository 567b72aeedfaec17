"""TQ1_0, TQ2_0 and Q2_0: three levels, whatever the packing."""

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from kernels.reference import ternary
from tests.kernels import oracle

NAMES = ["TQ1_0", "TQ2_0", "Q2_0"]
BACKENDS = ["cpu", "reference"]


def beside_half_of_the_largest() -> NDArray[np.float32]:
    """Rows with weights on half their largest magnitude and one float beside it, for every exponent."""
    rng = np.random.default_rng(1)
    peaks = np.ldexp(rng.uniform(0.5, 1, 277), np.arange(-148, 129)).astype(np.float32)
    half = peaks / np.float32(2)
    near = np.stack([np.nextafter(half, np.float32(0)), half, np.nextafter(half, peaks), peaks, -half, -peaks], axis=1)
    return np.resize(near.T, (258, 277)).T[:, :256].copy()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_bytes_at_the_edges_are_those_of_ggml(name: str, backend: str) -> None:
    x = beside_half_of_the_largest()
    assert np.array_equal(kernels.encode(x, name, backend=backend), oracle.quantize(x, name))


@pytest.mark.parametrize("name", NAMES)
def test_ggml_ignores_the_importance_matrix(name: str) -> None:
    x = np.random.default_rng(3).standard_normal((16, 256)).astype(np.float32)
    importance = np.linspace(0.1, 9, 256).astype(np.float32)
    assert np.array_equal(kernels.encode(x, name), oracle.quantize(x, name, importance))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_three_levels_survive(name: str, backend: str) -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(-1, 2, (64, 512)).astype(np.float32) * np.float32(0.75)
    assert np.array_equal(kernels.decode(kernels.encode(x, name, backend=backend), name), x)


def test_every_byte_of_trits_is_read_back_as_it_was_packed() -> None:
    codes = np.indices((3,) * 5).reshape(5, -1).T.astype(np.int32)
    packed = ternary.pack_trits(codes[:, :, None])
    assert len(np.unique(packed)) == 243
    assert np.array_equal(ternary.unpack_trits(packed, 5), codes)
    four = ternary.pack_trits(codes[:, :4, None])
    assert np.array_equal(ternary.unpack_trits(four, 4), codes[:, :4])


def test_the_fourth_level_of_q2_0_is_read() -> None:
    data = np.zeros((1, 18), np.uint8)
    data[0, :3] = 0, 0x3C, 0b11100100
    assert kernels.decode(data, "Q2_0")[0, :5].tolist() == [-1, 0, 1, 2, -1]
