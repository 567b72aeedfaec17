"""The columns of the table on the page Make: one row a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import words
from app.tables.row_model import Column

if TYPE_CHECKING:
    from core import Fit, Option

_ORDER = ("fits", "tight", "splits", "no")


def verdict_order(option: Option) -> int:
    return _ORDER.index(option.fit.verdict)


def sum_of(option: Option) -> str:
    """How the memory is worked out: a line for each part, then every byte that counts against the limit."""
    import core

    fit = option.fit
    said = [f"{part.name.capitalize()}: {part.words}" for part in core.arithmetic_of(option.plan, fit).parts]
    return "\n".join([*said, "", *_bytes_of(fit)])


def _bytes_of(fit: Fit) -> list[str]:
    parts = (("Weights", fit.weights), ("KV cache", fit.kv), ("Compute", fit.compute), ("Overhead", fit.overhead))
    lines = [f"{name}: {words.exact(count)}" for name, count in parts]
    return [*lines, f"Together: {words.exact(fit.total)}", f"Usable: {words.exact(fit.budget)} ({fit.place})"]


OPTION_COLUMNS: tuple[Column[Option], ...] = (
    Column(
        "Quantization",
        lambda option: option.recipe.name,
        200,
        tooltip=lambda option: option.recipe.summary,
        spoken=lambda option: f"{option.recipe.name}, recommended" if option.recommended else option.recipe.name,
        strong=lambda option: True,
        badge=lambda option: "Recommended" if option.recommended else "",
    ),
    Column(
        "File size",
        lambda option: words.size(option.plan.file_bytes),
        84,
        sort=lambda option: option.plan.file_bytes,
        tooltip=lambda option: words.exact(option.plan.file_bytes),
        right=True,
    ),
    Column(
        "Bits a weight",
        lambda option: f"{option.plan.bits_per_weight:.2f}",
        96,
        sort=lambda option: option.plan.bits_per_weight,
        right=True,
    ),
    Column(
        "Memory",
        lambda option: words.size(option.fit.total),
        84,
        sort=lambda option: option.fit.total,
        tooltip=sum_of,
        right=True,
    ),
    Column(
        "Verdict",
        lambda option: option.fit.verdict.capitalize(),
        88,
        sort=verdict_order,
        tooltip=lambda option: option.reason,
        chip=lambda option: str(option.fit.verdict),
    ),
    Column("Why", lambda option: option.fit.reason, 200, tooltip=lambda option: option.reason, stretch=True),
)
