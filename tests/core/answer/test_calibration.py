"""core.answer.calibration: what was measured is kept for this machine, and for no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.answer.calibration import calibration_file, keep_calibration, kept_calibration
from core.answer.speed import Calibration
from tests.core.levels import machine

FOUND = Calibration(2e10, 3e11)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def test_it_comes_back_for_the_same_machine_only() -> None:
    here = machine(ram=16)
    assert kept_calibration(here) is None
    keep_calibration(here, FOUND)
    assert kept_calibration(machine(ram=16, used=4)) == FOUND
    assert kept_calibration(replace(here, cpu=replace(here.cpu, name="Another"))) is None
    assert kept_calibration(replace(here, given=("ram",))) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": 3}', '{"machine": ["Processor", 8, 17179869184]}'])
def test_a_spoiled_file_is_as_none(text: str) -> None:
    keep_calibration(machine(ram=16), FOUND)
    calibration_file().write_text(text, encoding="utf-8")
    assert kept_calibration(machine(ram=16)) is None
