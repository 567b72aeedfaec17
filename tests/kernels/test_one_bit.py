"""Q1_0: signs, and a mean whose order of additions counts."""

import numpy as np
import pytest

import kernels
from tests.kernels import inputs, oracle

BACKENDS = ["cpu", "reference"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mean_that_depends_on_the_order_is_that_of_ggml(backend: str) -> None:
    rng = np.random.default_rng(1)
    x = (np.exp2(rng.uniform(-16, 8, (64, 1280))) * rng.choice([-1, 1], (64, 1280))).astype(np.float32)
    assert np.array_equal(kernels.encode(x, "Q1_0", backend=backend), oracle.quantize(x, "Q1_0"))
    assert not np.array_equal(kernels.encode(x[:, ::-1].copy(), "Q1_0")[:, ::-18], kernels.encode(x, "Q1_0")[:, ::18])


def test_ggml_ignores_the_importance_matrix() -> None:
    x = inputs.weights("heavy tails")
    importance = np.linspace(0.1, 9, inputs.COLUMNS).astype(np.float32)
    assert np.array_equal(kernels.encode(x, "Q1_0"), oracle.quantize(x, "Q1_0", importance))


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_levels_survive(backend: str) -> None:
    x = np.random.default_rng(2).choice([-0.25, 0.25], (64, 512)).astype(np.float32)
    assert np.array_equal(kernels.decode(kernels.encode(x, "Q1_0", backend=backend), "Q1_0"), x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_zeros_of_both_signs_count_as_positive(backend: str) -> None:
    x = np.full((1, 128), -0.0, np.float32)
    x[0, 0], x[0, 1] = -128, 0
    data = kernels.encode(x, "Q1_0", backend=backend)
    assert kernels.decode(data, "Q1_0")[0, :3].tolist() == [-1, 1, 1]
