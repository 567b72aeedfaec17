"""The recommendation in words: what to take, why, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.answer.choice import RUNS, WHOLE, Choice, choose, least_of
from core.answer.placement import as_placed, place_model
from core.answer.recommend import (
    ADVISED,
    LONG_CONTEXT,
    SMALL_MODEL,
    Want,
    can_be_made,
    is_below_four_bits,
    loss_of,
    quality_of_size,
    size_of,
    trained_in,
)
from core.fit import Fit, Verdict, estimate_fit
from core.hardware import Hardware
from core.memory import CELL
from core.stored import is_stored

if TYPE_CHECKING:
    from core.plan import Plan

_LEAST_CONTEXT = 4096
_FOUR_BITS = "Q4_K_M"
# Bits a weight of Q4_K_M in a usual model, and from how much more on a larger model is worth naming.
_FOUR_BITS_A_WEIGHT = 4.89
_WORTH_NAMING = 1.5
# Models so small are made to try things out.
_TOY_MODEL = 5e7
# How often the next token is the original's, Llama-3-8B without an importance matrix (tools/perplexity/README.md).
_SAME_TOKEN = {"Q8_0": 98, "Q6_K": 96, "Q4_K_M": 92, "Q2_K": 71}


@dataclass(frozen=True, slots=True)
class Advice:
    """`recipe` is empty where nothing runs. `sentences`: what to take, then why, then what to know."""

    recipe: str
    context: int
    kv_type: str
    want: Want
    sentences: tuple[str, ...]

    @property
    def words(self) -> str:
        return " ".join(self.sentences)


def advise(
    plans: Sequence[Plan],
    hardware: Hardware,
    chosen: Choice | None,
    *,
    context: int,
    kv_type: str,
    want: Want,
    asked: int = 0,
) -> Advice:
    """The words for `chosen` of `plans`; for a None why nothing runs.

    `context` is what they were judged with, which is less than what was `asked` where a model was not trained for that.
    """
    if chosen is None:
        said = (*_nothing(plans, hardware, context=context, kv_type=kv_type),
                *_smaller_context(plans, hardware, None, context=context, kv_type=kv_type, want=want))  # fmt: skip
        return Advice("", context, kv_type, want, said)
    judged = {"context": context, "kv_type": kv_type, "asked": asked}
    if is_stored(chosen.plan):
        said = (_runs(chosen), chosen.fit.reason, *_concessions(chosen, want=want, **judged))  # type: ignore[arg-type]
        return Advice(chosen.plan.recipe.name, chosen.fit.context, chosen.fit.kv_type, want, said)
    said = (
        _take(chosen, kv_type=kv_type, want=want),
        *_why(plans, hardware, chosen, want=want),
        *_cost(chosen),
        *_concessions(chosen, want=want, **judged),  # type: ignore[arg-type]
        *_smaller_context(plans, hardware, chosen, context=context, kv_type=kv_type, want=want),
        *_bigger_model(chosen, want=want),
    )
    return Advice(chosen.plan.recipe.name, chosen.fit.context, chosen.fit.kv_type, want, said)


def _runs(chosen: Choice) -> str:
    """Of a file that is there: nothing is to be taken or left."""
    name, fit = chosen.plan.recipe.name, chosen.fit
    how = {Verdict.FITS: "runs", Verdict.TIGHT: "runs, tightly,", Verdict.SPLITS: "runs split"}[fit.verdict]
    return f"This file, in {name}, {how} with {tokens(fit.context)} of context and the cache in {fit.kv_type}."


def _take(chosen: Choice, *, kv_type: str, want: Want) -> str:
    name, fit = chosen.plan.recipe.name, chosen.fit
    cache = f" and the cache in {fit.kv_type}" if fit.kv_type != kv_type or want is Want.LONGEST_CONTEXT else ""
    return f"Take {name} with {tokens(fit.context)} of context{cache}."


def _why(plans: Sequence[Plan], hardware: Hardware, chosen: Choice, *, want: Want) -> Iterator[str]:
    name, fit = chosen.plan.recipe.name, chosen.fit
    if name in trained_in(chosen.plan.model):
        yield "Its experts stay in the four bits that they were trained in, and nothing is lost by it."
        if fit.verdict is Verdict.SPLITS:
            yield fit.reason
        return
    if fit.verdict is Verdict.SPLITS:
        yield f"No level that is worth it runs whole here: {fit.reason[0].lower()}{fit.reason[1:]}"
        return
    if want is Want.LONGEST_CONTEXT:
        trained = int(chosen.plan.model.key("context_length", 0) or 0)
        most = "all that the model was trained for" if fit.context >= trained - CELL else "the most that runs whole"
        yield f"That is {most}, at the best level with which it does."
        return
    step = _step_up(plans, hardware, chosen)
    if step is not None and step.fit.free_after < 0:
        yield f"It is the best that runs whole: {step.plan.recipe.name} needs {size(-step.fit.free_after)} more."
    elif step is not None and step.fit.verdict is not Verdict.FITS:
        how = "leave too little to spare" if step.fit.verdict is Verdict.TIGHT else "not run whole on the GPU"
        yield f"It is the best that fits well: {step.plan.recipe.name} would {how}."
    elif step is not None:
        yield f"{step.plan.recipe.name} fits too, but is slower for a difference that is hard to notice."
    else:
        yield f"{name} is the most that is worth it: it fits."


def _step_up(plans: Sequence[Plan], hardware: Hardware, chosen: Choice) -> Choice | None:
    """The nearest larger level of those that are advised."""
    larger = [plan for plan in plans
              if plan.recipe.name in ADVISED and plan.tensor_bytes > chosen.plan.tensor_bytes
              and can_be_made(plan)]  # fmt: skip
    if not larger:
        return None
    plan = min(larger, key=lambda plan: plan.tensor_bytes)
    fit = estimate_fit(plan, hardware, context=chosen.fit.context, kv_type=chosen.fit.kv_type)
    return Choice(plan, fit)


def _cost(chosen: Choice) -> Iterator[str]:
    """What the level costs, by what was measured, and whether this model is one that bears it."""
    name, parameters = chosen.plan.recipe.name, chosen.plan.model.parameters
    if name in _SAME_TOKEN:
        yield f"On Llama-3-8B this level takes the original's next token {_SAME_TOKEN[name]} times in 100."
    if is_below_four_bits(name):
        large = "even for a model of this size" if parameters >= 65e9 else "and the more, the smaller the model is"
        yield f"Below four bits the loss is felt, {large}: a smaller model at {_FOUR_BITS} is likely the better use."
    elif parameters < SMALL_MODEL and loss_of(name) >= loss_of(_FOUR_BITS):
        yield "Models of under 3 billion weights lose more at four bits than larger ones: take more bits if you can."


def _concessions(chosen: Choice, *, context: int, kv_type: str, want: Want, asked: int) -> Iterator[str]:
    fit = chosen.fit
    if fit.kv_type == "q8_0" != kv_type and want is not Want.LONGEST_CONTEXT:
        yield "A cache in q8_0 costs nothing that can be measured: it is the better concession than a lower level."
    if fit.kv_type.startswith(("q4", "iq4")):
        yield f"A cache in {fit.kv_type} is felt: prefer q8_0 where it fits."
    if context >= LONG_CONTEXT and want is Want.BALANCED:
        yield "With 64K tokens and more, a level above the usual one is preferred: long inputs suffer at four bits."
    trained = int(chosen.plan.model.key("context_length", 0) or 0)
    if trained and max(fit.context, asked) > trained:
        yield f"The model was trained for {tokens(trained)} of context: with more, its answers get worse."
    if fit.verdict is Verdict.TIGHT:
        yield "It is tight: what other programs take while it runs may be too much."


def _smaller_context(
    plans: Sequence[Plan], hardware: Hardware, chosen: Choice | None, *, context: int, kv_type: str, want: Want
) -> Iterator[str]:
    """Where the context makes it split or drop below four bits, less of it is the better concession."""
    if chosen is not None and chosen.fit.verdict in WHOLE and not is_below_four_bits(chosen.plan.recipe.name):
        return
    less = context // 2 // CELL * CELL
    while less >= _LEAST_CONTEXT:
        found = choose(plans, hardware, context=less, kv_type=kv_type, limit=less)
        good = found is not None and found.fit.verdict in WHOLE and not is_below_four_bits(found.plan.recipe.name)
        if found is not None and (good or (chosen is None and found.fit.verdict in RUNS)):
            how = "whole" if found.fit.verdict in WHOLE else "split"
            yield f"Less context is the better concession: with {tokens(less)}, {found.plan.recipe.name} runs {how}."
            return
        less = less // 2 // CELL * CELL


def _bigger_model(chosen: Choice, *, want: Want) -> Iterator[str]:
    """Where this memory holds a larger model at four bits that is better than this one at eight."""
    model, fit = chosen.plan.model, chosen.fit
    if want is Want.LONGEST_CONTEXT or fit.verdict is not Verdict.FITS or loss_of(chosen.plan.recipe.name) > 0.006:
        return
    if model.parameters < _TOY_MODEL:
        return
    fixed, each = fit.compute + fit.overhead, _FOUR_BITS_A_WEIGHT / 8 + fit.kv / max(1, model.parameters)
    times = max(0.0, fit.budget * 0.9 - fixed) / each / max(1, model.parameters)
    here, there = size_of(model), size_of(model) * times
    if times >= _WORTH_NAMING and quality_of_size(there, _FOUR_BITS) > quality_of_size(here, chosen.plan.recipe.name):
        weights = _billions(model.parameters * times)
        yield (f"A larger model of its kind at {_FOUR_BITS}, of up to about {weights} weights, "
               "fits the same memory and is likely better.")  # fmt: skip


def _nothing(plans: Sequence[Plan], hardware: Hardware, *, context: int, kv_type: str) -> Iterator[str]:
    if not plans:
        yield "There is no level that can be made of this model."
        return
    least = least_of(plans)
    layers: Fit = estimate_fit(least, hardware, context=context, kv_type=kv_type)
    fit = as_placed(layers, place_model(least, hardware, layers), hardware)
    yield (f"Nothing runs here: even {least.recipe.name} needs {size(fit.total)}, "
           f"{size(-fit.free_after)} more than there is.")  # fmt: skip


def tokens(number: int) -> str:
    """32K for 32,768; the number where it is no whole K."""
    return f"{number // 1024}K" if number % 1024 == 0 else f"{number:,} tokens"


def size(nbytes: int) -> str:
    """1.4 GB, 300 MB."""
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 10**9 else f"{max(1, round(nbytes / 1e6))} MB"


def _billions(number: float) -> str:
    """Two digits: it is a rough figure."""
    return f"{number / 1e9:.0f} billion" if number >= 10e9 else f"{number / 1e9:.1f} billion"
