"""The choice of level, cache and context for what a person wants: the first that runs, in the order of the evidence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.fit import Fit, Verdict, estimate_fit
from core.hardware import Hardware
from core.memory import CELL
from core.recommend import ADVISED, LAST_RESORT, Want, good_formats, preferences

if TYPE_CHECKING:
    from core.plan import Plan

WHOLE = frozenset({Verdict.FITS, Verdict.TIGHT})
RUNS = WHOLE | {Verdict.SPLITS}
PLAIN_CACHES = ("f32", "f16", "bf16")
FREE_CACHE = "q8_0"
_UNKNOWN_LIMIT = 131072


@dataclass(frozen=True)
class Choice:
    """A level, and how it does with a context and a cache."""

    plan: Plan
    fit: Fit


def choose(
    plans: Sequence[Plan], hardware: Hardware, *, context: int, kv_type: str = "f16", want: Want = Want.BALANCED
) -> Choice | None:
    """What to take, None where nothing runs. A cache in q8_0, which costs nothing, comes before a lower level.

    With the longest context wanted, `context` is the least that will do.
    """
    ready = [plan for plan in plans if not plan.recipe.needs_importance]
    if not ready:
        return None
    if want is Want.LONGEST_CONTEXT:
        longest = _longest(ready, hardware, context=context, kv_type=kv_type)
        if longest is not None:
            return longest
    kv_types = (kv_type, FREE_CACHE) if kv_type in PLAIN_CACHES else (kv_type,)
    found: dict[tuple[str, Verdict], Choice] = {}
    for cache in kv_types:
        for plan in ready:
            fit = estimate_fit(plan, hardware, context=context, kv_type=cache)
            found.setdefault((plan.recipe.name, fit.verdict), Choice(plan, fit))
    order = preferences(ready[0].model, [plan.recipe.name for plan in ready], context=context, want=want)
    return next((found[step] for step in order if step in found), None)


def least_of(plans: Sequence[Plan]) -> Plan:
    """The smallest level that is worth a try; of none such, the smallest of all."""
    useful = [
        plan for plan in plans if plan.recipe.name in (*ADVISED, LAST_RESORT) and not plan.recipe.needs_importance
    ]
    return min(useful or plans, key=lambda plan: plan.tensor_bytes)


def _longest(plans: Sequence[Plan], hardware: Hardware, *, context: int, kv_type: str) -> Choice | None:
    """The good level with the most context that runs whole, with room to spare if one does; of equals the best one."""
    cache = FREE_CACHE if kv_type in PLAIN_CACHES else kv_type
    good = good_formats(plans[0].model.parameters, context=context, want=Want.LONGEST_CONTEXT)
    best: Choice | None = None
    for verdicts in (frozenset({Verdict.FITS}), WHOLE):
        for plan in (plan for name in reversed(good) for plan in plans if plan.recipe.name == name):
            most = longest_context(plan, hardware, kv_type=cache, verdicts=verdicts)
            if most >= context and (best is None or most > best.fit.context):
                best = Choice(plan, estimate_fit(plan, hardware, context=most, kv_type=cache))
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
