"""The prediction against llama.cpp's own planner: 60 models, their levels and settings."""

from __future__ import annotations

from typing import Any

import pytest

from core.memory import refusal
from tests.core.memory.goldens import (
    NAMES,
    goldens,
    plan_of,
    predicted,
    rows,
    settings_of,
    shape_by,
    some_rows,
    truth,
    types_sha256,
)

pytestmark = pytest.mark.slow


def check(name: str, row: dict[str, Any]) -> None:
    """Every part to the byte, on each device, and whether flash attention can run."""
    if row["error"]:
        assert refusal(shape_by(name, row["preset"]), settings_of(row)) == row["error"]
        return
    found = predicted(name, row)
    gpu, host = found.gpu, found.host
    assert (gpu.weights, host.weights) == (row["weights_gpu"], row["weights_host"] + row["weights_repack"]), row
    assert gpu.kv == row["kv_gpu"] + row["kv_swa_gpu"] + row["state_gpu"], row
    assert host.kv == row["kv_host"] + row["kv_swa_host"] + row["state_host"], row
    assert (gpu.compute, host.compute) == (row["compute_gpu"], row["compute_host"]), row
    assert host.output == row["output_host"], row
    assert gpu.buffers + host.buffers == truth(row, "total")
    assert found.flash == bool(row["flash_attn"]), row
    assert found.doubt == 0


def main_level(name: str) -> str:
    return str(next(rows(name))["preset"])


@pytest.mark.parametrize("name", NAMES)
def test_the_main_level_of_every_model_has_llama_quantizes_formats_and_bytes(name: str) -> None:
    level = main_level(name)
    nbytes, formats = goldens()["models"][name]["sizes"][level]
    plan = plan_of(name, level)
    assert plan.file_bytes - plan.header_bytes == nbytes
    assert types_sha256(plan) == formats


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_level_of_every_model_has_llama_quantizes_formats_and_bytes(name: str) -> None:
    for level, (nbytes, formats) in goldens()["models"][name]["sizes"].items():
        plan = plan_of(name, level)
        assert plan.file_bytes - plan.header_bytes == nbytes, level
        assert formats is None or types_sha256(plan) == formats, level


@pytest.mark.parametrize("name", NAMES[::6])
def test_some_settings_are_predicted_to_the_byte(name: str) -> None:
    for row in some_rows(name):
        if row["preset"] == main_level(name):
            check(name, row)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_every_model_is_predicted_to_the_byte(name: str) -> None:
    for row in rows(name):
        check(name, row)
