"""snug fit: the answer below the table, in words and as JSON."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import core
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
    assert "| w weights 2.3 MB, k KV cache" in out
    for program in ("llama-server -m", "PARAMETER num_ctx 512", "Context Length: 512"):
        assert program in out
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


def test_without_a_model_all_are_ranked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"HuggingFaceTB/SmolLM2-1.7B-Instruct": "small", "nobody/never": "unknown"}
    monkeypatch.setattr(core, "known_notes", lambda: known, raising=False)
    shutil.copytree(SAMPLE, tmp_path / "models" / "mine")
    settings = core.Settings(library_folders=(str(tmp_path / "models"),))
    core.save_settings(core.settings_file(), settings)
    asked = ("fit", "--ctx", "512", "--ram", "16G", "--gpu", "none")
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["model"]: row for row in found["models"]}
    assert rows["HuggingFaceTB/SmolLM2-1.7B-Instruct"]["rank"] < rows["mine"]["rank"]
    assert (rows["mine"]["where"], rows["mine"]["recipe"]) == ("This computer", "Q8_0")
    assert [lost["model"] for lost in found["not_judged"]] == ["nobody/never"]
    assert main(list(asked)) == 0
    out = capsys.readouterr().out
    assert "1 well-known model not judged" in out
    head = "Judged with 512 tokens of context, or all that a model was trained for, the cache in f16, on the machine"
    assert out.startswith(f"{head} that you asked about (14.0 GB of RAM free of 17.2 GB; no GPU)\n")
    assert (found["context"], found["kv"], found["machine"]["memory"]["total"]) == (512, "f16", 16 * 1024**3)


def test_a_context_beyond_training_is_judged_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Judged with 512 tokens of context" in spoken(capsys)
    out = spoken(capsys, "--ctx", "4096")
    assert "Judged with 4,096 tokens of context" in out
    assert "trained for 512 tokens of context: with more, its answers get worse" in out


def test_a_quantized_file_is_judged_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan = core.make_plan(core.open_model(SAMPLE), core.find_recipe("Q4_K_M"))
    file = tmp_path / "mine.gguf"
    file.write_bytes(plan.header)
    os.truncate(file, plan.file_bytes)
    assert main(["fit", str(file), "--ctx", "512", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["recipe"] for row in found["recipes"]] == ["Q4_K_M"]
    assert str(file) in found["answer"]["run_lines"]["llama.cpp"]
    assert main(["fit", str(file), "--ctx", "512", "--type", "Q3_K_M", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["recipe"] == "Q3_K_M"
