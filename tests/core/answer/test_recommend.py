"""core.answer.recommend: what comes before what, and the rank of models and levels."""

from __future__ import annotations

import pytest

from core.answer.recommend import (
    ADVISED,
    LONG_CONTEXT,
    Want,
    is_below_four_bits,
    loss_of,
    preferences,
    quality_of,
    quality_of_size,
    size_of,
    trained_in,
)
from core.fit import Verdict
from tests.core.levels import level, levels

FITTING = Verdict.FITS


def order(name: str, want: Want, *, context: int = 4096) -> list[str]:
    """Levels that fit, in the order in which they are taken."""
    model = levels(name)[0].model
    return [recipe for recipe, verdict in preferences(model, context=context, want=want) if verdict is FITTING]


def taken(name: str, **verdicts: str) -> str | None:
    """What is taken when the levels named have the verdict and the others do not run."""
    steps = preferences(levels(name)[0].model, context=4096, want=Want.BALANCED)
    return next((recipe for recipe, verdict in steps if verdicts.get(recipe) == verdict), None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("llama-3.2-1b", "Q8_0"), ("llama-3.1-8b", "Q6_K"), ("gemma-3-12b", "Q5_K_M"), ("llama-3.1-70b", "Q4_K_M")],
)
def test_where_everything_fits_the_size_of_the_model_decides(name: str, expected: str) -> None:
    everything = ("BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_0", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K")
    assert taken(name, **dict.fromkeys(everything, "fits")) == expected


def test_a_good_format_that_is_tight_comes_before_a_lower_one_that_fits() -> None:
    assert taken("llama-3.1-8b", Q4_K_M="tight", Q3_K_M="fits", Q2_K="fits") == "Q4_K_M"


def test_a_lower_format_comes_before_splitting() -> None:
    assert taken("llama-3.1-8b", Q4_K_M="splits", Q3_K_M="fits") == "Q3_K_M"


def test_a_k_quant_comes_before_the_older_format_of_its_size() -> None:
    assert taken("llama-3.1-8b", Q5_0="fits", Q4_K_M="fits", Q4_0="fits") == "Q4_K_M"


def test_two_bits_come_last() -> None:
    assert taken("llama-3.1-8b", Q3_K_M="splits", Q2_K="fits") == "Q3_K_M"
    assert taken("llama-3.1-8b", Q2_K="fits", Q2_K_S="fits") == "Q2_K"


def test_an_unquantized_file_and_one_bit_are_never_taken() -> None:
    assert taken("llama-3.1-70b", BF16="fits", IQ1_M="fits", TQ1_0="fits") is None


def test_the_smallest_levels_of_two_bits_are_for_large_models() -> None:
    assert taken("llama-3.1-8b", IQ2_M="fits") is None
    assert taken("llama-3.1-70b", IQ2_M="fits", IQ2_XXS="fits") == "IQ2_M"
    assert taken("llama-3.1-70b", IQ2_M="fits", Q2_K="splits") == "IQ2_M"


@pytest.mark.parametrize("name", ["llama-3.2-1b", "llama-3.1-8b", "qwen2.5-32b", "llama-3.1-70b"])
def test_best_quality_takes_the_most_bits_first(name: str) -> None:
    assert order(name, Want.BEST_QUALITY)[:2] == ["Q8_0", "Q6_K"]


def test_a_long_context_wants_a_level_above_the_usual_one() -> None:
    assert order("qwen2.5-32b", Want.BALANCED)[0] == "Q4_K_M"
    assert order("qwen2.5-32b", Want.BALANCED, context=LONG_CONTEXT)[0] == "Q5_K_M"


def test_best_quality_would_rather_split_than_go_below_four_bits() -> None:
    steps = preferences(levels("llama-3.1-8b")[0].model, context=4096, want=Want.BEST_QUALITY)
    assert steps.index(("Q4_K_M", Verdict.SPLITS)) < steps.index(("Q3_K_M", Verdict.FITS))
    steps = preferences(levels("llama-3.1-8b")[0].model, context=4096, want=Want.BALANCED)
    assert steps.index(("Q4_K_M", Verdict.SPLITS)) > steps.index(("Q3_K_M", Verdict.FITS))


@pytest.mark.parametrize("want", Want)
@pytest.mark.parametrize("name", ["llama-3.2-1b", "llama-3.1-8b", "qwen2.5-32b", "llama-3.1-70b"])
def test_of_one_level_the_better_verdict_always_comes_first(name: str, want: Want) -> None:
    steps = preferences(levels(name)[0].model, context=4096, want=want)
    for recipe in {recipe for recipe, _ in steps}:
        verdicts = [verdict for other, verdict in steps if other == recipe]
        assert verdicts == [Verdict.FITS, Verdict.TIGHT, Verdict.SPLITS]


def test_losses_grow_as_bits_shrink() -> None:
    falling = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_XXS", "Q2_K", "IQ2_XXS", "IQ1_S")
    losses = [loss_of(name) for name in falling]
    assert losses == sorted(losses)
    assert [is_below_four_bits(name) for name in ("Q4_K_M", "IQ4_XS", "Q3_K_L", "IQ3_S")] == [False, False, True, True]


def test_a_bigger_model_at_four_bits_beats_a_smaller_at_eight_but_not_so_at_three_against_four() -> None:
    assert quality_of(levels("llama-3.1-70b")[0].model, "Q4_K_M") > quality_of(levels("llama-3.1-8b")[0].model, "Q8_0")
    for size in (1e9, 3e9, 8e9):
        assert quality_of_size(2 * size, "Q4_K_M") > quality_of_size(size, "Q8_0")
        assert quality_of_size(size * 4 / 3, "Q3_K_M") < quality_of_size(size, "Q4_K_M")


def test_a_model_that_was_trained_in_four_bits_keeps_them() -> None:
    model = levels("gpt-oss-20b", ("MXFP4_MOE",))[0].model
    assert trained_in(model) == ("MXFP4_MOE",)
    assert taken("gpt-oss-20b", Q6_K="fits", MXFP4_MOE="splits", Q4_K_M="fits") == "MXFP4_MOE"
    assert quality_of(model, "MXFP4_MOE") == quality_of(model, "F16")
    assert trained_in(levels("llama-3.1-8b")[0].model) == ()


def test_small_models_lose_more() -> None:
    losses = [quality_of_size(size, "F16") - quality_of_size(size, "Q4_K_M") for size in (1e9, 8e9, 70e9)]
    assert losses == sorted(losses, reverse=True)


def test_a_mixture_counts_between_its_active_and_all_weights() -> None:
    model = levels("qwen3-30b-a3b")[0].model
    assert model.active_parameters < size_of(model) < model.parameters


def test_older_formats_are_not_advised() -> None:
    assert not {"Q5_1", "Q5_0", "Q4_1", "Q4_0"} & set(ADVISED)
    assert level("llama-3.1-8b", "Q8_0").recipe.name in ADVISED
