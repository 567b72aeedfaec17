"""Which recipe to take: the best that runs well here, by what is known of the loss at each level and model size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from core.fit import Fit, Verdict

if TYPE_CHECKING:
    from core.plan import Plan

_LAST = ("Q2_K",)

# (fewer parameters than, formats that keep a model of that size good, first choice first).
_GOOD: tuple[tuple[float, tuple[str, ...]], ...] = (
    (3e9, ("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M")),
    (10e9, ("Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q8_0")),
    (30e9, ("Q5_K_M", "Q5_K_S", "Q4_K_M", "Q6_K", "Q8_0")),
    (65e9, ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0")),
    (float("inf"), ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0")),
)
# Below that: still usable, best first; K-quants before the older formats of the same size.
_USABLE = (
    "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_1", "Q4_0",
    "MXFP4_MOE", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS",
)  # fmt: skip


def recommend(plans: Sequence[Plan], fits: Sequence[Fit]) -> int | None:
    """The index of the recipe to take, or None when none runs.

    A good format that fits comes before one that is tight; both before a lower format; that before splitting; and
    two bits a weight come last. Never recommended are unquantized files, what needs an importance matrix, and formats
    for models trained in them.
    """
    if not plans:
        return None
    good = next(names for limit, names in _GOOD if plans[0].model.parameters < limit)
    low = tuple(name for name in _USABLE if name not in good)
    last = tuple(dict.fromkeys(plan.recipe.name for plan in plans if plan.recipe.name.startswith(_LAST)))
    running = (Verdict.FITS, Verdict.TIGHT)
    steps = [(names, verdict) for names in (good, low) for verdict in running]
    steps += [(names, Verdict.SPLITS) for names in (good, low)]
    steps += [(last, verdict) for verdict in (*running, Verdict.SPLITS)]
    wanted = [(name, verdict) for names, verdict in steps for name in names]
    have = {(plan.recipe.name, fit.verdict): i for i, (plan, fit) in _makeable(plans, fits)}
    return next((have[choice] for choice in wanted if choice in have), None)


def _makeable(plans: Sequence[Plan], fits: Sequence[Fit]) -> Iterator[tuple[int, tuple[Plan, Fit]]]:
    """Those that need nothing but the model, with their index."""
    numbered = enumerate(zip(plans, fits, strict=True))
    return ((i, (plan, fit)) for i, (plan, fit) in numbered if not plan.recipe.needs_importance)
