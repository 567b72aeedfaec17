"""The effort "best": less error than GGML by GGML's own measure, in no block more, and the same bytes everywhere.

`python -m tests.kernels.best.test_best` prints the measured table anew.
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
from tests.kernels import inputs, oracle
from tests.kernels.best.weights import SOURCES, errors, importance, weights

ROOT = Path(__file__).parents[3]
# The grid formats have a file of their own: GGML itself does not survive all weights that these tests have.
GRIDS = ("IQ1", "IQ2", "IQ3")
FORMATS = [name for name in kernels.FORMATS if best.improvable(name) and not name.startswith(GRIDS)]
QUICK = ("Q8_0",)
# Each search takes seconds to compile on a machine that has not seen it.
MARKED = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FORMATS]
EVERYWHERE = ["Q4_K", "MXFP4"]  # to be compiled for other instruction sets
KNOWN = pytest.mark.parametrize("known", [False, True], ids=["plain", "importance"])
SLACK = 0.004

# What is left of GGML's error: Gaussian, Student and trained weights, each without and with importance.
MEASURED = {
    "Q4_0": (0.8874, 0.9905, 0.9111, 0.9952, 0.8864, 0.9898),
    "Q5_0": (0.8811, 0.9777, 0.9174, 0.9743, 0.8798, 0.9732),
    "Q4_1": (0.7807, 0.958, 0.785, 0.9581, 0.7746, 0.9559),
    "Q5_1": (0.7653, 0.9283, 0.7643, 0.9316, 0.7641, 0.9249),
    "Q8_0": (0.7488, 0.6093, 0.7785, 0.6409, 0.7481, 0.5966),
    "Q2_K": (0.9555, 0.9461, 0.9512, 0.9328, 0.9584, 0.9421),
    "Q3_K": (0.9661, 0.9892, 0.9824, 0.9946, 0.9702, 0.9921),
    "Q4_K": (0.9534, 0.945, 0.953, 0.9329, 0.9539, 0.9408),
    "Q5_K": (0.8702, 0.8604, 0.8621, 0.8352, 0.8623, 0.8537),
    "Q6_K": (0.9016, 0.8678, 0.8513, 0.8743, 0.8942, 0.8626),
    "IQ4_NL": (0.9257, 0.9212, 0.9175, 0.9418, 0.9166, 0.9201),
    "IQ4_XS": (0.9411, 0.9199, 0.944, 0.9304, 0.9291, 0.9187),
    "TQ1_0": (0.2895, 0.3102, 0.376, 0.455, 0.2939, 0.3086),
    "TQ2_0": (0.2895, 0.3102, 0.376, 0.455, 0.2939, 0.3086),
    "MXFP4": (0.9528, 0.8633, 0.9353, 0.8307, 0.9338, 0.8559),
    "NVFP4": (0.7465, 0.5713, 0.8029, 0.6165, 0.7282, 0.5534),
    "Q1_0": (1.0, 0.9159, 1.0, 0.9083, 1.0, 0.9185),
    "Q2_0": (0.2402, 0.2282, 0.2989, 0.2783, 0.2421, 0.2207),
}


def encode_best(
    x: NDArray[np.generic], values: NDArray[np.float32], name: str, *, known: bool, backend: str = "cpu"
) -> NDArray[np.uint8]:
    """GGML's bytes, improved."""
    vector = importance(values.shape[1]) if known else None
    data = oracle.quantize(values, name, vector)
    best.improve(x, data, kernels.FORMATS[name], importance=vector, backend=backend)
    return data


