"""snug fit: the answer below the table, in words and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli import main
from tests.models import SAMPLE


def spoken(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["fit", str(SAMPLE), *arguments]) == code
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["fit", str(SAMPLE), "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)["answer"]


def test_the_answer_has_verdict_sum_speed_context_and_run_line(capsys: pytest.CaptureFixture[str]) -> None:
    out = spoken(capsys, "--ctx", "512", "--ram", "16G", "--gpu", "none")
    assert "Take Q8_0 with 512 tokens of context." in out
    for part in ("Verdict Q8_0 fits: ", "tight below", "Sum ", "Generation ", "tokens/s", "Largest context 512 tokens"):
        assert part in out
    assert "llama-server -m" in out
    assert "-ngl 0 -c 512" in out


def test_json_has_the_same_as_values(capsys: pytest.CaptureFixture[str]) -> None:
    found = answered(capsys, "--ctx", "512", "--kv", "q8_0", "--ram", "16G", "--gpu", "RTX 4070")
    assert (found["recipe"], found["recommended"], found["verdict"]) == ("Q8_0", "Q8_0", "fits")
    assert found["arithmetic"]["total"] == sum(part["nbytes"] for part in found["arithmetic"]["parts"])
    assert found["speed"]["generation"]["low"] < found["speed"]["generation"]["high"]
    assert set(found["run_lines"]) == {"llama.cpp", "Ollama", "LM Studio"}
    assert found["run_lines"]["llama.cpp"].count("q8_0") == (2 if found["kv"] == "q8_0" else 0)


def test_a_wish_and_a_level_change_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    longest = answered(capsys, "--ctx", "256", "--want", "context", "--ram", "16G", "--gpu", "none")
    assert (longest["want"], longest["context"]) == ("context", 512)
    assert answered(capsys, "--ctx", "256", "--type", "q4_k_m")["recipe"] == "Q4_K_M"


def test_the_star_is_on_the_level_that_the_answer_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(SAMPLE), "--json", "--want", "quality"]) == 0
    found = json.loads(capsys.readouterr().out)
    stars = [recipe["recipe"] for recipe in found["recipes"] if recipe["recommended"]]
    assert stars == [found["answer"]["recommended"]]


def test_what_is_not_known_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Choose one of quality, balanced, context." in spoken(capsys, "--want", "speed", code=2)
    assert "--kv f12 is no format of a cache." in spoken(capsys, "--kv", "f12", code=2)
