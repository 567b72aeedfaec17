"""Tokens with their types and scores: one for every row of the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from core.errors import SnugError
from core.model import Metadata
from core.tokenizer.rules import TokenizerRules


class TokenType(IntEnum):
    """GGUF's numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    type: TokenType = TokenType.NORMAL
    score: float = 0.0


_LOOK_SPECIAL = ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
_LOOK_SPECIAL_ENDS = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))
ADDED_SCORE = -1000.0
_PADDING_SCORE = -10000.0


def added_token(text: str, *, special: bool) -> Token:
    """A token added to a trained vocabulary: control if it is special or looks it, else text that is never split."""
    if special or text in _LOOK_SPECIAL or any(text.startswith(a) and text.endswith(b) for a, b in _LOOK_SPECIAL_ENDS):
        return Token(text, TokenType.CONTROL, ADDED_SCORE)
    return Token(text.replace("\u2581", " "), TokenType.USER_DEFINED, ADDED_SCORE)


def plain_added_token(text: str, *, special: bool) -> Token:
    """The same by the word of the file alone."""
    return Token(text, TokenType.CONTROL if special else TokenType.USER_DEFINED, ADDED_SCORE)


def is_special(token: Mapping[str, Any]) -> bool:
    return bool(token.get("special"))


def made_visible(token: Token, visible: tuple[str, ...]) -> Token:
    return replace(token, type=TokenType.USER_DEFINED) if token.text in visible else token


def check_rows(tokens: dict[int, Token], rows: int) -> None:
    """Raises SnugError when a token by id has no row in the embedding."""
    if tokens and max(tokens) >= rows:
        raise SnugError(
            f"The tokenizer has a token number {max(tokens)}, but the model's embedding has {rows} rows.",
            "Tokenizer and weights do not belong together: download both from the same repository.",
        )


def fill(tokens: dict[int, Token], rows: int) -> list[Token]:
    """`tokens` by id as a list of `rows`, gaps filled with unused ones. Raises SnugError for an id beyond the rows.

    llama.cpp takes no text twice: of two equal ones the added token stays, which is the one that is found in a text.
    """
    check_rows(tokens, rows)
    ids: dict[str, int] = {}
    for number, token in tokens.items():
        if token.text not in ids or token.type in (TokenType.CONTROL, TokenType.USER_DEFINED):
            ids[token.text] = number
    kept = {number: tokens[number] for number in ids.values()}
    return [kept.get(n) or Token(f"[PAD{n}]", TokenType.UNUSED, _PADDING_SCORE) for n in range(rows)]


def head_keys(model: str, pre: str) -> list[Metadata]:
    return [Metadata("tokenizer.ggml.model", "str", model), Metadata("tokenizer.ggml.pre", "str", pre)]


def text_key(tokens: list[Token]) -> Metadata:
    return Metadata("tokenizer.ggml.tokens", "[str]", [token.text for token in tokens])


def score_key(tokens: list[Token]) -> Metadata:
    return Metadata("tokenizer.ggml.scores", "[f32]", [token.score for token in tokens])


def type_key(tokens: list[Token]) -> Metadata:
    return Metadata("tokenizer.ggml.token_type", "[i32]", [int(token.type) for token in tokens])


def merges_key(merges: list[str]) -> Metadata:
    return Metadata("tokenizer.ggml.merges", "[str]", merges)


def type_count_keys(config: Mapping[str, Any], rules: TokenizerRules) -> list[Metadata]:
    """token_type_count, for families that tell a first text from a second."""
    if rules.type_count is None:
        return []
    count = config.get("type_vocab_size", 1) if rules.type_count == "config" else rules.type_count
    return [Metadata("tokenizer.ggml.token_type_count", "u32", count)]
