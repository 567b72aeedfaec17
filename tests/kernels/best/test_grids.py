"""The effort "best" for the grid formats: less error than GGML by its own measure, and the same bytes everywhere.

`python -m tests.kernels.best.test_grids` prints the measured table anew. GGML ends the process on some of the weights
that these tests have, so its place takes the effort "exact", which gives its bytes where it gives any.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels
from kernels import best
from kernels.best.halves import halves
from kernels.codebooks import grid
from tests.kernels import inputs
from tests.kernels.best.weights import SOURCES, errors, importance, weights

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

ROOT = Path(__file__).parents[3]
NARROW = ("IQ3_XXS", "IQ1_M")  # to be compiled for an older instruction set
SLACK = 0.004

# What is left of GGML's error, for Gaussian, Student and trained weights, without and with importance.
MEASURED: dict[tuple[str, bool], tuple[float, ...]] = {
    ("IQ2_XXS", True): (0.8745, 0.8994, 0.8743),
    ("IQ2_XS", True): (0.8613, 0.8695, 0.8661),
    ("IQ3_XXS", False): (0.9882, 0.8718, 0.991),
    ("IQ3_XXS", True): (0.8778, 0.8653, 0.8824),
    ("IQ1_S", True): (0.903, 0.9023, 0.9018),
    ("IQ3_S", False): (0.9613, 0.8309, 0.9619),
    ("IQ3_S", True): (0.833, 0.8349, 0.8347),
    ("IQ2_S", False): (0.9655, 0.9384, 0.9648),
    ("IQ2_S", True): (0.8892, 0.9032, 0.8917),
    ("IQ1_M", True): (0.8912, 0.89, 0.8919),
}
# Each search takes seconds to compile on a machine that has not seen it.
MARKED = [pytest.param(*case, marks=pytest.mark.slow) for case in MEASURED]
every_search = pytest.mark.parametrize(("name", "known"), MARKED)


def adversarial() -> F32:
    """Also rows with a zero sub-block between others, which GGML's IQ3_S confuses, and with zeros of any sign."""
    x = np.concatenate([inputs.all_weights(), weights("student")[:4].reshape(-1, inputs.COLUMNS)])
    x[-1, 32:64] = x[-2, 300:301] = 0
    x[-3, 1::2] = 0
    return x


def exact_and_best(x: NDArray[np.generic], name: str, *, known: bool, backend: str = "cpu") -> tuple[U8, U8]:
    """The bytes of either effort."""
    vector = importance(x.shape[1]) if known else None
    exact = kernels.encode(x, name, importance=vector)
    improved = exact.copy()
    best.improve(x, improved, kernels.FORMATS[name], importance=vector, backend=backend)
    return exact, improved


