from __future__ import annotations

from dataclasses import replace

import pytest

from app.tables.hub_columns import (
    FOUND_COLUMNS,
    HubRow,
    amount,
    best_in_short,
    best_in_words,
    parameters_in_short,
    parameters_in_words,
    row_from,
)

GLANCE = {
    "supported": True,
    "reason": "Needs 5 GB.",
    "level": "Q4_K_M",
    "verdict": "fits",
    "file_bytes": 4_900_000_000,
    "parameters": 30_500_000_000,
    "active_parameters": 3_300_000_000,
}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, ""), (5, "5"), (999_600, "1.0M"), (494_000_000, "494M"), (8_030_000_000, "8.0B"), (671 * 10**9, "671B")],
)
def test_amounts_are_short(number: int, text: str) -> None:
    assert amount(number) == text


def test_headers_say_more_than_the_hub() -> None:
    row = HubRow("org/m", parameters=1)
    assert (parameters_in_short(row), best_in_short(row), row.verdict) == ("1", "…", "")
    known = replace(row, glance=GLANCE)
    assert parameters_in_short(known) == "30.5B, 3.3B active"
    assert parameters_in_words(known).startswith("30,500,000,000 parameters, of which a token meets 3,300,000,000")
    assert (best_in_short(known), known.verdict) == ("Q4_K_M, 4.9 GB", "fits")


def test_what_cannot_be_or_cannot_be_seen_says_why() -> None:
    refused = HubRow("org/m", glance={**GLANCE, "supported": False, "reason": "XForAll is not known."})
    assert (best_in_short(refused), best_in_words(refused), refused.verdict) == (
        "–",
        "XForAll is not known.",
        "unsupported",
    )
    hidden = HubRow("org/m", trouble="You are not logged in.")
    assert (best_in_short(hidden), best_in_words(hidden)) == ("not known", "You are not logged in.")
    small = HubRow("org/m", glance={**GLANCE, "verdict": "no"})
    assert best_in_words(small) == "Even Q4_K_M does not fit: Needs 5 GB."


def test_a_row_of_a_search_takes_what_it_knows_and_every_column_has_words_for_it() -> None:
    row = row_from({"id": "org/m", "downloads": 5, "gated": "auto", "library": "x"})
    assert "5" in [column.text(row) for column in FOUND_COLUMNS]
    assert FOUND_COLUMNS[0].badge is not None
    assert FOUND_COLUMNS[0].badge(row) == "Gated"
