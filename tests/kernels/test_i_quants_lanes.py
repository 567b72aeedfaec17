"""The lanes of the I-quants give the reference's bytes, whatever the weights, their dtype and their number."""

import hashlib
import importlib
import json
import os
import platform
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.cpu import cache, i_quants
from kernels.formats import FORMATS
from tests.kernels import inputs
from tests.kernels.test_i_quants import IMPORTANCE, our_bytes

CASES = [(name, False) for name in i_quants.KERNELS] + [(name, True) for name in i_quants.WEIGHTED_KERNELS]
ROOT = Path(__file__).parents[2]
NARROW = ["IQ4_XS", "IQ3_S", "IQ2_XXS", "IQ1_M"]
QUICK = ("IQ4_NL", "IQ4_XS")
# The others take seconds each to compile on a machine that has not seen them.
MARKED = [case if case[0] in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in CASES]
every_kernel = pytest.mark.parametrize(("name", "weighted"), MARKED)


def flat(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows as kernels take them."""
    source = np.array(rows).reshape(-1)
    source = source.view(np.int16) if source.dtype == np.float16 else source
    source.flags.writeable = False
    return source


def lane_bytes(
    rows: NDArray[Any], name: str, importance: NDArray[np.float32] | None, *, parts: int = 1
) -> NDArray[np.uint8]:
    """The lanes' bytes of rows, in a buffer that was not empty before; `parts` calls share the work."""
    module, function = (i_quants.KERNELS if importance is None else i_quants.WEIGHTED_KERNELS)[name]
    with cache.in_use():
        kernel = getattr(importlib.import_module(f"kernels.cpu.{module}"), function)
    layout = FORMATS[name]
    blocks = rows.size // layout.block_size
    out = np.full(blocks * layout.block_bytes + 64, 0xA5, np.uint8)
    sources = (flat(rows),) if importance is None else (flat(rows), flat(importance))
    cuts = np.linspace(0, blocks, parts + 1).astype(int)
    peaks = [kernel(*sources, out[32:-32], first, last) for first, last in pairwise(cuts)]
    magnitudes = np.abs(inputs_as_floats(rows))
    assert max(peaks) == magnitudes.max().view(np.int32)
    assert (out[:32] == 0xA5).all()
    assert (out[-32:] == 0xA5).all()
    return out[32:-32].reshape(len(rows), -1)


def inputs_as_floats(rows: NDArray[Any]) -> NDArray[np.float32]:
    """The values of float32, float16, or uint16 rows that hold bf16 bits."""
    return (rows.astype(np.uint32) << 16).view(np.float32) if rows.dtype == np.uint16 else rows.astype(np.float32)


@every_kernel
def test_bytes_are_those_of_the_reference(name: str, weighted: bool) -> None:
    x, importance = inputs.all_weights(), IMPORTANCE if weighted else None
    different = (lane_bytes(x, name, importance) != our_bytes(x, name, importance)).any(axis=1)
    assert {inputs.case_of_row(row) for row in np.flatnonzero(different)} == set()


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("name", ["IQ4_NL", "IQ2_S"])
def test_16_bit_weights_are_taken_as_they_are(name: str, dtype: str) -> None:
    source, values = inputs.as_source(inputs.all_weights(), dtype)
    assert np.array_equal(lane_bytes(source, name, None), our_bytes(values, name, None))


@every_kernel
@pytest.mark.parametrize("blocks", [1, 2, 3, 5, 17])
def test_an_odd_number_of_blocks_fills_exactly_its_bytes(name: str, weighted: bool, blocks: int) -> None:
    size = blocks * FORMATS[name].block_size
    x = np.tile(inputs.weights("heavy tails").reshape(1, -1), 2)[:, :size].copy()
    importance = np.resize(IMPORTANCE, size) if weighted else None
    assert np.array_equal(lane_bytes(x, name, importance), our_bytes(x, name, importance))


@every_kernel
def test_any_split_of_the_blocks_gives_the_same_bytes(name: str, weighted: bool) -> None:
    x = inputs.weights("outlier channels")
    importance = IMPORTANCE if weighted else None
    whole = lane_bytes(x, name, importance)
    for parts in (2, 5):
        assert np.array_equal(lane_bytes(x, name, importance, parts=parts), whole)


@every_kernel
def test_a_weight_that_is_not_finite_is_reported(name: str, weighted: bool) -> None:
    module, function = (i_quants.WEIGHTED_KERNELS if weighted else i_quants.KERNELS)[name]
    with cache.in_use():
        kernel = getattr(importlib.import_module(f"kernels.cpu.{module}"), function)
    size, bytes_of = FORMATS[name].block_size, FORMATS[name].block_bytes
    for bad in (np.nan, np.inf, -np.inf):
        x = inputs.weights("normal").reshape(-1)[: 8 * size].copy()
        x[-1] = bad
        sources = (flat(x), flat(np.ones(size, np.float32))) if weighted else (flat(x),)
        assert kernel(*sources, np.zeros(8 * bytes_of, np.uint8), 0, 8) >= 0x7F800000


def narrow_hashes() -> dict[str, str]:
    """What these lanes make of one case, by importance."""
    x = inputs.weights("heavy tails")
    return {name: hashlib.sha256(lane_bytes(x, name, IMPORTANCE)).hexdigest() for name in NARROW}


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86-64 instruction sets")
def test_narrower_lanes_give_the_same_bytes(tmp_path: Path) -> None:
    code = """
import json
from kernels.cpu import lanes
from tests.kernels.test_i_quants_lanes import narrow_hashes
assert lanes.WIDE == 16
print(json.dumps(narrow_hashes()))
"""
    features = "+avx2,+avx,+sse4.2,+sse4.1,+ssse3,+sse3"
    cpu = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | cpu, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert json.loads(run.stdout) == narrow_hashes()
