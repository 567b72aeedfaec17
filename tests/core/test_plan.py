"""A plan is the file, known to the byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import core
from core.plan import make_plans
from kernels import FORMATS
from tests.models import SAMPLE, make_llama


@pytest.fixture(scope="module")
def model() -> core.ModelInfo:
    return core.open_model(SAMPLE)


@pytest.mark.parametrize("recipe", core.RECIPES, ids=lambda recipe: recipe.name)
def test_tensors_follow_each_other_on_aligned_places(model: core.ModelInfo, recipe: core.Recipe) -> None:
    plan = core.make_plan(model, recipe)
    end = 0
    for tensor in plan.tensors:
        assert tensor.offset % 32 == 0
        assert 0 <= tensor.offset - end < 32
        end = tensor.offset + tensor.nbytes
    assert 0 <= plan.file_bytes - len(plan.header) - end < 32
    assert plan.header_bytes == len(plan.header)


def test_bits_per_weight_is_between_those_of_the_formats(model: core.ModelInfo) -> None:
    plan = core.make_plan(model, core.find_recipe("Q4_K_M"))
    bits = [FORMATS[t.format].bits_per_weight for t in plan.tensors]
    assert min(bits) < plan.bits_per_weight < max(bits)
    assert plan.tensor_bytes == sum(t.nbytes for t in plan.tensors)


def test_better_recipes_are_larger_within_a_family(model: core.ModelInfo) -> None:
    sizes = {r.name: core.make_plan(model, r).file_bytes for r in core.RECIPES}
    order = ["F32", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K"]
    assert [sizes[name] for name in order] == sorted((sizes[name] for name in order), reverse=True)


def test_rows_that_do_not_fit_the_blocks_are_told(tmp_path: Path) -> None:
    folder = make_llama(tmp_path, hidden_size=160, intermediate_size=288, num_attention_heads=5, num_key_value_heads=5)
    plan = core.make_plan(core.open_model(folder), core.find_recipe("Q4_K_M"))
    (note,) = plan.notes
    assert "no multiple of 256" in note
    assert "Q5_0" in note


def test_the_sample_needs_no_notes(model: core.ModelInfo) -> None:
    assert core.make_plan(model, core.find_recipe("Q4_K_M")).notes == ()


def test_plans_made_together_are_those_made_alone(model: core.ModelInfo) -> None:
    recipes = [core.find_recipe(name) for name in ("BF16", "Q4_K_M", "Q4_0")]
    known = core.ImportanceMatrix("some.gguf", ("text.txt",), 3, {})
    expected = [core.make_plan(model, recipe, importance=known) for recipe in recipes]
    assert expected == make_plans(model, recipes, importance=known)
    assert "quantize.imatrix.chunks_count" in {item.key for item in expected[0].metadata}


def test_a_plan_with_importance_or_other_formats_is_another(model: core.ModelInfo) -> None:
    recipe = core.find_recipe("Q4_K_M")
    plain = core.make_plan(model, recipe)
    other = core.make_plan(model, recipe, overrides=core.read_overrides(tensors=["ffn_up=Q8_0"]))
    assert {t.format for t in other.tensors if "ffn_up" in t.name} == {"Q8_0"}
    assert other.file_bytes > plain.file_bytes


def test_a_checkpoint_in_mxfp4_that_is_only_converted_says_so_in_its_file_type(model: core.ModelInfo) -> None:
    experts = core.OutputTensor("blk.0.ffn_up_exps.weight", (4, 64, 64), "MXFP4")
    folder = replace(model, tensors=(*model.tensors, experts))
    types = [
        {item.key: item.value for item in core.make_plan(source, core.find_recipe(name)).metadata}["general.file_type"]
        for source in (folder, replace(folder, is_gguf=True))
        for name in ("BF16", "Q8_0")
    ]
    assert types == [38, 7, 32, 7]


def test_a_plan_names_the_tensors_that_lose_precision_again(model: core.ModelInfo) -> None:
    experts = core.OutputTensor("blk.0.ffn_up_exps.weight", (4, 64, 64), "MXFP4")
    folder = replace(model, tensors=(*model.tensors, experts))
    assert core.make_plan(folder, core.find_recipe("Q8_0")).requantized == (experts.name,)
    assert core.make_plan(folder, core.find_recipe("MXFP4_MOE")).requantized == ()
