"""core.answer.choice: level, cache and context by what a person wants; and that more memory never makes it worse."""

from __future__ import annotations

from itertools import pairwise

import pytest

from core.answer.choice import (
    RUNS,
    WHOLE,
    Levels,
    choose,
    choose_among,
    judged_context,
    judged_with,
    least_of,
    longest_context,
)
from core.answer.recommend import Want, preferences
from core.fit import Verdict, estimate_fit
from core.imatrix import ImportanceMatrix
from core.plan import make_plans
from core.recipes import find_recipe
from tests.core.levels import level, levels, machine

RANK = {Verdict.FITS: 0, Verdict.TIGHT: 1, Verdict.SPLITS: 2, Verdict.NO: 3}
MODELS = ("llama-3.2-1b", "llama-3.1-8b", "gemma-3-12b", "qwen3-30b-a3b", "mamba2-2.7b", "deepseek-v2-lite")
RAMS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32, 48, 64)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("vram", [(), (6,), (12,)])
def test_more_ram_never_worsens_a_verdict(name: str, vram: tuple[float, ...]) -> None:
    for plan in levels(name):
        for context in (4096, 32768):
            ranks = [RANK[estimate_fit(plan, machine(ram=ram, vram=vram), context=context).verdict] for ram in RAMS]
            assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize("name", MODELS)
def test_more_gpu_memory_never_takes_layers_away_nor_keeps_a_model_from_running(name: str) -> None:
    plan = level(name, "Q4_K_M")
    fits = [estimate_fit(plan, machine(ram=16, vram=(size,)), context=8192) for size in (2, 4, 6, 8, 12, 16, 24, 48)]
    assert all(fewer.gpu_layers <= more.gpu_layers for fewer, more in pairwise(fits))
    assert all(more.verdict in RUNS for fewer, more in pairwise(fits) if fewer.verdict in RUNS)
    whole = [RANK[fit.verdict] for fit in fits if fit.place == "GPU"]
    assert whole == sorted(whole, reverse=True)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("vram", [(), (8,)])
def test_more_context_never_shrinks_memory(name: str, vram: tuple[float, ...]) -> None:
    plan, hardware = level(name, "Q4_K_M"), machine(vram=vram)
    for kv_type in ("f16", "q8_0"):
        fits = [estimate_fit(plan, hardware, context=256 * n, kv_type=kv_type) for n in (1, 2, 4, 8, 16, 64, 128, 512)]
        needs = [(fit.on_gpu + fit.on_host).kv for fit in fits]
        assert needs == sorted(needs)
        totals = [(fit.on_gpu + fit.on_host).total for fit in fits if fit.place == fits[0].place]
        assert totals == sorted(totals) or fits[0].place == "GPU + CPU"


@pytest.mark.parametrize("want", [Want.BEST_QUALITY, Want.BALANCED])
@pytest.mark.parametrize("name", MODELS[:4])
def test_with_more_ram_the_choice_only_moves_up_the_order_of_preference(name: str, want: Want) -> None:
    plans = levels(name)
    order = preferences(plans[0].model, context=8192, want=want)
    places = []
    for ram in RAMS:
        chosen = choose(plans, machine(ram=ram), context=8192, want=want)
        places.append(order.index((chosen.plan.recipe.name, chosen.fit.verdict)) if chosen else len(order))
    assert places == sorted(places, reverse=True)
    assert places[-1] == 0


@pytest.mark.parametrize("name", MODELS[:3])
def test_with_more_ram_the_longest_context_never_shrinks(name: str) -> None:
    plans = levels(name)
    found = [choose(plans, machine(ram=ram), context=2048, want=Want.LONGEST_CONTEXT) for ram in (4, 6, 8, 16, 24, 48)]
    contexts = [chosen.fit.context if chosen and chosen.fit.verdict is Verdict.FITS else 0 for chosen in found]
    assert contexts == sorted(contexts)


def test_a_cache_in_q8_0_comes_before_a_lower_level() -> None:
    plans = levels("llama-3.1-8b")
    hardware = machine(ram=12.5)
    plain = {plan.recipe.name: estimate_fit(plan, hardware, context=32768).verdict for plan in plans}
    chosen = choose(plans, hardware, context=32768)
    assert chosen is not None
    assert plain["Q6_K"] is not Verdict.FITS
    assert (chosen.plan.recipe.name, chosen.fit.kv_type, chosen.fit.verdict) == ("Q6_K", "q8_0", Verdict.FITS)


def test_a_cache_that_was_asked_for_is_kept() -> None:
    chosen = choose(levels("llama-3.1-8b"), machine(ram=16), context=8192, kv_type="q4_0")
    assert chosen is not None
    assert chosen.fit.kv_type == "q4_0"


