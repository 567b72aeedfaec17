"""Byte-level BPE as a list of byte strings in the order they were merged: Mistral's tekken.json, tiktoken's files.

The merges, which GGUF wants, follow from the ranks.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from pathlib import Path
from typing import Any

from core.errors import SnugError
from core.model import Metadata
from core.tokenizer.byte_level import byte_letters
from core.tokenizer.files import TokenizerFiles, read_bytes, read_json
from core.tokenizer.rules import TokenizerRules
from core.tokenizer.vocabulary import (
    Token,
    TokenType,
    fill,
    head_keys,
    merges_key,
    score_key,
    text_key,
    type_key,
)

_TEKKEN = "tekken.json"
_TIKTOKEN = ("tiktoken.model", "hy.tiktoken", "qwen.tiktoken", "tokenizer.model")
_LETTERS = byte_letters()
# Mistral's control tokens, for the first files, which do not list them.
_CONTROLS = (
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]",
    "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
)  # fmt: skip
_IDS = (("bos", "<s>"), ("eos", "</s>"), ("unknown", "<unk>"), ("padding", "<pad>"))


def is_tiktoken(file: Path | None) -> bool:
    """Whether the file has tiktoken's lines: base64 and a rank. SentencePiece's own files share the name."""
    if file is None:
        return False
    first = read_bytes(file)[:4096].split(b"\n", 1)[0].split(b" ")
    return len(first) == 2 and first[1].strip().isdigit() and _decoded(first[0]) is not None


def has_ranks(files: TokenizerFiles, rules: TokenizerRules) -> bool:
    """tekken.json, or tiktoken's file of a family that says how its code splits text."""
    return (files.folder / _TEKKEN).is_file() or (bool(rules.pre_ranks) and is_tiktoken(files.first(_TIKTOKEN)))


def has_tekken(files: TokenizerFiles) -> bool:
    return (files.folder / _TEKKEN).is_file()


def read_tekken(files: TokenizerFiles, rows: int) -> list[Metadata]:
    """All keys of Mistral's own format, which adds BOS and has no other settings."""
    data = read_json(files.folder / _TEKKEN)
    settings = data["config"]
    count = int(settings["default_num_special_tokens"])
    size = int(settings["default_vocab_size"])
    named = {int(t["rank"]): str(t["token_str"]) for t in data.get("special_tokens") or []} or dict(
        enumerate(_CONTROLS)
    )
    controls = {n: named.get(n, f"<SPECIAL_{n}>") for n in range(count)}
    ranks = {b64decode(token["token_bytes"]): int(token["rank"]) for token in data["vocab"][: size - count]}
    tokens = {number: Token(text, TokenType.CONTROL) for number, text in controls.items()}
    tokens |= {count + rank: Token(_spelled(token)) for token, rank in ranks.items()}
    filled = fill(tokens, rows)
    by_text = {text: number for number, text in controls.items()}
    ids = {kind: by_text.get(text, by_text["</s>"]) for kind, text in _IDS}
    return [
        *head_keys("gpt2", "tekken"),
        merges_key(_all_merges(ranks)),
        *(Metadata(f"tokenizer.ggml.{kind}_token_id", "u32", number) for kind, number in ids.items()),
        text_key(filled),
        score_key(filled),
        type_key(filled),
        Metadata("tokenizer.ggml.add_bos_token", "bool", True),
        Metadata("tokenizer.ggml.add_eos_token", "bool", False),
    ]


def read_tiktoken(files: TokenizerFiles, rows: int, rules: TokenizerRules) -> list[Metadata]:
    """Keys of the vocabulary; the special tokens stand in tokenizer_config.json."""
    file = files.first(_TIKTOKEN)
    assert file is not None
    ranks = _read_ranks(file)
    tokens = {rank: Token(_spelled(token)) for token, rank in ranks.items()}
    tokens |= {number: Token(token["content"], TokenType.CONTROL) for number, token in files.decoder.items()}
    filled = fill(tokens, rows)
    merges = [_last_merge(ranks, token) for token in ranks if len(token) > 1]
    spelled = [" ".join(map(_spelled, parts)) for parts in merges if len(parts) == 2]
    return [*head_keys("gpt2", rules.pre_ranks), text_key(filled), type_key(filled), merges_key(spelled)]


def _spelled(token: bytes) -> str:
    return "".join(_LETTERS[byte] for byte in token)


def _decoded(text: bytes) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _read_ranks(file: Path) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for line in read_bytes(file).splitlines():
        parts: list[Any] = line.split()
        token = _decoded(parts[0]) if len(parts) == 2 else None
        if line and (token is None or not parts[1].isdigit()):
            raise SnugError(f"{file} has a damaged line: {line[:40]!r}.", f"Download {file.name} again.")
        if token is not None:
            ranks[token] = int(parts[1])
    return ranks


def _all_merges(ranks: dict[bytes, int]) -> list[str]:
    """Every pair of tokens that makes a token, in the order of what they make, then of the parts."""
    merges = []
    for token, _ in sorted(ranks.items(), key=lambda item: item[1]):
        cuts = ((token[:at], token[at:]) for at in range(1, len(token)))
        pairs = [pair for pair in cuts if pair[0] in ranks and pair[1] in ranks]
        merges += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return [f"{_spelled(left)} {_spelled(right)}" for left, right in merges]


def _last_merge(ranks: dict[bytes, int], token: bytes) -> list[bytes]:
    """What BPE has made of the token's bytes before the merge that completes it: two parts, as a rule."""
    limit = ranks[token]
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 2:
        found = [(ranks.get(parts[at] + parts[at + 1], limit), at) for at in range(len(parts) - 1)]
        rank, at = min(found)
        if rank >= limit:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
