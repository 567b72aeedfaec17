"""The recommendation in words: what to take, why, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.choice import Choice
from core.hardware import Hardware
from core.recommend import Want

if TYPE_CHECKING:
    from core.plan import Plan


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
    plans: Sequence[Plan], hardware: Hardware, chosen: Choice | None, *, context: int, kv_type: str, want: Want
) -> Advice:
    """The words for `chosen` of `plans`; for a None why nothing runs."""
    if chosen is None:
        return Advice("", context, kv_type, want, ("Nothing fits.",))
    return Advice(chosen.plan.recipe.name, chosen.fit.context, chosen.fit.kv_type, want, (chosen.fit.reason,))
