"""SentencePiece BPE vocabularies: from tokenizer.model, or from a byte-fallback BPE in tokenizer.json."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.model import Metadata
from core.tokenizer.byte_level import spelled_merges, tokens_of
from core.tokenizer.files import TokenizerFiles
from core.tokenizer.piece_file import read_piece_file
from core.tokenizer.rules import TokenizerRules
from core.tokenizer.vocabulary import (
    ADDED_SCORE,
    Token,
    TokenType,
    added_token,
    check_rows,
    fill,
    head_keys,
    is_special,
    made_visible,
    merges_key,
    plain_added_token,
    score_key,
    text_key,
    type_key,
)

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "\u2581"
_RAW, _RAW_AFTER_BLANK = "granite-embed-multi-311m", "mmbert"  # llama.cpp's names for no splitting of raw letters
_NUL = "\0"
_NUL_STAND_IN = "🐉"  # llama.cpp's strings end at a NUL; its converter writes this instead


def read_model_pieces(file: Path, files: TokenizerFiles, rows: int, rules: TokenizerRules) -> list[Metadata]:
    """Keys of the vocabulary in a SentencePiece model, with what the JSON files add to it."""
    model = read_piece_file(file)
    tokens = dict(enumerate(_usable(piece, rules) for piece in model.pieces))
    check_rows(tokens, rows)
    # A token beyond the embedding could never be used: fine-tunes often list one, and the converter passes over it too.
    tokens.update((n, token) for n, token in _added(files, rules) if n < rows)
    keys = _keys(fill(tokens, rows))
    if rules.space_prefix == "model":
        keys.append(Metadata("tokenizer.ggml.add_space_prefix", "bool", model.dummy_prefix))
    return keys


def read_json_pieces(files: TokenizerFiles, rows: int) -> list[Metadata]:
    """Keys of a byte-fallback BPE. A piece scores minus the rank of the merge that makes it.

    That is what SentencePiece's own files hold, so llama.cpp merges in the order of the original tokenizer; its
    converter writes -1000 everywhere and loses the order.
    """
    model = files.tokenizer["model"]
    ranks = _merge_ranks(model["merges"])
    last = len(model["merges"])
    tokens = {n: _piece(text, ranks.get(text, last), model.get("unk_token")) for text, n in model["vocab"].items()}
    check_rows(tokens, rows)
    added = [(model["vocab"].get(t["content"], t["id"]), _plain(t)) for t in files.added_tokens]
    tokens.update((n, token) for n, token in (*added, *_config_added(files, _plain)) if n < rows)
    keys = _keys(fill(tokens, rows))
    if not _prepends_space(files.tokenizer):
        keys.append(Metadata("tokenizer.ggml.add_space_prefix", "bool", False))
    return keys


def read_raw_pieces(files: TokenizerFiles, rows: int, rules: TokenizerRules) -> list[Metadata]:
    """Keys of a byte-fallback BPE for a runner that merges raw letters by rank: no score says anything."""
    merges = merges_key(spelled_merges(files.tokenizer["model"]["merges"]))
    if not rules.model:
        plain = fill(tokens_of(files, rows, rules), rows)
        return [
            *head_keys("gpt2", _RAW_AFTER_BLANK if _prepends_space(files.tokenizer) else _RAW),
            text_key(plain),
            type_key(plain),
            merges,
        ]
    vocabulary = files.tokenizer["model"]["vocab"]
    tokens = {n: replace(_piece(text, 0, None), score=ADDED_SCORE) for text, n in vocabulary.items()}
    for token in files.added_tokens:
        if is_special(token) or token["id"] not in tokens:
            tokens[token["id"]] = _plain(token)
    filled = fill({n: made_visible(token, rules.visible) for n, token in tokens.items()}, rows)
    head = Metadata("tokenizer.ggml.model", "str", rules.model)
    return [head, text_key(filled), score_key(filled), type_key(filled), merges]


def _usable(piece: Token, rules: TokenizerRules) -> Token:
    """InternLM 2 has a piece that is a NUL, and pieces that say themselves that they are unused."""
    if not rules.turn_end or not rules.plain_added:
        return piece
    if piece.text.startswith("[UNUSED"):
        return replace(piece, type=TokenType.UNUSED)
    return replace(piece, text=_NUL_STAND_IN) if piece.text == _NUL else piece


def _added(files: TokenizerFiles, rules: TokenizerRules) -> Iterator[tuple[int, Token]]:
    if not rules.plain_added:
        yield from _config_added(files, _looked_at)
        return
    yield from _config_added(files, _plain)
    for token in files.added_tokens:
        yield int(token["id"]), _plain(token)


def _config_added(files: TokenizerFiles, made: Callable[[Mapping[str, Any]], Token]) -> Iterator[tuple[int, Token]]:
    """What added_tokens.json and then tokenizer_config.json put over the vocabulary."""
    for text, number in files.added.items():
        yield number, Token(text, TokenType.USER_DEFINED, ADDED_SCORE)
    for number, token in files.decoder.items():
        yield number, made(token)


def _looked_at(token: Mapping[str, Any]) -> Token:
    return added_token(token["content"], special=is_special(token))


def _plain(token: Mapping[str, Any]) -> Token:
    return plain_added_token(token["content"], special=is_special(token))


def _keys(tokens: list[Token]) -> list[Metadata]:
    return [*head_keys("llama", "default"), text_key(tokens), score_key(tokens), type_key(tokens)]


def _merge_ranks(merges: list[str] | list[list[str]]) -> dict[str, int]:
    """Rank of the first merge that makes each piece."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault("".join(merge.split(" ") if isinstance(merge, str) else merge), rank)
    return ranks


def _piece(text: str, rank: int, unknown: str | None) -> Token:
    if text == unknown:
        return Token(text, TokenType.UNKNOWN)
    if _BYTE.fullmatch(text):
        return Token(text, TokenType.BYTE)
    return Token(text, TokenType.NORMAL, -float(rank))


def _prepends_space(tokenizer: Mapping[str, Any]) -> bool:
    """Whether text gets a blank in front, which llama.cpp does unless told not to."""
    normalizer, splitter = tokenizer.get("normalizer") or {}, tokenizer.get("pre_tokenizer") or {}
    if any(step.get("prepend") == _SPACE for step in normalizer.get("normalizers", [normalizer])):
        return True
    return prepends_by_splitter(splitter)


def prepends_by_splitter(splitter: Mapping[str, Any]) -> bool:
    steps = splitter.get("pretokenizers", [splitter])
    return any(s.get("type") == "Metaspace" and s.get("prepend_scheme", "always") != "never" for s in steps)
