"""The table of the page Make: every recipe with its exact size, the memory it needs and a verdict, one recommended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.answer.choice import Choice, choose, judged_context, judged_with
from core.answer.placement import as_placed, place_model
from core.answer.recommend import Want, can_be_made
from core.fit import Fit, estimate_fit
from core.hardware import Hardware
from core.imatrix import ImportanceMatrix
from core.model import ModelInfo
from core.plan import Plan, make_plans
from core.recipes import RECIPES, Recipe


@dataclass(frozen=True)
class Option:
    """One row. `reason` is a sentence for people; `recommended` is true for one row at most."""

    plan: Plan
    fit: Fit
    reason: str
    recommended: bool

    @property
    def recipe(self) -> Recipe:
        return self.plan.recipe

    @property
    def lacks_importance(self) -> bool:
        """Whether it cannot be made until there is an importance matrix."""
        return not can_be_made(self.plan)


def options_for(
    model: ModelInfo,
    hardware: Hardware,
    *,
    context: int = 4096,
    importance: ImportanceMatrix | None = None,
    kv_type: str = "f16",
    want: Want = Want.BALANCED,
    limit: int = 0,
) -> list[Option]:
    """Every recipe for `model` on `hardware`, best quality first; also those that need an importance matrix.

    What is recommended is what `choose` chooses, here as everywhere; `limit` is its limit of the context.
    """
    plans = make_plans(model, RECIPES, importance=importance)
    return options_of(plans, hardware, context=context, kv_type=kv_type, want=want, limit=limit)


def options_of(
    plans: Sequence[Plan],
    hardware: Hardware,
    *,
    context: int,
    kv_type: str = "f16",
    want: Want = Want.BALANCED,
    limit: int = 0,
) -> list[Option]:
    """The same of plans that are there already: they do not change with the context or the machine."""
    chosen = choose(plans, hardware, context=context, kv_type=kv_type, want=want, limit=limit)
    return [_option(plan, chosen, hardware, context=context, kv_type=kv_type, limit=limit) for plan in plans]


def _option(plan: Plan, chosen: Choice | None, hardware: Hardware, *, context: int, kv_type: str, limit: int) -> Option:
    """The recommended one is judged as it is recommended: with more context than asked, or another cache."""
    is_chosen = chosen is not None and chosen.plan is plan
    within = judged_context(plan.model, context, limit=limit)
    fit = chosen.fit if chosen and is_chosen else estimate_fit(plan, hardware, context=within, kv_type=kv_type)
    fit = as_placed(fit, place_model(plan, hardware, fit), hardware)
    other = judged_with(fit, context=context, kv_type=kv_type if is_chosen else fit.kv_type)
    return Option(plan, fit, fit.reason + other, is_chosen)
