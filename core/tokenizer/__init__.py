"""Tokenizer files -> the tokenizer.* keys of a GGUF, as llama.cpp's converter writes them. Needs no transformers.

rules.py             what families say about their tokenizers, as data
files.py             the files of the folder; older_files.py makes a tokenizer.json of those that came before it
vocabulary.py        tokens with scores and types, padded to the embedding
pieces.py            SentencePiece BPE: tokenizer.model, or a tokenizer.json that holds the same
piece_file.py        SentencePiece's file format
unigram.py           SentencePiece unigram (T5, XLM-R)
byte_level.py        byte-level BPE (GPT-2, Llama 3): tokenizer.json
ranks.py             byte-level BPE as ranked bytes: tekken.json, tiktoken
words.py             WordPiece (BERT)
splitting.py         the name llama.cpp gives to a tokenizer's splitting rule; splitting_names.py is its table
special_tokens.py    ids of BOS, EOS ... and whether they are added
normalizer.py        lower case and accents
chat_template.py     the chat templates
description.py       a tokenizer in a few words

Tokens for filling in the middle have no keys: llama.cpp knows them by their texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import SnugError
from core.model import Metadata
from core.tokenizer.byte_level import is_byte_fallback, is_byte_level, read_byte_level
from core.tokenizer.chat_template import chat_templates, mistrals_template
from core.tokenizer.description import describe_tokenizer
from core.tokenizer.files import PIECES_FILES, UNIGRAM_FILES, TokenizerFiles, read_json
from core.tokenizer.normalizer import normalizer_keys
from core.tokenizer.older_files import read_files
from core.tokenizer.piece_file import read_piece_file
from core.tokenizer.pieces import read_json_pieces, read_model_pieces, read_raw_pieces
from core.tokenizer.ranks import has_ranks, has_tekken, is_tiktoken, read_tekken, read_tiktoken
from core.tokenizer.rules import DEFAULT, Kind, TokenizerRules, rules_for
from core.tokenizer.special_tokens import SpecialTokens, find_special_tokens
from core.tokenizer.unigram import has_unigram, read_unigram
from core.tokenizer.vocabulary import type_count_keys
from core.tokenizer.words import read_words

__all__ = ["DEFAULT", "TokenizerRules", "describe_tokenizer", "read_tokenizer", "rules_for"]


def read_tokenizer(
    folder: Path, config: Mapping[str, Any], *, rows: int, rules: TokenizerRules | None = None
) -> tuple[Metadata, ...]:
    """All tokenizer.* keys of the model in `folder`, in the converter's order.

    `config` is config.json (the settings of a text model may lie over those of the whole), `rows` the number of rows
    of the embedding: one token each. `rules` are the family's; those of the class in `config` without any. Raises
    SnugError when the folder has no tokenizer, when a file is damaged, and when llama.cpp has no name for the way text
    is split.
    """
    rules = (rules_for(config) if rules is None else rules).at(rows)
    if "none" in rules.kinds:
        return (Metadata("tokenizer.ggml.model", "str", "none"),)
    files = read_files(folder)
    try:
        keys = _read(files, config, rows, rules)
        _check_text(keys)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise SnugError(
            f"The tokenizer in {folder} is not laid out as Snug expects ({type(error).__name__}: {error}).",
            "Download its tokenizer files again.",
        ) from error
    return tuple({item.key: item for item in keys}.values())


def _read(files: TokenizerFiles, config: Mapping[str, Any], rows: int, rules: TokenizerRules) -> list[Metadata]:
    kind = next((kind for kind in rules.kinds if _has(kind, files, rules)), None)
    if kind is None:
        raise _missing(files, rules)
    templates = chat_templates(files)
    if kind == "ranks" and has_tekken(files):
        return [*read_tekken(files, rows), *(templates or mistrals_template(files))]
    special = find_special_tokens(files, _whole(files.folder, config), rows, rules)
    vocabulary = _vocabulary(kind, files, config, rows, rules, special)
    keys = [*vocabulary, *special.keys, *templates, *normalizer_keys(files.tokenizer)]
    if kind == "byte level":
        keys += type_count_keys(config, rules)
    return keys + _space_prefix(files, rules)


def _has(kind: Kind, files: TokenizerFiles, rules: TokenizerRules) -> bool:
    match kind:
        case "pieces":
            file = files.first(PIECES_FILES)
            return file is not None and not (is_tiktoken(file) and (files.tokenizer or rules.pre_ranks))
        case "json pieces" | "raw pieces":
            return is_byte_fallback(files.tokenizer)
        case "byte level":
            return is_byte_level(files)
        case "ranks":
            return has_ranks(files, rules)
        case "words":
            return files.model_type == "WordPiece"
        case "unigram":
            return has_unigram(files) or _is_unigram(files)
    return False


def _is_unigram(files: TokenizerFiles) -> bool:
    file = files.first(UNIGRAM_FILES)
    return file is not None and read_piece_file(file).is_unigram


def _vocabulary(
    kind: Kind,
    files: TokenizerFiles,
    config: Mapping[str, Any],
    rows: int,
    rules: TokenizerRules,
    special: SpecialTokens,
) -> list[Metadata]:
    match kind:
        case "pieces":
            file = files.first(PIECES_FILES)
            assert file is not None
            return read_model_pieces(file, files, rows, rules)
        case "json pieces":
            return read_json_pieces(files, rows)
        case "raw pieces":
            return read_raw_pieces(files, rows, rules)
        case "byte level":
            return read_byte_level(files, rows, rules, adds_bos=special.adds_bos)
        case "ranks":
            return read_tiktoken(files, rows, rules)
        case "words":
            return read_words(files, config, rows, rules)
    return read_unigram(files, config, rows, rules)


def _whole(folder: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """config.json as it stands: ids at its root come before those of a text model inside."""
    return read_json(folder / "config.json") or config


def _space_prefix(files: TokenizerFiles, rules: TokenizerRules) -> list[Metadata]:
    value = files.config.get("add_prefix_space") if rules.space_prefix == "config" else rules.space_prefix
    if not isinstance(value, bool):
        return []
    return [Metadata("tokenizer.ggml.add_space_prefix", "bool", value)]


def _missing(files: TokenizerFiles, rules: TokenizerRules) -> SnugError:
    if files.tokenizer:
        return SnugError(
            f"The tokenizer in {files.folder} is of the kind {files.model_type}, which is not what this model family "
            "has.",
            "Download the tokenizer files from the model's own repository.",
        )
    source = f" This family uses the tokenizer of {rules.stand_in}." if rules.stand_in else ""
    return SnugError(
        f"{files.folder} has no tokenizer.",
        "Put the model's tokenizer.model or tokenizer.json into the folder, and tokenizer_config.json with it."
        + source,
    )


def _check_text(keys: list[Metadata]) -> None:
    """JSON may hold halves of characters, which no file can. Raises UnicodeEncodeError."""
    for item in keys:
        if item.type in ("str", "[str]"):
            "".join(item.value).encode()
