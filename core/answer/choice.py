"""The choice of level, cache and context for what a person wants: the first that runs, in the order of the evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from core.answer.recommend import ADVISED, LAST_RESORT, Want, can_be_made, good_formats, preferences, trained_in
from core.fit import Fit, Verdict, estimate_fit
from core.hardware import Hardware
from core.memory import CELL
from core.plan import Plan, make_plan, make_plans
from core.recipes import RECIPES
from core.stored import is_stored

if TYPE_CHECKING:
    from core.imatrix import ImportanceMatrix
    from core.model import ModelInfo

WHOLE = frozenset({Verdict.FITS, Verdict.TIGHT})
RUNS = WHOLE | {Verdict.SPLITS}
PLAIN_CACHES = ("f32", "f16", "bf16")
FREE_CACHE = "q8_0"
_BEST_FIRST = (Verdict.FITS, Verdict.TIGHT, Verdict.SPLITS)
_UNKNOWN_LIMIT = 131072


@dataclass(frozen=True)
class Choice:
    """A level, and how it does with a context and a cache."""

    plan: Plan
    fit: Fit


def judged_context(model: ModelInfo, context: int, *, limit: int = 0) -> int:
    """With how much of the `context` wanted a model is judged: at most `limit`, or what it was trained for."""
    return min(context, limit or int(model.key("context_length", 0) or context))


def judged_with(fit: Fit, *, context: int, kv_type: str) -> str:
    """A sentence on a fit with another context or cache than these, which were wanted; empty where it has them."""
    all_of_it = " (all that it was trained for)" if fit.context < context else ""
    other = [f"{fit.context:,} tokens of context{all_of_it}"] if fit.context != context else []
    other += [f"the cache in {fit.kv_type}"] if fit.kv_type != kv_type else []
    return f" Judged with {' and '.join(other)}." if other else ""


def choose(
    plans: Sequence[Plan],
    hardware: Hardware,
    *,
    context: int,
    kv_type: str = "f16",
    want: Want = Want.BALANCED,
    limit: int = 0,
) -> Choice | None:
    """What to take, None where nothing runs. A cache in q8_0, which costs nothing, comes before a lower level.

    Judged with no more context than `limit`, or what the model was trained for. With the longest context wanted,
    `context` is the least that will do. A level that needs an importance matrix counts where its plan has one, and a
    file as it is always.
    """
    levels = {plan.recipe.name: plan for plan in plans if is_stored(plan) or can_be_made(plan)}
    if not levels:
        return None
    within = judged_context(plans[0].model, context, limit=limit)
    asked = _Asked(plans[0].model, hardware, within, kv_type, want)
    return _choose(asked, levels.get, stored=[name for name, plan in levels.items() if is_stored(plan)])


class Levels:
    """The levels of `model`, or those `names`, each planned when it is asked for first: few come into question."""

    def __init__(
        self, model: ModelInfo, *, names: Collection[str] = (), importance: ImportanceMatrix | None = None
    ) -> None:
        self.model, self._importance = model, importance
        self._recipes = {recipe.name: recipe for recipe in RECIPES if not names or recipe.name in names}
        self._plans: dict[str, Plan] = {}

    def plan(self, name: str) -> Plan | None:
        """None for a level that is not among them."""
        if name not in self._plans and name in self._recipes:
            self._plans[name] = make_plan(self.model, self._recipes[name], importance=self._importance)
        return self._plans.get(name)

    def all(self) -> list[Plan]:
        """Best quality first."""
        missing = [recipe for name, recipe in self._recipes.items() if name not in self._plans]
        self._plans |= {plan.recipe.name: plan for plan in make_plans(self.model, missing, importance=self._importance)}
        return [self._plans[name] for name in self._recipes]


def choose_among(
    levels: Levels, hardware: Hardware, *, context: int, kv_type: str = "f16", want: Want = Want.BALANCED
) -> Choice | None:
    """The same as `choose` of all `levels`, and quicker: only those that come into question are planned."""

    def plan_of(name: str) -> Plan | None:
        plan = levels.plan(name)
        return plan if plan and can_be_made(plan) else None

    within = judged_context(levels.model, context)
    return _choose(_Asked(levels.model, hardware, within, kv_type, want), plan_of)


@dataclass(frozen=True)
class _Asked:
    model: ModelInfo
    hardware: Hardware
    context: int
    kv_type: str
    want: Want


def _choose(asked: _Asked, plan_of: Callable[[str], Plan | None], stored: Sequence[str] = ()) -> Choice | None:
    """The first that runs as the order of preference says; levels are planned and judged when their turn comes."""
    if asked.want is Want.LONGEST_CONTEXT:
        longest = _longest(asked, plan_of, stored)
        if longest is not None:
            return longest
    kv_types = (asked.kv_type, FREE_CACHE) if asked.kv_type in PLAIN_CACHES else (asked.kv_type,)

    @cache
    def judged(name: str, kv_type: str) -> Choice | None:
        plan = plan_of(name)
        fit = estimate_fit(plan, asked.hardware, context=asked.context, kv_type=kv_type) if plan else None
        return Choice(plan, fit) if plan and fit else None

    order = preferences(asked.model, context=asked.context, want=asked.want)
    order += [(name, verdict) for verdict in _BEST_FIRST for name in stored]
    tries = ((judged(name, kv_type), verdict) for name, verdict in order for kv_type in kv_types)
    return next((found for found, verdict in tries if found and found.fit.verdict is verdict), None)


def least_level(levels: Levels) -> Plan:
    """The smallest level that is worth a try, without planning the others."""
    return levels.plan((*trained_in(levels.model), LAST_RESORT)[0]) or least_of(levels.all())


def least_of(plans: Sequence[Plan]) -> Plan:
    """The smallest level that is worth a try; of none such, the smallest of all."""
    names = trained_in(plans[0].model) or (*ADVISED, LAST_RESORT)
    useful = [plan for plan in plans if plan.recipe.name in names and can_be_made(plan)]
    return min(useful or plans, key=lambda plan: plan.tensor_bytes)


def _longest(asked: _Asked, plan_of: Callable[[str], Plan | None], stored: Sequence[str]) -> Choice | None:
    """The good level with the most context that runs whole, with room to spare if one does; of equals the best one."""
    cache_type = FREE_CACHE if asked.kv_type in PLAIN_CACHES else asked.kv_type
    good = trained_in(asked.model) or good_formats(
        asked.model.parameters, context=asked.context, want=Want.LONGEST_CONTEXT
    )
    plans = [plan for plan in map(plan_of, (*stored, *reversed(good))) if plan]
    best: Choice | None = None
    for verdicts in (frozenset({Verdict.FITS}), WHOLE):
        for plan in plans:
            most = longest_context(plan, asked.hardware, kv_type=cache_type, verdicts=verdicts)
            if most >= asked.context and (best is None or most > best.fit.context):
                best = Choice(plan, estimate_fit(plan, asked.hardware, context=most, kv_type=cache_type))
        if best is not None:
            break
    return best


def longest_context(
    plan: Plan, hardware: Hardware, *, kv_type: str, verdicts: Collection[Verdict] = WHOLE, limit: int = 0
) -> int:
    """The most tokens, in steps of 256, with such a verdict: at most `limit`, or what the model was trained for."""
    most = (limit or int(plan.model.key("context_length", 0) or _UNKNOWN_LIMIT)) // CELL
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        verdict = estimate_fit(plan, hardware, context=middle * CELL, kv_type=kv_type).verdict
        low, high = (middle, high) if verdict in verdicts else (low, middle - 1)
    return low * CELL
