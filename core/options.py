"""The table of the page Make: every recipe with its exact size, the memory it needs and a verdict, one recommended."""

from __future__ import annotations

from dataclasses import dataclass

from core.fit import Fit, estimate_fit
from core.hardware import Hardware
from core.imatrix import ImportanceMatrix
from core.model import ModelInfo
from core.plan import Plan, make_plans
from core.recipes import RECIPES, Recipe
from core.recommend import Want, recommend


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
        return self.recipe.needs_importance and self.plan.importance is None


def options_for(
    model: ModelInfo,
    hardware: Hardware,
    *,
    context: int = 4096,
    importance: ImportanceMatrix | None = None,
    kv_type: str = "f16",
    want: Want = Want.BALANCED,
) -> list[Option]:
    """Every recipe for `model` on `hardware`, best quality first; also those that need an importance matrix."""
    plans = make_plans(model, RECIPES, importance=importance)
    fits = [estimate_fit(plan, hardware, context=context, kv_type=kv_type) for plan in plans]
    chosen = recommend(plans, fits, want=want)
    return [
        Option(plan, fit, reason=fit.reason, recommended=index == chosen)
        for index, (plan, fit) in enumerate(zip(plans, fits, strict=True))
    ]