def compare(x: NDArray[np.float32], name: str, *, known: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The error of every block, ours and GGML's."""
    vector = importance(x.shape[1]) if known else None
    ours = errors(encode_best(x, x, name, known=known), x, name, vector)
    return ours, errors(oracle.quantize(x, name, vector), x, name, vector)


@KNOWN
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", MARKED)
def test_the_error_is_what_was_measured_and_no_block_is_worse(name: str, source: str, known: bool) -> None:
    ours, theirs = compare(weights(source), name, known=known)
    expected = MEASURED[name][2 * list(SOURCES).index(source) + known]
    assert ours.sum() / theirs.sum() < expected + SLACK
    assert (ours <= theirs * (1 + 1e-6)).all()


@KNOWN
@pytest.mark.parametrize("name", MARKED)
def test_adversarial_weights_are_never_worse(name: str, known: bool) -> None:
    with np.errstate(all="ignore"):
        ours, theirs = compare(inputs.all_weights(), name, known=known)
    finite = np.isfinite(theirs)
    assert np.isfinite(ours[finite]).all()
    worse = finite & (ours > theirs * (1 + 1e-6))
    # Below these the weights of errors lose bits or vanish in float32.
    assert (theirs[worse] < 1e-30).all()


@KNOWN
@pytest.mark.parametrize("name", MARKED)
def test_lanes_and_reference_give_the_same_bytes(name: str, known: bool) -> None:
    x = np.concatenate([inputs.all_weights(), weights("student")[:8].reshape(-1, inputs.COLUMNS)])
    lanes, reference = (encode_best(x, x, name, known=known, backend=backend) for backend in ("cpu", "reference"))
    assert np.flatnonzero((lanes != reference).any(axis=1)).tolist() == []


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("name", [pytest.param("Q4_K", marks=pytest.mark.slow), "Q8_0"])
def test_16_bit_weights_are_searched_as_their_values(name: str, dtype: str) -> None:
    source, values = inputs.as_source(weights("student")[:4], dtype)
    assert np.array_equal(encode_best(source, values, name, known=True), encode_best(values, values, name, known=True))


@KNOWN
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", MARKED)
def test_any_split_of_the_rows_gives_the_same_bytes(name: str, backend: str, known: bool) -> None:
    x = inputs.all_weights()[:23]
    whole = encode_best(x, x, name, known=known, backend=backend)
    parts = [encode_best(part, part, name, known=known, backend=backend) for part in np.split(x, [1, 2, 4, 7, 20])]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", MARKED)
@pytest.mark.parametrize("blocks", [1, 3, 17])
def test_an_odd_number_of_blocks_changes_nothing_beside_them(name: str, blocks: int) -> None:
    layout = kernels.FORMATS[name]
    x = weights("gaussian").reshape(1, -1)[:, : blocks * layout.block_size].copy()
    room = np.full(layout.row_bytes(x.shape[1]) + 64, 0xA5, np.uint8)
    data = room[32:-32].reshape(1, -1)
    data[:] = oracle.quantize(x, name, importance(x.shape[1]))
    best.improve(x, data, layout, importance=importance(x.shape[1]))
    assert np.array_equal(data, encode_best(x, x, name, known=True, backend="reference"))
    assert (room[:32] == 0xA5).all()
    assert (room[-32:] == 0xA5).all()


@pytest.mark.parametrize("name", MARKED)
def test_columns_without_importance_cost_nothing(name: str) -> None:
    x, vector = weights("student")[:4].copy(), importance(2048)
    vector[::2] = 0
    data = oracle.quantize(x, name, vector)
    exact = errors(data, x, name, vector)
    best.improve(x, data, kernels.FORMATS[name], importance=vector)
    assert (errors(data, x, name, vector) <= exact * (1 + 1e-6)).all()


@pytest.mark.slow
def test_scales_that_overflow_are_left_to_be_found() -> None:
    x = inputs.weights("normal") * np.float32(1e10)
    for name in ("Q8_0", "Q4_K", "Q6_K"):
        assert not kernels.scales_are_finite(encode_best(x, x, name, known=False), name)


@pytest.mark.parametrize("backend", ["auto", "cpu", "reference"])
def test_the_effort_is_an_option_of_encode(backend: str) -> None:
    x, vector = weights("student")[:2], importance(2048)
    exact = kernels.encode(x, "Q8_0", importance=vector, backend=backend, effort="exact")
    assert np.array_equal(exact, kernels.encode(x, "Q8_0", importance=vector))
    out = np.empty_like(exact)
    assert kernels.encode(x, "Q8_0", importance=vector, backend=backend, effort="best", out=out) is out
    assert np.array_equal(out, encode_best(x, x, "Q8_0", known=True))


def test_a_format_without_a_search_is_encoded_as_ever() -> None:
    x = weights("student")[:2]
    assert np.array_equal(kernels.encode(x, "F16", effort="best"), kernels.encode(x, "F16"))
    assert kernels.encode(x[:0], "Q8_0", effort="best").shape == (0, 2176)


def test_an_unknown_effort_is_refused() -> None:
    with pytest.raises(ValueError, match="no effort 'better'"):
        kernels.encode(weights("student")[:1], "Q4_K", effort="better")


def test_a_non_finite_weight_is_refused_before_the_search() -> None:
    x = weights("student")[:2].copy()
    x[1, 5] = np.nan
    with pytest.raises(kernels.NonFinite, match="row 1, column 5"):
        kernels.encode(x, "Q4_K", effort="best")


def hashes() -> dict[str, str]:
    """Of the bytes of ordinary and adversarial weights, by lanes."""
    x = np.concatenate([weights("student")[:4].reshape(-1, 1024), inputs.weights("spikes")])
    data = {name: encode_best(x, x, name, known=True).tobytes() for name in EVERYWHERE}
    return {name: hashlib.sha256(packed).hexdigest() for name, packed in data.items()}


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86-64 instruction sets")
@pytest.mark.parametrize("instructions", ["+avx2,+avx,+sse4.2,+sse4.1,+ssse3,+sse3", "+sse2"], ids=["AVX2", "SSE2"])
def test_narrower_lanes_give_the_same_bytes(instructions: str, tmp_path: Path) -> None:
    code = "import json; from tests.kernels.best.test_best import hashes; print(json.dumps(hashes()))"
    cpu = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": instructions, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, env=os.environ | cpu, capture_output=True, text=True
    )
    assert run.stderr == ""
    assert json.loads(run.stdout) == hashes()


if __name__ == "__main__":
    for name in FORMATS:
        pairs = [compare(weights(source), name, known=known) for source in SOURCES for known in (False, True)]
        print(f'    "{name}": {tuple(round(float(a.sum() / b.sum()), 4) for a, b in pairs)},', flush=True)
