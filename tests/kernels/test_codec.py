"""The face: what it takes, what it refuses, and that it works from several threads at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import kernels
from tests.kernels import inputs

ROOT = Path(__file__).parents[2]


def test_importing_kernels_imports_neither_numba_nor_torch() -> None:
    code = "import kernels, sys; print([m for m in ('numba', 'llvmlite', 'torch', 'gguf') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_reference_needs_no_numba() -> None:
    code = """
import sys, numpy, kernels
sys.modules["numba"] = None
kernels.encode(numpy.ones((1, 256), numpy.float32), "Q4_K", backend="reference")
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True).returncode == 0


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(kernels.UnsupportedFormat, match="unknown format 'Q9_X'"):
        kernels.encode(np.zeros((1, 32), np.float32), "Q9_X")


def test_a_format_without_encoder_is_refused() -> None:
    assert not kernels.encodable("IQ2_XXS")
    with pytest.raises(kernels.UnsupportedFormat, match="IQ2_XXS cannot be encoded without an importance matrix"):
        kernels.encode(np.zeros((1, 256), np.float32), "IQ2_XXS")


def test_a_missing_backend_is_refused_with_those_that_exist() -> None:
    with pytest.raises(kernels.UnsupportedBackend, match="cpu, reference"):
        kernels.encode(np.zeros((1, 256), np.float32), "Q4_K", backend="abacus")


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros(256, np.float32),
        np.zeros((256, 4), np.float32).T,
        np.zeros((1, 256), np.float64),
        np.zeros((1, 256), np.int16),
        np.zeros((1, 200), np.float32),
    ],
    ids=["one dimension", "strided", "float64", "int16", "columns"],
)
def test_rows_of_a_wrong_kind_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"rows must be|do not divide"):
        kernels.encode(rows, "Q4_K")


@pytest.mark.parametrize(
    "out", [np.zeros((2, 144), np.uint8), np.zeros((1, 144), np.int8), np.zeros((1, 288), np.uint8)[:, ::2]]
)
def test_a_buffer_of_a_wrong_kind_is_refused(out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="out must be"):
        kernels.encode(np.zeros((1, 256), np.float32), "Q4_K", out=out)


def test_packed_rows_of_a_wrong_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        kernels.decode(np.zeros((1, 145), np.uint8), "Q4_K")
    with pytest.raises(ValueError, match="uint8 matrix"):
        kernels.decode(np.zeros(144, np.uint8), "Q4_K")


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_no_rows_give_no_bytes(backend: str) -> None:
    assert kernels.encode(np.zeros((0, 256), np.float32), "Q4_K", backend=backend).shape == (0, 144)
    assert kernels.decode(np.zeros((0, 144), np.uint8), "Q4_K").shape == (0, 256)


def test_an_overflowing_scale_is_stored_as_infinite_and_found() -> None:
    fine = inputs.weights("normal")
    huge = fine * np.float32(1e10)
    for name in ("Q8_0", "Q4_K", "Q6_K", "F16"):
        assert kernels.scales_are_finite(kernels.encode(fine, name), name)
        assert not kernels.scales_are_finite(kernels.encode(huge, name), name)


@pytest.mark.parametrize("field", ["d", "dmin"])
def test_a_single_infinite_scale_is_found(field: str) -> None:
    data = kernels.encode(inputs.weights("normal"), "Q4_K")
    offset = next(f.offset for f in kernels.FORMATS["Q4_K"].fields if f.name == field)
    data[3, -144 + offset : -144 + offset + 2] = np.array([np.inf], np.float16).view(np.uint8)
    assert not kernels.scales_are_finite(data, "Q4_K")


def test_read_only_and_unaligned_rows_need_no_other_kernel() -> None:
    x = inputs.weights("normal")
    expected = kernels.encode(x, "Q8_0", backend="cpu")
    from kernels.cpu import legacy

    compiled = len(legacy.q8_0.signatures)
    frozen = np.frombuffer(x.tobytes(), np.float32).reshape(x.shape)
    crooked = np.frombuffer(b"?" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    assert not frozen.flags.writeable
    assert not crooked.flags.aligned
    assert np.array_equal(kernels.encode(frozen, "Q8_0", backend="cpu"), expected)
    assert np.array_equal(kernels.encode(crooked, "Q8_0", backend="cpu"), expected)
    assert len(legacy.q8_0.signatures) == compiled
    assert x.flags.writeable


def test_other_python_threads_run_while_a_kernel_works() -> None:
    x = np.ones((1024, 4096), np.float32)
    kernels.prepare(["Q4_K"], x.dtype)
    turns = 0
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(kernels.encode, x, "Q4_K")
        while not working.done():
            turns += 1
    assert turns > 100


def test_threads_encode_at_the_same_time() -> None:
    x = inputs.all_weights()
    names = ["Q4_K", "Q6_K", "Q8_0", "Q4_0"]
    expected = {name: kernels.encode(x, name, backend="reference") for name in names}
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: (names[i % 4], kernels.encode(x, names[i % 4])), range(64)))
    assert all(np.array_equal(result, expected[name]) for name, result in results)
