"""A tokenizer from the first bytes of its files: which kind it is and how it splits text, without the vocabulary.

tokenizer.json holds added tokens, normalizer and pre-tokenizer before the megabytes of the vocabulary; all that is read
here. Whether the vocabulary itself is sound, only a download can tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.model import Metadata
from core.tokenizer import rules_for
from core.tokenizer.byte_level import is_byte_fallback, is_byte_level
from core.tokenizer.files import PIECES_FILES, UNIGRAM_FILES, TokenizerFiles
from core.tokenizer.rules import TokenizerRules
from core.tokenizer.special_tokens import find_special_tokens
from core.tokenizer.splitting import splitting_name

HEAD_BYTES = 256 << 10
_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[\s,:]*")
_WHOLE = ("type", "byte_fallback", "unk_token")
_MODELS = {"pieces": "llama", "json pieces": "llama", "raw pieces": "llama", "ranks": "gpt2", "byte level": "gpt2",
           "words": "bert", "unigram": "t5"}  # fmt: skip


def read_head(data: bytes) -> dict[str, Any]:
    """What the beginning of a tokenizer.json says in full, its vocabulary as an empty one. Never raises."""
    found: dict[str, Any] = {}
    text, at = data.decode("utf-8", "replace"), data[:1].find(b"{") + 1
    while at:
        key, at = _next(text, at)
        if key == "model":
            if (start := _skipped(text, at)) < len(text) and text[start] == "{":
                found["model"] = {"type": "BPE", **_model(text, start)}
            break
        value, at = _next(text, at) if isinstance(key, str) else (None, 0)
        if at:
            found[str(key)] = value
    return found


def _next(text: str, at: int) -> tuple[Any, int]:
    """The value from `at` on and where it ends, which is 0 when it is cut off or none."""
    try:
        return _DECODER.raw_decode(text, _skipped(text, at))
    except (ValueError, RecursionError):
        return None, 0


def _skipped(text: str, at: int) -> int:
    """Where the next value begins."""
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _model(text: str, at: int) -> dict[str, Any]:
    """The settings before and, where all is there, after the vocabulary."""
    whole, end = _next(text, at)
    if end and isinstance(whole, dict):
        return {**{name: whole[name] for name in _WHOLE if name in whole}, "vocab": {}}
    found: dict[str, Any] = {"vocab": {}}
    at += 1
    while at:
        key, at = _next(text, at)
        value, at = _next(text, at) if isinstance(key, str) else (None, 0)
        if at and key in _WHOLE:
            found[str(key)] = value
    return found


def head_keys(
    folder: Path,
    names: Iterable[str],
    head: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    config: Mapping[str, Any],
    rows: int,
) -> tuple[Metadata, ...]:
    """tokenizer.ggml.model and .pre, as the whole files would give them; () for what only the whole files tell.

    `names` are all files of the model, `settings` its tokenizer_config.json. Raises SnugError when llama.cpp has no
    name for the way text is split.
    """
    try:
        return _keys(folder, frozenset(names), head, settings, config=config, rows=rows)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return ()  # laid out in an odd way: opening the whole files says what is wrong


def _keys(
    folder: Path,
    there: frozenset[str],
    head: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    config: Mapping[str, Any],
    rows: int,
) -> tuple[Metadata, ...]:
    rules = rules_for(config).at(rows)
    files = TokenizerFiles(folder, head, settings, {}, has_config=bool(settings))
    kind = next((kind for kind in rules.kinds if _has(kind, there, files, rules)), "")
    if kind == "none":
        return (Metadata("tokenizer.ggml.model", "str", "none"),)
    if kind not in _MODELS:
        return ()
    model = Metadata("tokenizer.ggml.model", "str", rules.model or _MODELS[kind])
    if kind != "byte level":
        return (model,)
    adds_bos = find_special_tokens(files, config, rows, rules).adds_bos
    return model, Metadata(
        "tokenizer.ggml.pre", "str", splitting_name(head, adds_bos=adds_bos, unknown=rules.pre_unknown)
    )


def _has(kind: str, names: frozenset[str], files: TokenizerFiles, rules: TokenizerRules) -> bool:
    match kind:
        case "pieces":
            return bool(names & {*PIECES_FILES}) and not (files.tokenizer and rules.pre_ranks)
        case "json pieces" | "raw pieces":
            return is_byte_fallback(files.tokenizer)
        case "byte level":
            return is_byte_level(files)
        case "ranks":
            return "tekken.json" in names or (bool(rules.pre_ranks) and any("tiktoken" in name for name in names))
        case "words":
            return files.model_type == "WordPiece" or "vocab.txt" in names
        case "unigram":
            return files.model_type == "Unigram" or bool(names & {*UNIGRAM_FILES})
    return kind == "none"