def test_the_longest_context_is_found_at_four_bits_where_memory_is_what_limits_it() -> None:
    plans, hardware = levels("llama-3.1-8b"), machine(vram=(12,))
    chosen = choose(plans, hardware, context=4096, want=Want.LONGEST_CONTEXT)
    assert chosen is not None
    assert (chosen.plan.recipe.name, chosen.fit.kv_type, chosen.fit.verdict) == ("Q4_K_M", "q8_0", Verdict.FITS)
    more = estimate_fit(chosen.plan, hardware, context=chosen.fit.context + 256, kv_type="q8_0")
    assert more.verdict is not Verdict.FITS


def test_where_all_of_it_fits_anyhow_the_longest_context_has_the_best_level() -> None:
    chosen = choose(levels("llama-3.1-8b"), machine(ram=64), context=4096, want=Want.LONGEST_CONTEXT)
    assert chosen is not None
    assert (chosen.plan.recipe.name, chosen.fit.context) == ("Q8_0", 131072)


@pytest.mark.parametrize("want", Want)
def test_no_more_context_is_chosen_than_the_model_was_trained_for(want: Want) -> None:
    plans = levels("llama-2-7b")
    chosen = choose(plans, machine(ram=64), context=32768, want=want)
    within = choose(plans, machine(ram=64), context=4096, want=want)
    assert chosen is not None
    assert chosen == within
    assert chosen.fit.context == 4096
    found = choose_among(Levels(plans[0].model), machine(ram=64), context=32768, want=want)
    assert found is not None
    assert (found.plan.recipe, found.fit) == (chosen.plan.recipe, chosen.fit)


def test_a_fit_says_what_it_has_in_place_of_what_was_wanted() -> None:
    plan = level("llama-2-7b", "Q4_K_M")
    fit = estimate_fit(plan, machine(), context=judged_context(plan.model, 32768), kv_type="q8_0")
    said = judged_with(fit, context=32768, kv_type="f16")
    assert said == " Judged with 4,096 tokens of context (all that it was trained for) and the cache in q8_0."
    assert judged_with(fit, context=4096, kv_type="q8_0") == ""


def test_nothing_is_chosen_where_nothing_runs() -> None:
    assert choose(levels("llama-3.1-70b"), machine(ram=8), context=4096) is None
    assert choose((), machine(), context=4096) is None
    assert least_of(levels("llama-3.1-70b")).recipe.name == "Q2_K"


@pytest.mark.parametrize("want", Want)
@pytest.mark.parametrize("ram", [3, 8, 16, 64])
def test_levels_planned_when_their_turn_comes_give_the_same_choice(want: Want, ram: float) -> None:
    plans = levels("llama-3.2-1b")
    hardware = machine(ram=ram)
    chosen = choose(plans, hardware, context=8192, want=want)
    names = [plan.recipe.name for plan in plans]
    again = choose_among(Levels(plans[0].model, names=names), hardware, context=8192, want=want)
    assert chosen is not None
    assert again is not None
    assert (chosen.plan.recipe, chosen.fit) == (again.plan.recipe, again.fit)


def test_all_levels_are_there_in_their_order_whatever_was_asked_before() -> None:
    levels_of = Levels(levels("llama-3.2-1b")[0].model, names=("Q4_K_M", "Q8_0"))
    assert levels_of.plan("Q4_K_M") is levels_of.plan("Q4_K_M")
    assert levels_of.plan("Q6_K") is None
    assert [plan.recipe.name for plan in levels_of.all()] == ["Q8_0", "Q4_K_M"]


def test_a_level_that_needs_an_importance_matrix_is_taken_only_with_one() -> None:
    plan = level("llama-3.1-70b", "Q4_K_M")
    matrix = ImportanceMatrix("m.gguf", (), 0, {})
    (with_one,) = make_plans(plan.model, [find_recipe("IQ2_XS")], importance=matrix)
    (without,) = make_plans(plan.model, [find_recipe("IQ2_XS")])
    chosen = choose([with_one], machine(ram=32), context=4096)
    assert chosen is not None
    assert chosen.plan is with_one
    assert choose([without], machine(ram=32), context=4096) is None


def test_the_longest_context_ends_where_the_next_step_would_not_run_whole() -> None:
    plan, hardware = level("llama-3.1-8b", "Q4_K_M"), machine(ram=16)
    most = longest_context(plan, hardware, kv_type="f16")
    assert estimate_fit(plan, hardware, context=most).verdict in WHOLE
    assert estimate_fit(plan, hardware, context=most + 256).verdict not in WHOLE
