"""The process that asks the Hub, by its lines, and what it makes of a card."""

from __future__ import annotations

import io
import json
import time

import pytest

from app.hub_desk import MOST_CARD, Desk, readable_card


def lines(out: io.StringIO, count: int) -> list[dict[str, object]]:
    end = time.monotonic() + 10
    while out.getvalue().count("\n") < count and time.monotonic() < end:
        time.sleep(0.01)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("card", "shown"),
    [
        ("---\nlicense: mit\n---\n# M", "# M"),
        ("a<script>alert(1)</script>b", "ab"),
        ('<div align="center">hello</div>', "hello"),
        ("![logo](https://example.com/x.png) and ![](y.png)", "[logo] and"),
        ("one<!-- two -->\n\n\n\n\nthree", "one\n\nthree"),
        ("2 < 3 and 4 > 1", "2 < 3 and 4 > 1"),
    ],
)
def test_a_card_becomes_words(card: str, shown: str) -> None:
    assert readable_card(card) == shown


def test_a_long_card_ends_with_a_word_about_it() -> None:
    text = readable_card("word " * 100_000)
    assert len(text) < MOST_CARD + 100
    assert text.endswith("*The card goes on on its page.*")


def test_a_request_that_makes_no_sense_is_a_problem_with_its_number() -> None:
    out = io.StringIO()
    Desk(out).take('{"id": 7, "ask": "model", "with": {"source": "../etc"}}')
    (said,) = lines(out, 1)
    assert said["id"] == 7
    assert "no name of a model" in str(said["problem"])


def test_what_is_said_about_a_request_that_has_ended_does_nothing() -> None:
    out = io.StringIO()
    Desk(out).take('{"id": 9, "say": "cancel"}')
    assert out.getvalue() == ""
