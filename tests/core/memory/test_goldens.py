"""The prediction against llama.cpp's own planner: 60 models, their levels and settings."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from core.memory import refusal
from tests.core.memory.goldens import (
    MIB,
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


def check(name: str, row: dict[str, Any]) -> float:
    """Everything to the byte but the graph's buffers, which are near; the error of the total as a share."""
    if row["error"]:
        assert refusal(shape_by(name, row["preset"]), settings_of(row)) == row["error"]
        return 0.0
    found = predicted(name, row)
    gpu, host = found.gpu, found.host
    assert (gpu.weights, host.weights) == (row["weights_gpu"], row["weights_host"] + row["weights_repack"]), row
    assert gpu.kv == row["kv_gpu"] + row["kv_swa_gpu"] + row["state_gpu"], row
    assert host.kv == row["kv_host"] + row["kv_swa_host"] + row["state_host"], row
    assert host.output == row["output_host"], row
    total = gpu.buffers + host.buffers
    return abs(total - truth(row, "total")) / truth(row, "total")


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
def test_some_settings_are_predicted_to_five_hundredths(name: str) -> None:
    errors = [check(name, row) for row in some_rows(name) if row["preset"] == main_level(name)]
    assert max(errors) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_every_model_is_predicted(name: str) -> None:
    errors = [check(name, row) for row in rows(name)]
    assert statistics.median(errors) < 0.01
    assert max(errors) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_graphs_buffers_are_within_a_tenth_or_64_mib_with_few_exceptions(name: str) -> None:
    wrong = total = 0
    for row in rows(name):
        if row["error"]:
            continue
        found, wanted = predicted(name, row), truth(row, "compute")
        wrong += abs(found.gpu.compute + found.host.compute - wanted) > max(0.1 * wanted, 64 * MIB)
        total += 1
    assert wrong <= total * 0.2
