"""What would change the answer, each tried before it is said: memory freed, less context, another cache, more RAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from core.choice import Choice
from core.hardware import Hardware
from core.recommend import Want

if TYPE_CHECKING:
    from core.fit import Fit
    from core.plan import Plan


class Change(StrEnum):
    """What is changed."""

    FREE_MEMORY = "free memory"
    CONTEXT = "context"
    CACHE = "cache"
    LEVEL = "level"
    RAM = "ram"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """`words` is a whole sentence. `fit` is how `recipe` does then; `amount` bytes or tokens are what is changed."""

    change: Change
    words: str
    recipe: str
    fit: Fit
    amount: int


def counterfactuals_of(
    plans: Sequence[Plan], hardware: Hardware, about: Choice, *, want: Want = Want.BALANCED
) -> tuple[Counterfactual, ...]:
    """At most a handful, the easiest first."""
    return ()
