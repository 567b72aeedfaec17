"""Every kernel compiles for NVIDIA and AMD GPUs, without the instructions that would change the bytes."""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kernels import gpu
from tests.kernels.gpu.compiled import TARGETS, spoiling

ROOT = Path(__file__).parents[3]
PAIRS = [f"{name}:{target}" for name in gpu.KERNELS for target in TARGETS]
SEARCHES = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")  # seconds each
SLOW = [pair for pair in PAIRS if pair.startswith(SEARCHES) or not pair.endswith("sm_90")]
QUICK = [pair for pair in PAIRS if pair not in SLOW]


@functools.cache
def compiled(*pairs: str) -> dict[str, dict]:
    """The results of formats and targets, all compiled anew."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.gpu.compiled", *pairs]
    with tempfile.TemporaryDirectory() as cache:
        environment["TRITON_CACHE_DIR"] = cache
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def assert_exact(result: dict) -> None:
    assert result["spoiling"] == []
    assert result["bytes"] > 1000


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("pair", QUICK)
def test_a_kernel_compiles_without_fused_or_approximate_arithmetic(pair: str) -> None:
    assert_exact(compiled(*QUICK)[pair])


@pytest.mark.slow
@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("pair", SLOW)
def test_searches_and_other_gpus_are_compiled_alike(pair: str) -> None:
    assert_exact(compiled(*SLOW)[pair])


@pytest.mark.parametrize(
    "line",
    [
        "fma.rn.f32 \t%r1, %r2, %r3, %r4;",
        "div.full.f32 %r1, %r2, %r3;",
        "div.approx.f32 %r1, %r2, %r3;",
        "mul.ftz.f32 %r1, %r2, %r3;",
        "%1 = fmul contract float %2, %3",
        "%1 = fdiv nnan arcp float %2, %3",
        "%1 = call float @llvm.fmuladd.f32(float %2, float %3, float %4)",
        "%1 = fdiv float %2, %3, !fpmath !5",
        "v_fma_f32 v1, v2, v3, v4",
        "v_fmac_f32_e32 v1, v2, v3",
    ],
)
def test_what_would_change_the_bytes_is_found(line: str) -> None:
    assert spoiling(llvm=line, ptx=line, amdgcn=line) != []


def test_exact_arithmetic_is_let_through() -> None:
    lines = "div.rn.f32 %r1, %r2, %r3;\nmul.rn.f32 %r1, %r2, %r3;\n%1 = fmul nnan float %2, %3\n%4 = fdiv float %2, %3"
    division = "v_fma_f32\n" * 3 + "v_fmac_f32_e32\n" * 2 + "v_div_fmas_f32\nv_div_fixup_f32\nv_mul_f32\nv_add_f32"
    assert spoiling(llvm=lines, ptx=lines, amdgcn=division) == []
