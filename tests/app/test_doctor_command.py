"""`snug doctor` and the options that ask about another machine."""

from __future__ import annotations

import json

import pytest

import core
from app.cli import main
from app.doctor_command import show

FOUND = {
    "snug": {"version": "0.1.0"},
    "memory": {"total": {"value": 16 * 10**9, "source": "/proc/meminfo", "confidence": "high"}},
    "graphics": [
        {"name": {"value": "A", "source": "", "confidence": ""}},
        {"name": {"value": "B", "source": "", "confidence": ""}},
    ],
    "unread": [],
}


def test_a_report_shows_each_figure_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    show(FOUND)
    text = capsys.readouterr().out
    assert "16.0 GB (16,000,000,000)  [/proc/meminfo, high]" in text
    assert "Graphics 1" in text
    assert "Graphics 2" in text
    assert "Unread\n  nothing" in text


def test_a_report_can_be_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "examine", lambda: FOUND, raising=False)
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == FOUND


def test_another_machine_can_be_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["machine", "--ram", "16G", "--gpu", "RTX 4070:12G", "--gpu", "4090", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["memory"]["total"] == 16 * 1024**3
    assert [gpu["total"] // 1024**3 for gpu in found["gpus"]] == [12, 24]
    assert found["given"] == ["memory", "GPU"]


def test_people_are_told_that_it_is_another_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["machine", "--gpu", "none"]) == 0
    assert "Asked about another machine: no GPU given by you." in capsys.readouterr().out


def test_a_card_that_nobody_knows_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["machine", "--gpu", "RTX 4075"]) == 2
    assert "Did you mean GeForce RTX 4070" in capsys.readouterr().err


def test_the_verdicts_are_those_of_the_machine_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(core.sample_folder()), "--ram", "8G", "--gpu", "RTX 4090", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipes"][0]["place"] == "GPU"
