"""The columns of the page Fit: one row a model, with the level that suits this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import words
from app.tables.row_model import Column

if TYPE_CHECKING:
    from app.pages.fit_answers import Judged

_ORDER = ("fits", "tight", "splits", "no")
# What a narrow window can do without.
SPARE = ("Where", "Weights")


def _in_thousands(count: int) -> str:
    """Rounded down, for so much is sure: the tooltip has the number."""
    return f"{count // 1024}K" if count >= 1024 else str(count)


FIT_COLUMNS: tuple[Column[Judged], ...] = (
    Column(
        "Model",
        lambda row: row.name,
        200,
        tooltip=lambda row: "\n".join(filter(None, (words.path(row.key), row.wanted.note))),
        spoken=lambda row: f"{row.name}, rank {row.rank}",
        strong=lambda row: True,
        stretch=True,
    ),
    Column("Where", lambda row: row.wanted.where, 116),
    Column(
        "Weights",
        lambda row: words.parameters(row.parameters),
        104,
        sort=lambda row: row.parameters,
        right=True,
    ),
    Column("Level", lambda row: row.level, 96, sort=lambda row: row.quality, tooltip=lambda row: row.why),
    Column(
        "Verdict",
        lambda row: row.fit.verdict.capitalize(),
        88,
        sort=lambda row: _ORDER.index(row.fit.verdict),
        tooltip=lambda row: row.fit.reason,
        chip=lambda row: str(row.fit.verdict),
    ),
    Column(
        "Memory",
        lambda row: words.size(row.fit.total),
        84,
        sort=lambda row: row.fit.total,
        tooltip=lambda row: row.sum_line,
        right=True,
    ),
    Column(
        "Tokens/s",
        lambda row: row.speed_short,
        116,
        sort=lambda row: row.speed_likely,
        tooltip=lambda row: row.speed_in_words,
        right=True,
    ),
    Column(
        "Context up to",
        lambda row: _in_thousands(row.largest) if row.largest else "none whole",
        104,
        sort=lambda row: row.largest,
        tooltip=lambda row: (
            f"{words.tokens(row.largest)} at this level run on this machine"
            if row.largest
            else "At this level it runs in part on the GPU, or not at all"
        ),
        right=True,
    ),
)
