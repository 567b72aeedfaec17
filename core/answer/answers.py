"""The whole answer to "will it fit": what to take, why, how fast, what would change it, and the lines that run it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.answer.advice import Advice, advise
from core.answer.arithmetic import Arithmetic, arithmetic_of
from core.answer.choice import Choice, choose, judged_context, least_of, longest_context
from core.answer.counterfactuals import Counterfactual, counterfactuals_of
from core.answer.placement import Placement, as_placed, place_model
from core.answer.recommend import Want
from core.answer.run_lines import RunLine, run_lines
from core.answer.speed import Calibration, Speed, estimate_speed
from core.fit import Fit, Verdict, estimate_fit
from core.hardware import Hardware

if TYPE_CHECKING:
    from core.plan import Plan

CONTEXTS = (4096, 8192, 16384, 32768, 65536, 131072)
GRID_KV_TYPES = ("f16", "q8_0", "q4_0")


@dataclass(frozen=True)
class Answer:
    """`plan` with `fit` is what is recommended, or the level that was asked about; `advice` is about the recommended.

    `largest_context` runs whole, without splitting, at this level and cache (0: none does); `speed` is None where the
    model does not run. `slowdown` is how many times slower a split is than the same model whole on such a GPU, else 1.
    """

    plan: Plan
    fit: Fit
    advice: Advice
    placement: Placement
    speed: Speed | None
    slowdown: float
    largest_context: int
    counterfactuals: tuple[Counterfactual, ...]
    arithmetic: Arithmetic
    run_lines: tuple[RunLine, ...]


def answer_for(
    plans: Sequence[Plan],
    hardware: Hardware,
    *,
    context: int = 4096,
    kv_type: str = "f16",
    want: Want = Want.BALANCED,
    limit: int = 0,
    level: str = "",
    calibration: Calibration | None = None,
    measured: tuple[float, float] = (0.0, 0.0),
    path: str = "",
) -> Answer:
    """The answer for the levels `plans` of one model; about `level` if it is given, else about the one recommended.

    Judged with no more context than `limit`, or what the model was trained for. `measured` are tokens/s of generation
    and prompt, 0 where not measured; `path` is the file that the run lines name.
    """
    within = judged_context(plans[0].model, context, limit=limit)
    chosen = choose(plans, hardware, context=within, kv_type=kv_type, want=want, limit=limit)
    about = _about(plans, hardware, chosen, context=within, kv_type=kv_type, level=level)
    plan, layers = about.plan, about.fit
    placement = place_model(plan, hardware, layers)
    fit = as_placed(layers, placement, hardware)
    if chosen is about:
        chosen = Choice(plan, fit)
    speed, slowdown = None, 1.0
    if fit.verdict is not Verdict.NO:
        speed = estimate_speed(plan, hardware, placement, context=fit.context, kv_type=fit.kv_type,
                               calibration=calibration, generation=measured[0], prompt=measured[1])  # fmt: skip
    if fit.verdict is Verdict.SPLITS:
        slowdown = _slowdown(plan, hardware, fit, placement, calibration)
    return Answer(
        plan,
        fit,
        advise(plans, hardware, chosen, context=within, kv_type=kv_type, want=want, asked=context),
        placement,
        speed,
        slowdown,
        longest_context(plan, hardware, kv_type=fit.kv_type),
        counterfactuals_of(plans, hardware, about, want=want),
        arithmetic_of(plan, fit),
        run_lines(plan, layers, placement, path=path),
    )


def _slowdown(plan: Plan, hardware: Hardware, fit: Fit, placement: Placement, calibration: Calibration | None) -> float:
    """How many times longer a token takes than with every layer on a GPU of that bandwidth."""
    whole = replace(placement, gpu_layers=placement.blocks + 1, host_experts=0)
    rates = [
        estimate_speed(plan, hardware, where, context=fit.context, kv_type=fit.kv_type, calibration=calibration)
        for where in (placement, whole)
    ]
    return rates[1].generation.likely / rates[0].generation.likely


def _about(
    plans: Sequence[Plan], hardware: Hardware, chosen: Choice | None, *, context: int, kv_type: str, level: str
) -> Choice:
    """The level that was asked about; where nothing runs, the smallest that can be made of the model alone."""
    if chosen is not None and level in ("", chosen.plan.recipe.name):
        return chosen
    named = [plan for plan in plans if plan.recipe.name == level]
    plan = named[0] if named else least_of(plans)
    return Choice(plan, estimate_fit(plan, hardware, context=context, kv_type=kv_type))


@dataclass(frozen=True)
class Grid:
    """Level x context x cache: a fit for each cell."""

    levels: tuple[str, ...]
    contexts: tuple[int, ...]
    kv_types: tuple[str, ...]
    cells: Mapping[tuple[str, int, str], Fit]


def verdict_grid(
    plans: Iterable[Plan],
    hardware: Hardware,
    *,
    contexts: Sequence[int] = CONTEXTS,
    kv_types: Sequence[str] = GRID_KV_TYPES,
) -> Grid:
    """Every cell judged. Contexts beyond what the model was trained for are judged as any other."""
    plans = tuple(plans)
    cells = {
        (plan.recipe.name, context, kv_type): estimate_fit(plan, hardware, context=context, kv_type=kv_type)
        for plan in plans
        for context in contexts
        for kv_type in kv_types
    }
    return Grid(tuple(plan.recipe.name for plan in plans), tuple(contexts), tuple(kv_types), cells)
