"""Hashes of weights encoded with importance, so that the bytes stay what they are even if the oracle changes.

`python -m tests.kernels.test_importance_golden` prints the file anew.
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
from tests.kernels.test_golden import ROOT, weights

pytestmark = pytest.mark.slow

NAMES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
OLDER = ["Q5_0", "Q4_K"]
GOLDEN = Path(__file__).parent / "golden" / "weighted.json"


def importance() -> NDArray[np.float32]:
    """Numbers over seven orders of magnitude, some of them 0, by exact arithmetic: the same for every numpy."""
    n = np.arange(1024, dtype=np.uint64)
    mixed = ((n + np.uint64(7)) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    vector = np.ldexp(mixed.astype(np.float32), -(n % np.uint64(24)).astype(np.int32) - 12)
    vector[::31] = 0
    return vector


def encoded_hash(name: str, backend: str) -> str:
    data = kernels.encode(weights(), name, importance=importance(), backend=backend)
    return hashlib.sha256(data.tobytes()).hexdigest()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_are_still_what_they_were(name: str, backend: str) -> None:
    assert encoded_hash(name, backend) == json.loads(GOLDEN.read_text())[name]


def hashes_on(instructions: str, home: Path) -> dict[str, str]:
    """Hashes by lanes compiled for an older x86-64, in a process of its own."""
    code = f"""
import json
from kernels.cpu import lanes
from tests.kernels.test_importance_golden import encoded_hash
assert lanes.WIDE == 16
print(json.dumps({{name: encoded_hash(name, "cpu") for name in {OLDER!r}}}))
"""
    cpu = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": instructions, "NUMBA_CACHE_DIR": str(home)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | cpu, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    return json.loads(run.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86-64 instruction sets")
@pytest.mark.parametrize(
    "instructions",
    ["+avx2,+avx,+sse4.2,+sse4.1,+ssse3,+sse3", "+sse2"],
    ids=["AVX2", "SSE2"],
)
def test_narrower_lanes_give_the_same_bytes(instructions: str, tmp_path: Path) -> None:
    expected = json.loads(GOLDEN.read_text())
    assert hashes_on(instructions, tmp_path) == {name: expected[name] for name in OLDER}


if __name__ == "__main__":
    print(json.dumps({name: encoded_hash(name, "reference") for name in NAMES}, indent=1))
