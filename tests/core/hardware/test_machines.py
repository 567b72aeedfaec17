"""core.hardware on recorded machines of many kinds: tests/core/hardware/machines has one file a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.hardware import Gpu, Hardware, Holder, detect, source_of
from tests.core.hardware.recorded import MACHINES, load, system_of

_MUST_HAVE_A_SOURCE = ("name", "total", "free")


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_a_machine_is_read_as_it_is(path: Path, tmp_path: Path) -> None:
    record = load(path)
    hardware = detect(system=system_of(record, tmp_path))
    expected = record["expected"]
    assert [_seen(gpu, wanted) for gpu, wanted in zip(hardware.gpus, expected["gpus"], strict=True)] == expected["gpus"]
    assert {name: getattr(hardware.memory, name) for name in expected["memory"]} == expected["memory"]
    assert list(hardware.notes) == expected["notes"]
    _check_the_rest(hardware, expected)


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_no_memory_is_counted_twice_and_every_figure_has_a_source(path: Path, tmp_path: Path) -> None:
    hardware = detect(system=system_of(load(path), tmp_path))
    memory = hardware.memory
    assert 0 <= memory.available <= memory.total <= memory.installed
    assert all(source_of(memory.sources, name) for name in ("total", "available"))
    assert all(source_of(hardware.cpu.sources, name) for name in ("name", "physical_cores", "usable_cores"))
    for gpu in hardware.gpus:
        assert 0 <= gpu.free <= gpu.total
        assert gpu.used_by_others == gpu.total - gpu.free
        assert all(source_of(gpu.sources, name) for name in _MUST_HAVE_A_SOURCE)
        assert all(source_of(gpu.sources, name) for name in ("bandwidth", "formats") if getattr(gpu, name))
        if gpu.unified:
            assert gpu.total <= memory.total
            assert gpu.free <= memory.available


def _check_the_rest(hardware: Hardware, expected: dict[str, Any]) -> None:
    for name, value in expected.get("cpu", {}).items():
        if name == "instructions_include":
            assert {*value} <= {*hardware.cpu.instructions}
        else:
            assert _plain(getattr(hardware.cpu, name)) == value, name
    for name, value in expected.get("surroundings", {}).items():
        assert getattr(hardware.surroundings, name) == value, name
    if "holders" in expected:
        assert _plain(hardware.memory.holders) == expected["holders"]


def _seen(gpu: Gpu, wanted: dict[str, Any]) -> dict[str, Any]:
    """As much of `gpu` as `wanted` speaks of, as JSON has it."""
    seen = {name: _plain(getattr(gpu, name)) for name in wanted if name != "confidence"}
    if "confidence" in wanted:
        sources = {name: source_of(gpu.sources, name) for name in wanted["confidence"]}
        seen["confidence"] = {name: source.confidence.value if source else "" for name, source in sources.items()}
    return seen


def _plain(value: Any) -> Any:
    if isinstance(value, Holder):
        return [value.name, value.memory, value.count]
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
