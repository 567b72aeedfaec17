"""The I-quants' reference gives GGML's bytes, with and without an importance matrix, and GGML's values back.

`python -m tests.kernels.test_i_quants` prints the golden file anew.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.codebooks import grid, parity_signs
from kernels.formats import FORMATS
from kernels.reference import i_quants
from tests.kernels import inputs, oracle
from tests.kernels.test_golden import weights

GOLDEN = Path(__file__).parent / "golden" / "i_quants.json"
# GGML ends the process on weights whose squares overflow, except in IQ4 and IQ1.
TOO_LARGE = {"scale 1e30", "scale 1e36", "subnormals beside the largest", "all magnitudes"}
# GGML sorts all distances of 43692 keys before it encodes the first weight of a grid of eight: seconds, or many.
SLOW = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S"}
IMPORTANCE = np.random.default_rng(1).lognormal(size=inputs.COLUMNS).astype(np.float32)


def our_bytes(x: NDArray[np.float32], name: str, importance: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """The reference's bytes of rows."""
    size = FORMATS[name].block_size
    blocks = x.reshape(-1, size)
    with np.errstate(all="ignore"):
        if importance is None:
            packed = i_quants.ENCODERS[name](blocks)
        else:
            columns = np.broadcast_to(importance, x.shape).reshape(-1, size)
            packed = i_quants.WEIGHTED_ENCODERS[name](blocks, columns, np.zeros(len(blocks), np.float32))
    return packed.reshape(len(x), -1)


def rows_for(name: str) -> tuple[NDArray[np.float32], list[str]]:
    """Rows that GGML can encode, and the case of each."""
    cases = [case for case in inputs.CASES if name[:3] in ("IQ1", "IQ4") or case not in TOO_LARGE]
    return np.concatenate([inputs.weights(case) for case in cases]), [case for case in cases for _ in range(4)]


def assert_same_rows(name: str, importance: NDArray[np.float32] | None) -> None:
    x, cases = rows_for(name)
    theirs = oracle.quantize(x, name, importance)
    different = (our_bytes(x, name, importance) != theirs).any(axis=1)
    assert {cases[row] for row in np.flatnonzero(different)} == set()


def marked(names: object) -> list[object]:
    """Names as test parameters, those that GGML is slow to begin with marked as slow."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


@pytest.mark.parametrize("name", i_quants.DECODERS)
def test_values_of_random_bytes_are_those_of_ggml(name: str) -> None:
    data = np.random.default_rng(3).integers(0, 256, (512, FORMATS[name].block_bytes), np.uint8)
    with np.errstate(all="ignore"):
        ours, theirs = i_quants.DECODERS[name](data), oracle.dequantize(data, name)
    assert ours.dtype == np.float32
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    number = ~np.isnan(ours)
    assert np.array_equal(ours.view(np.uint32)[number], theirs.view(np.uint32)[number])


@pytest.mark.parametrize("name", marked(i_quants.ENCODERS))
def test_bytes_are_those_of_ggml(name: str) -> None:
    assert_same_rows(name, None)


@pytest.mark.parametrize("name", marked(i_quants.WEIGHTED_ENCODERS))
def test_bytes_by_importance_are_those_of_ggml(name: str) -> None:
    assert_same_rows(name, IMPORTANCE)


@pytest.mark.parametrize("name", marked(i_quants.WEIGHTED_ENCODERS))
def test_columns_without_importance_do_no_harm(name: str) -> None:
    importance = IMPORTANCE.copy()
    importance[:300] = importance[400::3] = 0
    assert_same_rows(name, importance)


def hashes(name: str) -> list[str | None]:
    """What the reference makes of deterministic weights: without importance, if it can, and with it."""
    x = weights()[:16]
    importance = (np.arange(x.shape[1]) % 7 + 1).astype(np.float32)
    cases = [None, importance] if name in i_quants.ENCODERS else [importance]
    return [hashlib.sha256(our_bytes(x, name, case)).hexdigest() for case in cases]


@pytest.mark.parametrize("name", i_quants.WEIGHTED_ENCODERS)
def test_the_bytes_are_still_what_they_were(name: str) -> None:
    assert hashes(name) == json.loads(GOLDEN.read_text())[name]


@pytest.mark.parametrize("name", i_quants.WEIGHTED_ENCODERS)
def test_weights_whose_squares_overflow_are_encoded_all_the_same(name: str) -> None:
    x = np.concatenate([inputs.weights(case) for case in sorted(TOO_LARGE)])
    assert np.array_equal(our_bytes(x, name, IMPORTANCE), our_bytes(x.copy(), name, IMPORTANCE.copy()))


@pytest.mark.parametrize("name", ["IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"])
def test_neighbours_are_the_nearest_words(name: str) -> None:
    words = grid(name)
    key = next(key for key in range(700, 4000) if words.neighbours.counts[key])
    codes = (key >> (words.bits * np.arange(words.dims))) & ((1 << words.bits) - 1)
    distances = ((words.codes.astype(int) - codes) ** 2).sum(axis=1)
    start, count = words.neighbours.starts[key], words.neighbours.counts[key]
    found = words.neighbours.words[start : start + count]
    assert found.tolist() == sorted(found, key=lambda word: (distances[word], word))
    assert set(found) == set(np.flatnonzero(distances <= sorted(set(distances))[words.shells - 1]))


def test_signs_of_eight_weights_are_even_in_number() -> None:
    assert [bin(signs).count("1") % 2 for signs in parity_signs()] == [0] * 128


if __name__ == "__main__":
    print(json.dumps({name: hashes(name) for name in i_quants.WEIGHTED_ENCODERS}, indent=1))
