"""Encoding with an importance vector: GGML's bytes, from every backend, whatever the weights and the importance."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from kernels import cpu, reference
from tests.kernels import inputs, oracle

COLUMNS = inputs.COLUMNS
WEIGHTED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
UNWEIGHTED = ["F32", "F16", "BF16", "Q8_0"]
BACKENDS = [(name, backend) for name in WEIGHTED for backend in kernels.backends(name, importance=True)]


def _zeros_in_places(rng: np.random.Generator) -> NDArray[np.float64]:
    vector = rng.lognormal(0, 1, COLUMNS) * (rng.random(COLUMNS) > 0.3)
    vector[256:512] = vector[32:64] = 0
    return vector


IMPORTANCE = {
    "ones": lambda rng: np.ones(COLUMNS),
    "lognormal": lambda rng: rng.lognormal(0, 1.5, COLUMNS),
    "zeros in places": _zeros_in_places,
    "all zeros": lambda rng: np.zeros(COLUMNS),
    "a huge spread": lambda rng: 10 ** rng.uniform(-10, 10, COLUMNS),
    "so large that sums overflow": lambda rng: np.full(COLUMNS, 1e38),
    "so far apart that some sums overflow": lambda rng: 10 ** rng.uniform(-45, 38, COLUMNS),
    "subnormal": lambda rng: np.full(COLUMNS, 1e-42),
}
QUICK = ("lognormal", "zeros in places", "so far apart that some sums overflow")
MARKED = [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in IMPORTANCE]


def importance(case: str) -> NDArray[np.float32]:
    return np.ascontiguousarray(IMPORTANCE[case](np.random.default_rng(5)), np.float32)


def assert_same_bytes(name: str, backend: str, dtype: str, case: str) -> None:
    source, values = inputs.as_source(inputs.all_weights(), dtype)
    vector = importance(case)
    packed = np.full((len(source), kernels.FORMATS[name].row_bytes(COLUMNS)), 0xA5, np.uint8)
    kernels.encode(source, name, importance=vector, backend=backend, out=packed)
    rows = np.flatnonzero((packed != oracle.quantize(values, name, vector)).any(axis=1))
    assert {inputs.case_of_row(row) for row in rows} == set()


@pytest.mark.parametrize("case", MARKED)
@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_bytes_are_those_of_ggml(name: str, backend: str, case: str) -> None:
    assert_same_bytes(name, backend, "f32", case)


@pytest.mark.parametrize(("name", "dtype"), [("Q4_0", "f16"), ("Q5_1", "bf16"), ("Q4_K", "bf16"), ("Q6_K", "f16")])
def test_bytes_of_16_bit_weights_are_those_of_ggml(name: str, dtype: str) -> None:
    for backend in kernels.backends(name, importance=True):
        assert_same_bytes(name, backend, dtype, "zeros in places")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_bytes_of_all_16_bit_weights_are_those_of_ggml(name: str, backend: str, dtype: str) -> None:
    for case in IMPORTANCE:
        assert_same_bytes(name, backend, dtype, case)


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_ordinary_weights_in_quantity_are_those_of_ggml(name: str, backend: str) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_t(4, (64, 2048)).astype(np.float32) * np.float32(0.02)
    vector = rng.lognormal(0, 1, 2048).astype(np.float32)
    assert np.array_equal(kernels.encode(x, name, importance=vector, backend=backend), oracle.quantize(x, name, vector))


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_any_split_of_the_rows_gives_the_same_bytes(name: str, backend: str) -> None:
    x, vector = inputs.all_weights()[:41], importance("lognormal")
    whole = kernels.encode(x, name, importance=vector, backend=backend)
    for cuts in ([1, 2, 4, 7, 20], [3, 40]):
        parts = [kernels.encode(part, name, importance=vector, backend=backend) for part in np.split(x, cuts)]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
@pytest.mark.parametrize("blocks", [1, 2, 3, 5, 17])
def test_an_odd_number_of_blocks_fills_exactly_its_bytes(name: str, backend: str, blocks: int) -> None:
    layout = kernels.FORMATS[name]
    x = np.resize(inputs.weights("heavy tails"), (3, blocks * layout.block_size))
    vector = np.resize(importance("lognormal"), x.shape[1])
    room = np.full(3 * layout.row_bytes(x.shape[1]) + 64, 0xA5, np.uint8)
    kernels.encode(x, name, importance=vector, backend=backend, out=room[32:-32].reshape(3, -1))
    assert np.array_equal(room[32:-32].reshape(3, -1), oracle.quantize(x, name, vector))
    assert (room[:32] == 0xA5).all()
    assert (room[-32:] == 0xA5).all()


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
@pytest.mark.parametrize("position", [(0, 0), (2, 777), (3, 1023)])
def test_a_non_finite_weight_is_refused_with_its_place(name: str, backend: str, position: tuple[int, int]) -> None:
    x = inputs.weights("normal")
    x[position] = np.inf
    with pytest.raises(kernels.NonFinite) as caught:
        kernels.encode(x, name, importance=importance("lognormal"), backend=backend)
    assert (caught.value.row, caught.value.column) == position


@pytest.mark.parametrize("name", UNWEIGHTED)
def test_formats_without_a_weighted_search_ignore_the_importance(name: str) -> None:
    x = inputs.weights("normal")
    assert name not in reference.WEIGHTED_ENCODERS
    assert kernels.backends(name, importance=True) == kernels.backends(name)
    for backend in kernels.backends(name):
        ours = kernels.encode(x, name, importance=importance("lognormal"), backend=backend)
        assert np.array_equal(ours, kernels.encode(x, name, backend=backend))


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        (np.ones(255, np.float32), r"float32 of shape \(256,\), not float32 of shape \(255,\)"),
        (np.ones((1, 256), np.float32), r"not float32 of shape \(1, 256\)"),
        (np.ones(256), "not float64"),
        (np.ones(512, np.float32)[::2], "must be C-contiguous"),
        (np.float32([1] * 7 + [-1] + [1] * 248), "the importance of column 7 is -1.0, not a number from 0 up"),
        (np.float32([1] * 9 + [np.nan] + [1] * 246), "the importance of column 9 is nan"),
        (np.float32([1] * 255 + [np.inf]), "the importance of column 255 is inf"),
    ],
    ids=["columns", "matrix", "float64", "strided", "negative", "not a number", "infinite"],
)
@pytest.mark.parametrize("name", ["Q4_K", "Q8_0"])
def test_an_importance_of_a_wrong_kind_is_refused(name: str, vector: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        kernels.encode(np.zeros((1, 256), np.float32), name, importance=vector)


def test_nine_formats_have_a_weighted_search_in_reference_and_lanes() -> None:
    assert all(kernels.backends(name, importance=True) == ("cpu", "reference") for name in WEIGHTED)


def test_the_importance_makes_a_difference() -> None:
    x = inputs.weights("normal")
    for name in WEIGHTED:
        plain, ones, spread = (
            kernels.encode(x, name, importance=vector, backend="reference")
            for vector in (None, importance("ones"), importance("lognormal"))
        )
        assert not np.array_equal(plain, ones)
        assert not np.array_equal(ones, spread)


def test_a_format_that_needs_importance_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "ENCODERS", {})
    monkeypatch.setattr(cpu, "KERNELS", {})
    assert not kernels.encodable("Q4_K")
    assert kernels.encodable("Q4_K", importance=True)
    with pytest.raises(kernels.UnsupportedFormat, match="Q4_K cannot be encoded without an importance matrix"):
        kernels.encode(np.zeros((1, 256), np.float32), "Q4_K")


def test_kernels_with_importance_are_prepared_on_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cpu.cache, "folder", lambda: tmp_path)
    assert not kernels.is_prepared(["Q4_0"], np.float32, importance=True)
    kernels.prepare(["Q4_0"], np.float32, importance=True)
    assert kernels.is_prepared(["Q4_0"], np.float32, importance=True)
    assert not kernels.is_prepared(["Q4_0"], np.float32)


def test_kernels_without_a_weighted_search_are_prepared_but_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cpu.cache, "folder", lambda: tmp_path)
    kernels.prepare(["Q8_0"], np.float32, importance=True)
    assert kernels.is_prepared(["Q8_0"], np.float32)


def test_the_search_of_the_effort_best_is_prepared_for_all_inputs_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cpu.cache, "folder", lambda: tmp_path)
    kernels.prepare(["Q8_0"], np.float32)
    assert not kernels.is_prepared(["Q8_0"], np.float32, effort="best")
    kernels.prepare(["Q8_0"], np.float32, effort="best")
    assert kernels.is_prepared(["Q8_0"], np.float32, importance=True, effort="best")
    compiled = cpu.load("blocks", "q8_0", package="kernels.best.cpu").signatures
    x = np.ones((2, 256), np.uint16)
    for vector in (None, np.ones(256, np.float32)):
        kernels.encode(x, "Q8_0", importance=vector, effort="best")
    assert cpu.load("blocks", "q8_0", package="kernels.best.cpu").signatures == compiled


def test_the_effort_best_makes_no_format_that_needs_importance_without_it() -> None:
    with pytest.raises(kernels.UnsupportedFormat, match="cannot be encoded without"):
        kernels.encode(np.zeros((1, 256), np.float32), "IQ2_XS", effort="best")


def test_no_rows_give_no_bytes() -> None:
    for name, backend in BACKENDS:
        packed = kernels.encode(
            np.zeros((0, 256), np.float32), name, importance=np.ones(256, np.float32), backend=backend
        )
        assert packed.shape == (0, kernels.FORMATS[name].row_bytes(256))
