"""MXFP4 and NVFP4 at the edges of their 8-bit scales."""

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from kernels.reference import fp4
from tests.kernels import oracle

NAMES = ["MXFP4", "NVFP4"]
BACKENDS = ["cpu", "reference"]


def around_powers_of_two() -> NDArray[np.float32]:
    """Rows whose largest magnitude is a few floats below or above a power of two, for every exponent."""
    rng = np.random.default_rng(1)
    bits = np.ldexp(1.0, np.arange(-149, 128)).astype(np.float32).view(np.int32)
    peaks = np.concatenate([bits + ulps for ulps in (-100, -89, -88, -60, -44, -22, -11, -6, -3, -2, -1, 0, 1)])
    peaks = np.append(np.maximum(peaks, 1), 0x7F7FFFFF).astype(np.int32).view(np.float32)
    rows = peaks[:, None] * rng.uniform(-1, 1, (len(peaks), 64)).astype(np.float32)
    rows[:, ::16] = peaks[:, None]
    return rows


def between_levels() -> NDArray[np.float32]:
    """Weights on every midpoint of two levels and one float beside it, for scales of all sizes."""
    limits = np.array([0.5, 1.5, 2.5, 3.5, 5, 7, 10, 12], np.float32)
    beside = np.concatenate([np.nextafter(limits, np.float32(0)), limits, np.nextafter(limits, np.float32(20))])
    signed = np.resize(np.concatenate([beside, -beside]), 64).astype(np.float32)
    signed[::16] = 12
    steps = np.ldexp(np.array([1, 1.125, 1.75, 1.875], np.float32), np.arange(-140, 123)[:, None]).reshape(-1, 1)
    return (signed * steps).astype(np.float32)


def beyond_the_largest_scale() -> NDArray[np.float32]:
    """Small and huge weights together: the huge ones are so far off that differences are rounded."""
    rng = np.random.default_rng(2)
    magnitudes = np.exp2(rng.uniform(5, 40, (512, 64))) * np.exp2(rng.uniform(0, 80, (512, 1)))
    return (magnitudes * rng.choice([-1, 1], (512, 64))).astype(np.float32)


EDGES = [around_powers_of_two, between_levels, beyond_the_largest_scale]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_bytes_at_the_edges_are_those_of_ggml(name: str, edge, backend: str) -> None:
    x = edge()
    assert np.array_equal(kernels.encode(x, name, backend=backend), oracle.quantize(x, name))


def test_every_pattern_of_a_scale_decodes_as_in_ggml() -> None:
    for name, field in (("MXFP4", "e"), ("NVFP4", "d")):
        block = np.zeros((256, 1), kernels.FORMATS[name].dtype)
        block[field].reshape(256, -1)[:] = np.arange(256)[:, None]
        block["qs"] = np.resize(np.arange(0, 256, 17) ^ 0x30, block["qs"].shape[-1])
        data = block.view(np.uint8)
        ours, theirs = kernels.decode(data, name), oracle.dequantize(data, name)
        assert np.array_equal(ours.view(np.uint32), theirs.view(np.uint32))


@pytest.mark.parametrize("name", NAMES)
def test_ggml_ignores_the_importance_matrix(name: str) -> None:
    x = np.random.default_rng(3).standard_normal((16, 256)).astype(np.float32)
    importance = np.linspace(0.1, 9, 256).astype(np.float32)
    assert np.array_equal(kernels.encode(x, name), oracle.quantize(x, name, importance))


def test_what_fp4_holds_survives_mxfp4() -> None:
    rng = np.random.default_rng(4)
    x = fp4.LEVELS[rng.integers(0, 16, (64, 32))] * np.ldexp(np.float32(1), rng.integers(-60, 60, (64, 1)))
    x[:, 0] = np.abs(x).max(axis=1)
    x[:, 0] = np.ldexp(np.float32(8), np.frexp(x[:, 0])[1] - 4)  # the power of two below the largest
    x[np.abs(x) > 1.5 * x[:, :1]] = 0
    assert np.array_equal(kernels.decode(kernels.encode(x, "MXFP4"), "MXFP4"), x + np.float32(0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_encoding_what_was_decoded_gives_the_same_values(name: str, backend: str) -> None:
    x = np.random.default_rng(5).standard_normal((64, 256)).astype(np.float32)
    once = kernels.decode(kernels.encode(x, name, backend=backend), name)
    assert np.array_equal(kernels.decode(kernels.encode(once, name, backend=backend), name), once)


def test_a_scale_that_is_not_a_number_is_found() -> None:
    x = np.random.default_rng(6).standard_normal((2, 64)).astype(np.float32)
    for name, offset, patterns in (("MXFP4", 17, [255]), ("NVFP4", 3, [127, 255])):
        assert kernels.scales_are_finite(kernels.encode(x, name), name)
        for pattern in patterns:
            data = kernels.encode(x, name)
            data[1, offset] = pattern
            assert not kernels.scales_are_finite(data, name)


def test_no_weight_makes_nvfp4_write_a_scale_that_is_not_a_number() -> None:
    for edge in EDGES:
        assert kernels.scales_are_finite(kernels.encode(edge(), "NVFP4"), "NVFP4")


def test_a_block_of_weights_just_above_the_subnormals_has_no_valid_mxfp4_scale() -> None:
    data = kernels.encode(np.full((1, 32), 2.0**-126, np.float32), "MXFP4")
    assert data[0, 0] == 255
    assert not kernels.scales_are_finite(data, "MXFP4")