def compare(x: F32, name: str, *, known: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The error of every block, ours and GGML's."""
    vector = importance(x.shape[1]) if known else None
    exact, improved = exact_and_best(x, name, known=known)
    return errors(improved, x, name, vector), errors(exact, x, name, vector)


def left(name: str, source: str, *, known: bool) -> float:
    """Our share of GGML's error."""
    ours, theirs = compare(weights(source), name, known=known)
    return float(ours.sum() / theirs.sum())


def test_every_search_of_a_grid_format_is_tested() -> None:
    grids = [name for name in kernels.FORMATS if name.startswith(("IQ1", "IQ2", "IQ3")) and best.improvable(name)]
    cases = [(name, known) for name in grids for known in (False, True) if kernels.encodable(name, importance=known)]
    assert sorted(MEASURED) == sorted(cases)


@pytest.mark.parametrize("source", SOURCES)
@every_search
def test_the_error_is_what_was_measured(name: str, known: bool, source: str) -> None:
    assert left(name, source, known=known) < MEASURED[name, known][list(SOURCES).index(source)] + SLACK


@every_search
def test_no_block_is_worse(name: str, known: bool) -> None:
    with np.errstate(all="ignore"):
        ours, theirs = compare(adversarial(), name, known=known)
    finite = np.isfinite(theirs)
    assert np.isfinite(ours[finite]).all()
    worse = finite & (ours > theirs * (1 + 1e-6))
    # Below these the weights of errors lose bits or vanish in float32.
    assert (theirs[worse] < 1e-30).all()


@every_search
def test_lanes_and_reference_give_the_same_bytes(name: str, known: bool) -> None:
    x = adversarial()
    lanes, reference = (exact_and_best(x, name, known=known, backend=backend)[1] for backend in ("cpu", "reference"))
    assert np.flatnonzero((lanes != reference).any(axis=1)).tolist() == []


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@every_search
def test_16_bit_weights_are_searched_as_their_values(name: str, known: bool, dtype: str) -> None:
    source, values = inputs.as_source(weights("student")[:4], dtype)
    assert np.array_equal(exact_and_best(source, name, known=known)[1], exact_and_best(values, name, known=known)[1])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@every_search
def test_any_split_of_the_rows_gives_the_same_bytes(name: str, known: bool, backend: str) -> None:
    x = adversarial()[-9:]
    whole = exact_and_best(x, name, known=known, backend=backend)[1]
    parts = [exact_and_best(part, name, known=known, backend=backend)[1] for part in np.split(x, [1, 2, 4, 8])]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("blocks", [1, 3, 5])
@every_search
def test_an_odd_number_of_blocks_changes_nothing_beside_them(name: str, known: bool, blocks: int) -> None:
    layout = kernels.FORMATS[name]
    x = weights("gaussian").reshape(1, -1)[:, : blocks * 256].copy()
    vector = importance(x.shape[1]) if known else None
    room = np.full(layout.row_bytes(x.shape[1]) + 64, 0xA5, np.uint8)
    data = room[32:-32].reshape(1, -1)
    data[:] = kernels.encode(x, name, importance=vector)
    best.improve(x, data, layout, importance=vector)
    assert np.array_equal(data, exact_and_best(x, name, known=known, backend="reference")[1])
    assert (room[:32] == 0xA5).all()
    assert (room[-32:] == 0xA5).all()


@every_search
def test_columns_without_importance_cost_nothing(name: str, known: bool) -> None:
    x, vector = weights("student")[:4], importance(2048)
    vector[::2] = 0
    data = kernels.encode(x, name, importance=vector)
    exact = errors(data, x, name, vector)
    best.improve(x, data, kernels.FORMATS[name], importance=vector)
    assert (errors(data, x, name, vector) <= exact * (1 + 1e-6)).all()


@pytest.mark.slow
def test_a_zero_sub_block_does_not_shift_the_others_of_iq3_s() -> None:
    x = weights("gaussian")[:1].copy()
    x[0, 32:64] = 0
    ours, theirs = compare(x, "IQ3_S", known=True)
    assert ours[0] < 0.1 * theirs[0]
    assert (ours[1:] < theirs[1:]).all()


@pytest.mark.parametrize("name", ["IQ1_S", "IQ2_XXS", "IQ3_S"])
def test_halves_make_up_the_words(name: str) -> None:
    tree, words = halves(name), grid(name)
    count = np.diff(tree.starts)
    keys = tree.keys[np.repeat(tree.firsts, count)] | tree.keys[tree.seconds] << (words.bits * words.dims // 2)
    assert sorted(keys) == sorted(words.keys)


def hashes() -> dict[str, str]:
    """Of the bytes of adversarial weights, by lanes."""
    data = {name: exact_and_best(adversarial(), name, known=True)[1].tobytes() for name in NARROW}
    return {name: hashlib.sha256(packed).hexdigest() for name, packed in data.items()}


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86-64 instruction sets")
def test_narrower_lanes_give_the_same_bytes(tmp_path: Path) -> None:
    code = "import json; from tests.kernels.best.test_grids import hashes; print(json.dumps(hashes()))"
    features = "+avx2,+avx,+sse4.2,+sse4.1,+ssse3,+sse3"
    cpu = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, env=os.environ | cpu, capture_output=True, text=True
    )
    assert run.stderr == ""
    assert json.loads(run.stdout) == hashes()


if __name__ == "__main__":
    for name in [name for name in kernels.FORMATS if name.startswith(("IQ1", "IQ2", "IQ3")) and best.improvable(name)]:
        for known in (False, True):
            if kernels.encodable(name, importance=known):
                values = tuple(round(left(name, source, known=known), 4) for source in SOURCES)
                print(f'    ("{name}", {known}): {values},', flush=True)
