"""WordPiece vocabularies (BERT), in the form that llama.cpp wants: a word's first piece has a blank in front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.model import Metadata
from core.tokenizer.files import TokenizerFiles
from core.tokenizer.rules import TokenizerRules
from core.tokenizer.vocabulary import (
    Token,
    TokenType,
    added_token,
    fill,
    head_keys,
    is_special,
    text_key,
    type_count_keys,
    type_key,
)

_SPACE = "\u2581"
_INSIDE = "##"  # the mark of a piece inside a word
_PRE = "jina-v2-en"  # of no meaning for WordPiece; what the converter writes


def read_words(files: TokenizerFiles, config: Mapping[str, Any], rows: int, rules: TokenizerRules) -> list[Metadata]:
    """Keys of the vocabulary."""
    tokens = {number: Token(text) for text, number in files.tokenizer["model"]["vocab"].items()}
    for token in files.added_tokens:
        tokens[token["id"]] = added_token(token["content"], special=is_special(token))
    filled = [_with_blank(token) for token in fill(tokens, rows)]
    return [*type_count_keys(config, rules), *head_keys("bert", _PRE), text_key(filled), type_key(filled)]


def _with_blank(token: Token) -> Token:
    if token.type is TokenType.CONTROL:
        return token
    is_inside = token.text.startswith(_INSIDE)
    return replace(token, text=token.text.removeprefix(_INSIDE) if is_inside else _SPACE + token.text)
