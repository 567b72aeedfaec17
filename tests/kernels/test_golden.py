"""Hashes of encoded weights, so that the bytes stay what they are even if the oracle changes.

`python -m tests.kernels.test_golden` prints the file anew.
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

OLDER = ["Q8_0", "Q4_0", "Q4_1", "Q3_K", "Q4_K", "Q6_K", "NVFP4", "TQ1_0", "Q2_0", "Q1_0"]
ROOT = Path(__file__).parents[2]
NAMES = [name for name in kernels.FORMATS if kernels.encodable(name) and not name.startswith("IQ")]
GOLDEN = Path(__file__).parent / "golden" / "encoded.json"


def weights() -> NDArray[np.float32]:
    """Bell-shaped weights, with spikes and a zero stretch, by integer arithmetic alone: the same for every numpy."""
    n = np.arange(64 * 1024, dtype=np.uint64)
    total = np.zeros(n.shape, np.int64)
    for salt in range(4):
        mixed = (n * np.uint64(4) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        total += (mixed >> np.uint64(44)).astype(np.int64) - (1 << 19)
    total[::509] *= 16
    total[4096:4400] = 0
    return (total.astype(np.float32) * np.float32(2.0**-26)).reshape(64, 1024)


def hashes() -> dict[str, str]:
    x = weights()
    encoded = {name: kernels.encode(x, name, backend="reference") for name in NAMES}
    return {name: hashlib.sha256(data.tobytes()).hexdigest() for name, data in encoded.items()}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_are_still_what_they_were(name: str, backend: str) -> None:
    data = kernels.encode(weights(), name, backend=backend)
    assert hashlib.sha256(data.tobytes()).hexdigest() == json.loads(GOLDEN.read_text())[name]


def hashes_on(instructions: str, home: Path) -> dict[str, str]:
    """Hashes by lanes compiled for an older x86-64, in a process of its own."""
    code = f"""
import hashlib, json
import kernels
from kernels.cpu import lanes
from tests.kernels.test_golden import weights
assert lanes.WIDE == 16
hashes = {{n: hashlib.sha256(kernels.encode(weights(), n, backend="cpu")).hexdigest() for n in {OLDER!r}}}
print(json.dumps(hashes))
"""
    cpu = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": instructions, "NUMBA_CACHE_DIR": str(home)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | cpu, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    return json.loads(run.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86-64 instruction sets")
@pytest.mark.parametrize("instructions", ["+avx2,+avx,+sse4.2,+sse4.1,+ssse3,+sse3", "+sse2"], ids=["AVX2", "SSE2"])
def test_narrower_lanes_give_the_same_bytes(instructions: str, tmp_path: Path) -> None:
    expected = json.loads(GOLDEN.read_text())
    assert hashes_on(instructions, tmp_path) == {name: expected[name] for name in OLDER}


if __name__ == "__main__":
    print(json.dumps(hashes(), indent=1))
