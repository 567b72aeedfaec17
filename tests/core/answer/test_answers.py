"""core.answer.answers and what it is made of: advice, arithmetic, counterfactuals, run lines, the grid."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from core.answer.advice import Advice, advise
from core.answer.answers import CONTEXTS, Answer, answer_for, verdict_grid
from core.answer.arithmetic import arithmetic_of, band_of
from core.answer.choice import WHOLE, Choice, choose
from core.answer.counterfactuals import Change, Counterfactual, counterfactuals_of
from core.answer.placement import place_model
from core.answer.recommend import Want
from core.answer.run_lines import run_lines
from core.fit import Verdict, estimate_fit
from core.hardware import Hardware, Holder
from core.recipes import RECIPES
from tests.core.levels import GIB, level, levels, machine

pytestmark = pytest.mark.slow

MODELS = ("llama-3.2-1b", "llama-3.1-8b", "llama-3.1-70b", "gemma-3-12b", "qwen3-30b-a3b", "qwen3-next-80b-a3b")
MACHINES = {
    "8 GB": machine(ram=8, used=3),
    "32 GB": machine(ram=32, used=6),
    "8 GB card": machine(ram=32, vram=(8,), used_vram=1),
    "24 GB card": machine(ram=64, vram=(24,), used_vram=1),
    "two cards": machine(ram=64, vram=(24, 12)),
}


def about(name: str, recipe: str, hardware: Hardware, *, context: int = 8192, kv_type: str = "f16") -> Choice:
    plan = level(name, recipe)
    return Choice(plan, estimate_fit(plan, hardware, context=context, kv_type=kv_type))


def changes(name: str, recipe: str, hardware: Hardware, *, context: int = 8192) -> dict[Change, Counterfactual]:
    found = counterfactuals_of(levels(name), hardware, about(name, recipe, hardware, context=context))
    return {item.change: item for item in found}


def advised(name: str, hardware: Hardware, *, context: int = 8192, want: Want = Want.BALANCED) -> Advice:
    plans = levels(name)
    chosen = choose(plans, hardware, context=context, want=want)
    return advise(plans, hardware, chosen, context=context, kv_type="f16", want=want)


# The arithmetic.


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize("name", MODELS)
def test_the_parts_add_up_to_the_sum_by_place_and_altogether(name: str, kind: str) -> None:
    for plan in levels(name)[::3]:
        fit = estimate_fit(plan, MACHINES[kind], context=16384)
        found = arithmetic_of(plan, fit)
        assert sum(part.nbytes for part in found.parts) == found.total == (fit.on_gpu + fit.on_host).total
        assert all(part.gpu + part.host == part.nbytes for part in found.parts)


def test_the_weights_are_multiplied_out_in_words() -> None:
    plan = level("llama-3.1-70b", "Q4_K_M")
    found = arithmetic_of(plan, estimate_fit(plan, machine(ram=64, vram=(80,))))
    assert found.parts[0].words == "70.6 B weights x 4.82 bits / 8 = 42.5 GB"
    assert found.parts[1].words == "4,096 tokens x 327.7 kB in f16 = 1.3 GB"
    assert found.words.endswith(" = 44.3 GB")


def test_what_is_held_twice_is_said() -> None:
    plan = level("llama-3.2-1b", "Q8_0")
    found = arithmetic_of(plan, estimate_fit(plan, machine(vram=(24,))))
    assert "279.1 MB that are held twice" in found.parts[0].words


def test_windows_and_states_are_said_where_a_product_would_be_wrong() -> None:
    said = [
        arithmetic_of(plan, estimate_fit(plan, machine())).parts[1].words
        for plan in (level("gemma-3-12b", "Q4_K_M"), level("qwen3-next-80b-a3b", "Q4_K_M"))
    ]
    assert "only the last 1,024" in said[0]
    assert "a running state that does not grow" in said[1]


@pytest.mark.parametrize("ram", [4, 5, 6, 6.5, 7, 8, 10, 16])
def test_tight_is_what_leaves_less_than_the_band(ram: float) -> None:
    fit = estimate_fit(level("llama-3.1-8b", "Q4_K_M"), machine(ram=ram))
    expected = Verdict.NO if fit.free_after < 0 else Verdict.TIGHT if fit.free_after < band_of(fit) else Verdict.FITS
    assert fit.verdict is expected


# What would change the answer.


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize("name", MODELS)
def test_every_counterfactual_is_better_than_what_is(name: str, kind: str) -> None:
    hardware = MACHINES[kind]
    rank = {Verdict.FITS: 0, Verdict.TIGHT: 1, Verdict.SPLITS: 2, Verdict.NO: 3}
    for recipe in ("Q8_0", "Q4_K_M"):
        now = about(name, recipe, hardware, context=32768)
        for item in counterfactuals_of(levels(name), hardware, now):
            if now.fit.verdict is not Verdict.FITS:
                assert rank[item.fit.verdict] < rank[now.fit.verdict], item.words
            assert item.recipe in item.words
            assert item.words.endswith(".")


def test_closing_programs_is_tried_to_the_last_step_and_names_who_holds_enough() -> None:
    holders = (Holder("browser", 3 * 10**9), Holder("mail", 10**9))
    hardware = machine(ram=16, used=7.5, holders=holders)
    found = changes("llama-3.1-8b", "Q6_K", hardware)[Change.FREE_MEMORY]
    memory = hardware.memory
    for amount, better in ((found.amount, True), (found.amount - 10**8, False)):
        freed = replace(hardware, memory=replace(memory, available=memory.available + amount))
        verdict = about("llama-3.1-8b", "Q6_K", freed).fit.verdict
        assert (verdict in WHOLE) == better
    assert found.words == "Close 0.6 GB of other programs (such as mail) and Q6_K fits, tightly."


def test_no_more_is_closed_than_other_programs_hold() -> None:
    assert Change.FREE_MEMORY not in changes("llama-3.1-8b", "Q8_0", machine(ram=8))
    assert Change.FREE_MEMORY not in changes("llama-3.1-8b", "Q8_0", machine(ram=32, vram=(8,)))
    found = changes("llama-3.1-8b", "Q4_K_M", machine(ram=32, vram=(8,), used_vram=2))[Change.FREE_MEMORY]
    assert "on the GPU and Q4_K_M fits whole on the GPU" in found.words


def test_less_context_is_named_where_it_makes_a_split_whole() -> None:
    found = changes("llama-3.1-8b", "Q4_K_M", machine(vram=(9,)), context=32768)
    assert found[Change.CONTEXT].words.startswith("With 16K of context instead of 32K, Q4_K_M fits whole on the GPU")
    assert found[Change.CACHE].words.startswith("With the cache in q8_0, which costs no quality that can be measured,")


def test_more_ram_is_the_next_size_that_is_sold() -> None:
    found = changes("llama-3.1-70b", "Q4_K_M", machine(ram=32, used=4))
    assert found[Change.RAM].words == "With 64 GB of RAM, Q4_K_M fits."
    assert found[Change.GPU].words == "With a GPU of 48 GB, Q4_K_M fits whole on the GPU, tightly."


def test_where_all_is_well_the_next_better_level_is_what_it_is_about() -> None:
    hardware = machine(ram=16, used=5)
    found = counterfactuals_of(levels("llama-3.1-8b"), hardware, about("llama-3.1-8b", "Q6_K", hardware))
    assert {item.recipe for item in found} == {"Q8_0"}
    assert counterfactuals_of(levels("llama-3.1-8b"), machine(), about("llama-3.1-8b", "Q6_K", machine())) == ()


# The advice.


def test_the_first_sentence_is_what_to_take() -> None:
    assert advised("llama-3.1-8b", machine(ram=16)).sentences[0] == "Take Q6_K with 8K of context."


def test_below_four_bits_is_never_advised_in_silence() -> None:
    said = advised("llama-3.1-8b", machine(ram=5.2))
    assert said.recipe == "Q3_K_M"
    assert "Below four bits the loss is felt" in said.words
    assert "a smaller model at Q4_K_M" in said.words


def test_four_bits_of_a_small_model_are_said_to_cost_more() -> None:
    plans = levels("llama-3.2-1b")
    said = advise(plans, machine(), about("llama-3.2-1b", "Q4_K_M", machine()),
                  context=8192, kv_type="f16", want=Want.BALANCED)  # fmt: skip
    assert "Models of under 3 billion weights lose more at four bits" in said.words


def test_a_cache_in_q8_0_is_explained_as_the_better_concession() -> None:
    said = advised("llama-3.1-8b", machine(ram=12.5), context=32768)
    assert said.kv_type == "q8_0"
    assert "better concession than a lower level" in said.words


def test_less_context_is_advised_where_the_context_is_what_breaks_it() -> None:
    said = advised("llama-3.1-8b", machine(ram=7.5), context=65536)
    assert re.search(r"Less context is the better concession: with \d+K, [QI]\w+ runs whole\.", said.words)


def test_a_bigger_model_is_named_where_this_memory_would_hold_one_at_four_bits() -> None:
    assert "A larger model of its kind at Q4_K_M" in advised("llama-3.1-8b", machine(ram=32)).words
    assert "A larger model" not in advised("llama-3.1-8b", machine(ram=10)).words


def test_why_nothing_runs_is_said_in_figures() -> None:
    said = advised("llama-3.1-70b", machine(ram=16))
    assert said.recipe == ""
    assert re.match(r"Nothing runs here: even Q2_K needs \d+\.\d GB, \d+\.\d GB more than there is\.", said.words)


def test_a_model_is_judged_with_the_context_it_was_trained_for_and_that_is_said() -> None:
    answer = answer_for(levels("llama-2-7b"), machine(), context=131072)
    assert (answer.fit.context, answer.advice.context) == (4096, 4096)
    assert answer.advice.sentences[0] == "Take Q6_K with 4K of context."
    assert "trained for 4K of context: with more, its answers get worse" in answer.advice.words
    assert "-c 4096" in answer.run_lines[0].text


def test_a_limit_of_its_own_goes_beyond_what_the_model_was_trained_for() -> None:
    answer = answer_for(levels("llama-2-7b"), machine(), context=8192, limit=8192)
    assert answer.advice.sentences[0] == "Take Q6_K with 8K of context."
    assert "trained for 4K of context: with more, its answers get worse" in answer.advice.words


@pytest.mark.parametrize("context", [2048, 4096])
def test_nothing_is_said_of_training_where_it_covers_what_is_wanted(context: int) -> None:
    assert "trained" not in answer_for(levels("llama-2-7b"), machine(), context=context).advice.words


# The lines that run it.


def lines(name: str, recipe: str, hardware: Hardware, *, kv_type: str = "f16", context: int = 8192) -> dict[str, str]:
    found = about(name, recipe, hardware, kv_type=kv_type, context=context)
    placement = place_model(found.plan, hardware, found.fit)
    return {line.program: line.text for line in run_lines(found.plan, found.fit, placement)}


def test_llama_cpp_is_told_layers_context_and_cache() -> None:
    text = lines("llama-3.1-8b", "Q4_K_M", machine(vram=(24,)), kv_type="q8_0")["llama.cpp"]
    assert text == ("llama-server -m llama-3.1-8b-Q4_K_M.gguf -ngl 999 -c 8192 -ctk q8_0 -ctv q8_0 -fa on "
                    "-np 1 --cache-ram 0")  # fmt: skip


def test_a_split_names_its_layers_and_experts_in_ram() -> None:
    assert re.search(r"-ngl \d\d? ", lines("llama-3.1-8b", "Q4_K_M", machine(vram=(4,)))["llama.cpp"])
    assert re.search(r"-ngl 999 .*--n-cpu-moe \d+", lines("qwen3-30b-a3b", "Q4_K_M", machine(vram=(12,)))["llama.cpp"])


def test_several_cards_share_by_their_free_memory() -> None:
    text = lines("llama-3.1-70b", "Q4_K_M", machine(vram=(48, 24)))["llama.cpp"]
    assert text.endswith("-ts 48.0,24.0")


def test_ollama_and_lm_studio_are_told_the_same() -> None:
    found = lines("llama-3.1-8b", "Q4_K_M", machine(vram=(4,)), kv_type="q8_0")
    layers = re.search(r"num_gpu (\d+)", found["Ollama"])
    blocks = re.search(r"GPU Offload: (\d+) of 32", found["LM Studio"])
    assert layers
    assert blocks
    assert int(layers[1]) == int(blocks[1]) + 1
    assert "PARAMETER num_ctx 8192" in found["Ollama"]
    assert "K Cache Quantization Type: Q8_0" in found["LM Studio"]


# All of it.


@pytest.mark.parametrize("want", Want)
@pytest.mark.parametrize("kind", MACHINES)
def test_an_answer_is_of_one_piece(kind: str, want: Want) -> None:
    for name in MODELS[:5]:
        answer: Answer = answer_for(levels(name), MACHINES[kind], context=16384, want=want)
        assert (answer.speed is None) == (answer.fit.verdict is Verdict.NO)
        assert answer.advice.recipe in ("", answer.plan.recipe.name)
        assert (answer.slowdown > 1) == (answer.fit.verdict is Verdict.SPLITS)
        assert answer.largest_context % 256 == 0
        if answer.fit.verdict in WHOLE:
            assert answer.largest_context >= answer.fit.context or answer.fit.context > 8192
        assert [line.program for line in answer.run_lines] == ["llama.cpp", "Ollama", "LM Studio"]


def test_an_answer_can_be_about_another_level_than_the_one_advised() -> None:
    answer = answer_for(levels("llama-3.1-8b"), machine(ram=16), level="Q3_K_M")
    assert (answer.plan.recipe.name, answer.advice.recipe) == ("Q3_K_M", "Q6_K")


def test_the_grid_judges_every_cell_and_more_context_is_never_better() -> None:
    grid = verdict_grid(levels("llama-3.1-8b"), machine(ram=12))
    assert len(grid.cells) == len(grid.levels) * len(grid.contexts) * len(grid.kv_types)
    rank = {Verdict.FITS: 0, Verdict.TIGHT: 1, Verdict.SPLITS: 2, Verdict.NO: 3}
    for name in grid.levels:
        for kv_type in grid.kv_types:
            ranks = [rank[grid.cells[name, context, kv_type].verdict] for context in CONTEXTS]
            assert all(less <= more for less, more in pairwise(ranks))


def test_a_grid_of_twenty_levels_takes_some_ten_milliseconds() -> None:
    names = tuple(recipe.name for recipe in RECIPES if not recipe.needs_importance)[:20]
    plans, hardware = levels("llama-3.1-8b", names), machine(ram=16)
    times = []
    for _ in range(5):
        start = time.process_time()
        assert len(verdict_grid(plans, hardware).cells) == 360
        times.append(time.process_time() - start)
    assert min(times) < 0.05
    assert hardware.memory.total == 16 * GIB


def test_a_model_that_was_trained_in_four_bits_is_told_to_keep_them() -> None:
    names = ("MXFP4_MOE", "Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M", "Q2_K")
    plans = levels("gpt-oss-20b", names)
    for hardware in (machine(ram=24), machine(ram=24, vram=(8,)), machine(vram=(24,))):
        found = answer_for(plans, hardware)
        assert found.plan.recipe.name == "MXFP4_MOE"
        assert "nothing is lost by it" in found.advice.words
        assert {item.recipe for item in found.counterfactuals} <= {"MXFP4_MOE"}
