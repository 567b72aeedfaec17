"""The prediction against real loads: tiny models of many families in llama.cpp, and the buffers that its log tells.

The llama.cpp of the tests is a later one than that of the goldens, whose planner the prediction follows to the byte:
for every token it keeps up to four vectors more, or one less, which is all that its buffers differ in.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.checkpoint import open_model
from core.jobs.job import QuantizeJob
from core.memory import Settings, predict, shape_of
from core.plan import make_plan
from core.recipes import find_recipe
from core.running.quantize import run
from tests.core.families.tables import FAMILIES
from tests.core.families.tiny import TinyModel, make_tiny

MIB = 1024**2
QUICK = ("llama-3.2", "gemma3", "qwen3-moe", "mamba2", "lfm2", "deepseek-v2", "qwen3.5-text")
BY_NAME = FAMILIES


def loaded(file: Path) -> dict[str, float]:
    """MiB by the name of a buffer, summed over devices, of a load in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("loads.py")), str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    sums: dict[str, float] = {}
    for name, size in re.findall(r" (model|KV|RS|output|compute) buffer size = *([\d.]+) MiB", ran.stdout + ran.stderr):
        sums[name] = sums.get(name, 0.0) + float(size)
    return sums


def check(family: TinyModel, folder: Path) -> None:
    make_tiny(folder / family.name, family)
    file = folder / "model.gguf"
    for event in run(QuantizeJob(str(folder / family.name), "F16", str(file))):
        assert event
    plan = make_plan(open_model(folder / family.name), find_recipe("F16"))
    found = predict(shape_of(plan), Settings(context=512, outputs="all", swa_full=True)).host
    said = loaded(file)
    assert found.weights / MIB == pytest.approx(said["model"], abs=0.01)
    assert found.kv / MIB == pytest.approx(said.get("KV", 0.0) + said.get("RS", 0.0), abs=0.02)
    vector = 512 * int(plan.model.key("embedding_length")) * 4
    assert (found.compute - vector) / MIB - 0.02 <= said["compute"] <= (found.compute + 4 * vector) / MIB + 0.1


@pytest.mark.parametrize("name", QUICK)
def test_a_loaded_model_takes_what_was_predicted(name: str, tmp_path: Path) -> None:
    check(BY_NAME[name], tmp_path)


OTHERS = [name for name in BY_NAME if "t5" not in name and name not in QUICK]


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_loaded_family_takes_what_was_predicted(name: str, tmp_path: Path) -> None:
    check(BY_NAME[name], tmp_path)
