"""core.stored: a GGUF file as it is, judged and answered for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.answer.answers import Answer, answer_for
from core.answer.recommend import Want
from core.checkpoint import open_model
from core.fit import Verdict
from core.paths import sample_folder
from core.plan import make_plan
from core.recipes import find_recipe
from core.stored import is_stored, level_of, stored_plan
from tests.core.levels import level, machine


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's file in Q4_K_M, but for its weights: they are zeros."""
    plan = make_plan(open_model(sample_folder()), find_recipe("Q4_K_M"))
    target = tmp_path_factory.mktemp("made") / "sample.gguf"
    target.write_bytes(plan.header)
    os.truncate(target, plan.file_bytes)
    return target


def answered(file: Path, ram: float, want: Want = Want.BALANCED) -> Answer:
    plan = stored_plan(open_model(file), "Q4_K_M")
    return answer_for([plan], machine(ram=ram), context=512, want=want, path=str(file))


def test_every_tensor_keeps_its_format_and_its_bytes(file: Path) -> None:
    plan = stored_plan(open_model(file))
    assert is_stored(plan)
    assert all(planned.format == planned.tensor.dtype for planned in plan.tensors)
    assert plan.tensor_bytes == plan.model.source_bytes
    assert file.stat().st_size - 4096 < plan.file_bytes <= file.stat().st_size
    assert plan.recipe.name == plan.recipe.format
    assert level_of(file) == "Q4_K_M"
    assert not is_stored(level("llama-3.2-1b", "Q4_K_M"))


def test_the_answer_is_about_the_file_and_names_it_in_the_run_lines(file: Path) -> None:
    found = answered(file, 16)
    assert found.advice.sentences[0] == "This file, in Q4_K_M, runs with 512 tokens of context and the cache in f16."
    assert found.fit.verdict is Verdict.FITS
    assert str(file) in found.run_lines[0].text
    assert not [item for item in found.counterfactuals if item.recipe != "Q4_K_M"]


def test_where_it_does_not_run_that_is_said(file: Path) -> None:
    found = answered(file, 0.51)
    assert found.advice.recipe == ""
    assert found.advice.sentences[0].startswith("Nothing runs here: even Q4_K_M needs ")


def test_with_the_longest_context_wanted_it_has_the_most_that_fits(file: Path) -> None:
    trained = open_model(file).key("context_length")
    assert answered(file, 16, Want.LONGEST_CONTEXT).fit.context == trained
