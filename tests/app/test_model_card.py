"""What is made of a card that a stranger wrote."""

from __future__ import annotations

import pytest

from app.model_card import MOST_CARD, ModelCard, read_model_card, without_pictures


@pytest.mark.parametrize(
    ("card", "shown"),
    [
        ("---\nlicense: mit\n---\n# M", "# M"),
        ("a<script>alert(1)</script>b", "ab"),
        ('<div align="center">hello</div>', "hello"),
        ("![logo](https://example.com/x.png) and ![](y.png)", "[logo] and"),
        ('<img src="x.png" alt="a [logo]"> <IMG alt=\'two\'>', "[a  logo] [two]"),
        ("one<!-- two -->\n\n\n\n\nthree", "one\n\nthree"),
        ("2 < 3 and 4 > 1", "2 < 3 and 4 > 1"),
    ],
)
def test_a_card_becomes_words(card: str, shown: str) -> None:
    assert read_model_card(card).text == shown


def test_a_long_card_ends_with_a_word_about_it() -> None:
    text = read_model_card("word " * 100_000).text
    assert len(text) < MOST_CARD + 100
    assert text.endswith("*The card goes on on its page.*")


def test_pictures_of_the_model_are_marked_and_others_are_only_counted() -> None:
    text = "![a](one.png) ![b](https://example.com/two.png) <img src='one.png' alt='c'> ![d](three.png \"title\")"
    card = read_model_card(text, lambda address: address if "example" not in address else "")
    assert card == ModelCard(
        "![a](picture:0) [b] ![c](picture:0) ![d](picture:1)", ("one.png", "three.png"), elsewhere=1
    )
    assert without_pictures(card.text) == "[a] [b] [c] [d]"
    assert without_pictures(card.text, frozenset({1})) == "[a] [b] [c] ![d](picture:1)"
