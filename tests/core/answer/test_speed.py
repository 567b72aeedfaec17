"""core.answer.speed: what is read for a token, where, and what follows from it."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import pytest

from core.answer.placement import place_model
from core.answer.speed import Calibration, Speed, active_weights, calibrate, estimate_speed, read_per_token
from core.fit import estimate_fit
from core.hardware import Confidence, Gpu, Hardware, detect
from core.plan import Plan
from tests.core.levels import GIB, level, levels, machine


def speed_of(plan: Plan, hardware: Hardware, *, context: int = 8192, calibration: Calibration | None = None) -> Speed:
    placement = place_model(plan, hardware, estimate_fit(plan, hardware, context=context))
    return estimate_speed(plan, hardware, placement, context=context, calibration=calibration)


def test_a_token_reads_every_matrix_but_the_input_embedding() -> None:
    plan, hardware = level("llama-3.1-8b", "Q4_K_M"), machine()
    read = read_per_token(plan.shape, place_model(plan, hardware, estimate_fit(plan, hardware)))
    embedding = next(tensor.nbytes for tensor in plan.tensors if tensor.name == "token_embd.weight")
    tables = sum(tensor.nbytes for tensor in plan.tensors if tensor.name.startswith("rope_freqs"))
    assert sum(read.host.values()) == plan.tensor_bytes - embedding - tables
    assert not read.gpu


def test_a_tied_embedding_is_read_once_as_the_output() -> None:
    plan, hardware = level("llama-3.2-1b", "Q8_0"), machine()
    read = read_per_token(plan.shape, place_model(plan, hardware, estimate_fit(plan, hardware)))
    tables = sum(tensor.nbytes for tensor in plan.tensors if tensor.name.startswith("rope_freqs"))
    assert sum(read.host.values()) == plan.tensor_bytes - tables


def test_of_experts_only_those_that_are_used_are_read() -> None:
    plan = level("qwen3-30b-a3b", "Q4_K_M")
    assert 2.9e9 < active_weights(plan.shape) < 3.4e9
    assert speed_of(plan, machine()).read_bytes < plan.tensor_bytes / 6


def test_where_a_split_puts_its_layers_every_byte_is_read_once() -> None:
    plan = level("llama-3.1-8b", "Q4_K_M")
    whole, split = (
        read_per_token(plan.shape, place_model(plan, where, estimate_fit(plan, where)))
        for where in (machine(), machine(vram=(4,)))
    )
    assert split.gpu
    assert split.host
    assert sum((split.gpu + split.host).values()) == sum(whole.host.values())


@pytest.mark.parametrize("name", ["llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-12b", "mamba2-2.7b"])
def test_the_range_holds_the_likely_speed_and_a_full_context_is_never_faster(name: str) -> None:
    for hardware in (machine(), machine(vram=(8,)), machine(vram=(48,))):
        speed = speed_of(level(name, "Q4_K_M"), hardware, context=32768)
        for rate in (speed.generation, speed.full, speed.prompt):
            assert 0 < rate.low < rate.likely < rate.high
        assert speed.full.likely <= speed.generation.likely


def test_whole_on_the_gpu_is_faster_than_split_and_split_faster_than_ram() -> None:
    plan = level("llama-3.1-8b", "Q4_K_M")
    rates = [speed_of(plan, where).generation.likely for where in (machine(), machine(vram=(5,)), machine(vram=(24,)))]
    assert all(slow < fast for slow, fast in pairwise(rates))


def test_fewer_bits_are_not_slower_down_to_four_and_gain_little_below() -> None:
    rates = {plan.recipe.name: speed_of(plan, machine(vram=(24,))).generation.likely for plan in levels("llama-3.1-8b")}
    assert rates["Q8_0"] < rates["Q6_K"] < rates["Q4_K_M"]
    assert rates["Q2_K"] < 1.35 * rates["Q4_K_M"]


def test_a_processors_speed_is_at_most_its_bandwidth_by_the_bytes_read() -> None:
    speed = speed_of(level("llama-3.1-8b", "Q8_0"), machine(bandwidth=50))
    assert speed.generation.likely < 50e9 / speed.read_bytes


def test_what_is_not_known_lowers_the_confidence_and_widens_the_range() -> None:
    plan = level("llama-3.1-8b", "Q4_K_M")
    known, guessed = (speed_of(plan, where).generation for where in (machine(bandwidth=50), machine(bandwidth=0)))
    assert (known.confidence, guessed.confidence) == (Confidence.MEDIUM, Confidence.LOW)
    assert guessed.high / guessed.low > known.high / known.low


def test_a_trial_on_this_machine_replaces_what_is_usual() -> None:
    plan = level("llama-3.1-8b", "Q8_0")
    slow, fast = (speed_of(plan, machine(bandwidth=0), calibration=Calibration(rate, rate)) for rate in (1e10, 4e10))
    assert fast.generation.likely > 3 * slow.generation.likely
    assert fast.prompt.likely > 3 * slow.prompt.likely
    assert fast.generation.confidence is Confidence.MEDIUM


def test_measured_speeds_are_taken_as_they_are_and_move_the_full_context_with_them() -> None:
    plan, hardware = level("llama-3.1-8b", "Q4_K_M"), machine()
    placement = place_model(plan, hardware, estimate_fit(plan, hardware))
    found = estimate_speed(plan, hardware, placement, context=32768, generation=7, prompt=50)
    guess = estimate_speed(plan, hardware, placement, context=32768)
    assert (found.generation.likely, found.prompt.likely) == (7, 50)
    assert found.generation.confidence is Confidence.HIGH
    ratio = found.full.likely / found.generation.likely
    assert ratio == pytest.approx(guess.full.likely / guess.generation.likely)


def test_a_gpu_in_the_ram_reads_at_its_own_speed() -> None:
    chip = Gpu("M3 Max", "Apple", "a", 48 * GIB, 48 * GIB, used_by_others=0, driver="", unified=True)
    hardware = replace(machine(), gpus=(replace(chip, bandwidth=400 * 10**9),))
    plan = level("llama-3.1-8b", "Q4_K_M")
    assert 40 < speed_of(plan, hardware).generation.likely < 400e9 / speed_of(plan, hardware).read_bytes


# (model, level, card's GB/s, tokens/s that people publish for it with llama.cpp, in round figures).
_PUBLISHED = [
    ("llama-3.1-8b", "Q4_K_M", 1008, 130),
    ("llama-3.1-8b", "Q4_K_M", 360, 50),
    ("llama-3.1-8b", "Q8_0", 936, 85),
    ("qwen3-30b-a3b", "Q4_K_M", 1008, 180),
]


@pytest.mark.parametrize(("name", "recipe", "bandwidth", "published"), _PUBLISHED)
def test_published_speeds_of_cards_lie_in_the_range(name: str, recipe: str, bandwidth: int, published: float) -> None:
    hardware = machine(vram=(48,))
    hardware = replace(hardware, gpus=(replace(hardware.gpus[0], bandwidth=bandwidth * 10**9),))
    rate = speed_of(level(name, recipe), hardware, context=4096).generation
    assert rate.low < published < rate.high


def test_calibration_takes_less_than_two_seconds_of_this_machine() -> None:
    start = time.process_time()
    found = calibrate(detect(), seconds=0.1)
    assert time.process_time() - start < 4
    assert found.bandwidth >= 0
    assert found.operations > 1e8
