"""Every encoder gives GGML's bytes, from every backend, whatever the weights and however they are cut."""

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from tests.kernels import inputs, oracle

# The I-quants have tests of their own: GGML ends the process on some of these inputs.
ENCODABLE = [name for name in kernels.FORMATS if kernels.encodable(name) and not name.startswith("IQ")]
BACKENDS = [(name, backend) for name in ENCODABLE for backend in kernels.backends(name)]


def assert_same_blocks(actual: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    rows = np.flatnonzero((actual != expected).any(axis=1))
    assert {inputs.case_of_row(row) for row in rows} == set()


def test_nineteen_formats_have_a_reference_and_lanes() -> None:
    assert len(ENCODABLE) == 19
    assert all(kernels.backends(name) == ("cpu", "reference") for name in ENCODABLE)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_bytes_are_those_of_ggml(name: str, backend: str, dtype: str) -> None:
    source, values = inputs.as_source(inputs.all_weights(), dtype)
    assert_same_blocks(kernels.encode(source, name, backend=backend), oracle.quantize(values, name))


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_ordinary_weights_in_quantity_are_those_of_ggml(name: str, backend: str) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_t(4, (64, 2048)).astype(np.float32) * np.float32(0.02)
    assert np.array_equal(kernels.encode(x, name, backend=backend), oracle.quantize(x, name))


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_any_split_of_the_rows_gives_the_same_bytes(name: str, backend: str) -> None:
    x = inputs.all_weights()[:41]
    whole = kernels.encode(x, name, backend=backend)
    for cuts in ([1, 2, 4, 7, 20], [3, 40]):
        parts = [kernels.encode(part, name, backend=backend) for part in np.split(x, cuts)]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", ENCODABLE)
@pytest.mark.parametrize("blocks", [1, 2, 3, 5, 17])
def test_an_odd_number_of_blocks_fills_exactly_its_bytes(name: str, blocks: int) -> None:
    layout = kernels.FORMATS[name]
    x = inputs.weights("normal").reshape(1, -1)[:, : blocks * layout.block_size].copy()
    room = np.full(layout.row_bytes(x.shape[1]) + 64, 0xA5, np.uint8)
    out = room[32:-32].reshape(1, -1)
    assert kernels.encode(x, name, backend="cpu", out=out) is out
    assert np.array_equal(out, oracle.quantize(x, name))
    assert (room[:32] == 0xA5).all()
    assert (room[-32:] == 0xA5).all()


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_no_byte_of_the_output_depends_on_what_was_there(name: str, backend: str) -> None:
    x = inputs.all_weights()
    clean = kernels.encode(x, name, backend=backend)
    poisoned = np.full_like(clean, 0xFF)
    kernels.encode(x, name, backend=backend, out=poisoned)
    assert np.array_equal(poisoned, clean)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_a_non_finite_weight_is_refused_with_its_place(name: str, backend: str, dtype: str, bad: float) -> None:
    x = inputs.weights("normal")
    x[2, 777] = x[3, 5] = bad
    source, _ = inputs.as_source(x, dtype)
    if dtype == "f16":
        source[2, 777] = source[3, 5] = bad
    with pytest.raises(kernels.NonFinite) as caught:
        kernels.encode(source, name, backend=backend)
    assert (caught.value.row, caught.value.column) == (2, 777)


@pytest.mark.parametrize("position", [0, 15, 31, 255, 256, 1023])
@pytest.mark.parametrize("name", ENCODABLE)
def test_a_non_finite_weight_is_found_anywhere(name: str, position: int) -> None:
    x = inputs.weights("normal")[:1]
    x[0, position] = np.inf
    with pytest.raises(kernels.NonFinite, match=f"row 0, column {position} "):
        kernels.encode(x, name, backend="cpu")
