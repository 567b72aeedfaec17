"""Byte-level BPE, as GPT-2, Llama 3 and Qwen have it: everything is in tokenizer.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.model import Metadata
from core.tokenizer.files import TokenizerFiles
from core.tokenizer.rules import TokenizerRules
from core.tokenizer.splitting import splitting_name
from core.tokenizer.vocabulary import (
    Token,
    added_token,
    check_rows,
    fill,
    head_keys,
    is_special,
    merges_key,
    text_key,
    type_key,
)


def byte_letters() -> dict[int, str]:
    """GPT-2's letter for each byte: itself where it can be seen, else the next one from U+0100 on."""
    plain = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(others)}


_BYTES = {letter: byte for byte, letter in byte_letters().items()}


def is_byte_level(files: TokenizerFiles) -> bool:
    return files.model_type == "BPE" and not is_byte_fallback(files.tokenizer)


def is_byte_fallback(tokenizer: Mapping[str, Any]) -> bool:
    """True for a tokenizer.json that was made from a SentencePiece BPE model."""
    model = tokenizer.get("model") or {}
    falls_back = model.get("type", "BPE") == "BPE" and bool(model.get("byte_fallback"))
    return falls_back and not has_bytes_step(tokenizer)


def has_bytes_step(tokenizer: Mapping[str, Any]) -> bool:
    """Whether text is written in byte letters before it is cut: then no byte is left to fall back on."""
    splitter = tokenizer.get("pre_tokenizer") or {}
    return any(step.get("type") == "ByteLevel" for step in splitter.get("pretokenizers", [splitter]))


def read_byte_level(files: TokenizerFiles, rows: int, rules: TokenizerRules, *, adds_bos: bool) -> list[Metadata]:
    """Keys of the vocabulary, the merges and the name of the splitting rule."""
    filled = fill(tokens_of(files, rows, rules), rows)
    name = splitting_name(files.tokenizer, adds_bos=adds_bos, unknown=rules.pre_unknown)
    merges = merges_key(spelled_merges(files.tokenizer["model"]["merges"]))
    return [*head_keys("gpt2", name), text_key(filled), type_key(filled), merges]


def tokens_of(files: TokenizerFiles, rows: int, rules: TokenizerRules) -> dict[int, Token]:
    """The vocabulary of tokenizer.json by id, with the added tokens. A token that the vocabulary has keeps its id;
    special tokens that are only named come last. One beyond the embedding could never be used and is passed over."""
    vocabulary = files.tokenizer["model"]["vocab"]
    tokens = {number: Token(text) for text, number in vocabulary.items()}
    check_rows(tokens, rows)
    for token in files.added_tokens:
        tokens[vocabulary.get(token["content"], token["id"])] = _added(token, files.tokenizer)
    known = {*vocabulary, *(token["content"] for token in files.added_tokens)}
    for number, token in files.decoder.items():
        if token["content"] not in known:
            tokens.setdefault(number, added_token(token["content"], special=is_special(token)))
            known.add(token["content"])
    named = (*files.special_texts.values(), *rules.own_texts)
    missing = (text for text in dict.fromkeys(named) if text not in known)
    tokens.update((number, added_token(text, special=True)) for number, text in enumerate(missing, max(tokens) + 1))
    return {number: token for number, token in tokens.items() if number < rows}


def _added(token: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> Token:
    """An added token; one that is matched as it stands comes out of the decoder, which takes letters for bytes."""
    text = token["content"]
    is_decoded = (tokenizer.get("decoder") or {}).get("type") == "ByteLevel" and not token.get("normalized", True)
    if is_decoded and all(letter in _BYTES for letter in text):
        text = bytes(_BYTES[letter] for letter in text).decode(errors="replace")
    return added_token(text, special=is_special(token))


def spelled_merges(merges: list[str] | list[list[str]]) -> list[str]:
    """ "a b" each; both layouts of tokenizer.json give that. A blank inside a part is written as Ġ."""
    return [m if isinstance(m, str) else " ".join(part.replace(" ", "Ġ") for part in m) for m in merges]
