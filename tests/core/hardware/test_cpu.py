"""core.hardware.cpu and instructions on processors of other people."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.hardware.cpu import read_cpu, usable_cores
from core.hardware.instructions import read_instructions
from core.hardware.system import System

X86 = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C
flags\t\t: fpu sse4_2 fma avx f16c avx2 bmi2 avx512f avx512bw avx512vbmi avx512_vnni avx512_bf16 amx_bf16 amx_int8

processor\t: 1
model name\t: another
"""
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd asimdhp asimddp sve i8mm bf16\n"


def instructions(text: str) -> tuple[str, ...]:
    return read_instructions(text, kind="linux", sysctl=lambda _: "")


def with_cpuinfo(root: Path, text: str) -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(text)
    return root


def test_the_name_and_the_sets_come_from_the_first_processor(tmp_path: Path) -> None:
    cpu = read_cpu(System(root=with_cpuinfo(tmp_path, X86)))
    assert cpu.name == "Intel(R) Xeon(R) Platinum 8481C"
    assert {"SSE4.2", "AVX2", "FMA", "F16C", "AVX512F", "AVX512_VNNI", "AVX512_BF16", "AMX_INT8"} <= {*cpu.instructions}


def test_a_set_that_the_processor_lacks_is_not_named() -> None:
    assert instructions("flags : sse4_2 avx\n") == ("SSE4.2", "AVX")


def test_an_arm_processor_has_its_own_names() -> None:
    assert instructions(ARM) == ("NEON", "FP16", "DOTPROD", "I8MM", "BF16", "SVE")


@pytest.mark.parametrize("text", ["flags", ":", "flags:\n\x00", "Features :"])
def test_broken_text_names_no_set(text: str) -> None:
    assert instructions(text) == ()


def test_a_machine_that_says_nothing_still_has_a_processor(tmp_path: Path) -> None:
    cpu = read_cpu(System(root=tmp_path))
    assert cpu.name
    assert cpu.logical_cores >= cpu.physical_cores >= 1


def test_a_quota_below_the_cores_is_what_is_usable(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpu\n")
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    assert usable_cores(root=tmp_path) == 0.5
