"""Tokenizer files -> the tokenizer.* keys of a GGUF, as llama.cpp's converter writes them. Needs no transformers.

vocabulary.py      tokens with scores and types, padded to the embedding
pieces.py          SentencePiece: tokenizer.model, or a tokenizer.json that holds the same
byte_level.py      byte-level BPE (GPT-2, Llama 3): tokenizer.json
splitting.py       the name llama.cpp gives to a tokenizer's splitting rule, as a table
special_tokens.py  ids of BOS, EOS ... and whether they are added
chat_template.py   the chat templates
files.py           JSON from the folder, or an error that names the file
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import SnugError
from core.model import Metadata
from core.tokenizer.byte_level import read_byte_level
from core.tokenizer.chat_template import chat_templates
from core.tokenizer.files import TokenizerFiles, read_files
from core.tokenizer.pieces import is_byte_fallback, read_json_pieces, read_model_pieces
from core.tokenizer.special_tokens import find_special_tokens

# These read add_prefix_space of tokenizer_config.json; other families have their own rule or none.
_LLAMA_LIKE = ("LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM")
# Code Llama's infilling tokens: its vocabulary of 32016 is the only place that says so.
_CODE_LLAMA_ROWS = 32016
_CODE_LLAMA = {"prefix": 32007, "suffix": 32008, "middle": 32009, "eot": 32010}
# Granite's first small models say no word about BOS and must not get one; SmolLM shares their number of rows.
_WITHOUT_BOS_ROWS = 49152


def read_tokenizer(folder: Path, config: Mapping[str, Any], *, rows: int) -> tuple[Metadata, ...]:
    """All tokenizer.* keys of the model in `folder`, in the converter's order.

    `config` is config.json, `rows` the number of rows of the embedding: one token each. Raises SnugError when the
    folder has no tokenizer, when a file is damaged, and when llama.cpp has no name for the way text is split.
    """
    files = read_files(folder)
    family = next(iter(config.get("architectures") or []), "")
    try:
        keys = _read(files, config, rows) + _family_keys(files, family, rows)
        _check_text(keys)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise SnugError(
            f"The tokenizer in {folder} is not laid out as Snug expects ({type(error).__name__}: {error}).",
            "Download its tokenizer files again.",
        ) from error
    return tuple({item.key: item for item in keys}.values())


def _read(files: TokenizerFiles, config: Mapping[str, Any], rows: int) -> list[Metadata]:
    """Llama's order of preference: tokenizer.model, the same in tokenizer.json, byte-level BPE."""
    special = find_special_tokens(files, config, rows)
    templates = chat_templates(files)
    if files.model is not None:
        return [*read_model_pieces(files, rows), *special.keys, *templates]
    if is_byte_fallback(files.tokenizer):
        return [*read_json_pieces(files, rows), *special.keys, *templates]
    if files.tokenizer:
        return [*read_byte_level(files, rows, adds_bos=special.adds_bos), *special.keys, *templates]
    raise SnugError(
        f"{files.folder} has no tokenizer.",
        "Put the model's tokenizer.model or tokenizer.json into the folder, and tokenizer_config.json with it.",
    )


def _check_text(keys: list[Metadata]) -> None:
    """JSON may hold halves of characters, which no file can. Raises UnicodeEncodeError."""
    for item in keys:
        if item.type in ("str", "[str]"):
            "".join(item.value).encode()


def _family_keys(files: TokenizerFiles, family: str, rows: int) -> list[Metadata]:
    if family not in _LLAMA_LIKE:
        return []
    keys = []
    if rows == _CODE_LLAMA_ROWS:
        keys += [Metadata(f"tokenizer.ggml.{name}_token_id", "u32", number) for name, number in _CODE_LLAMA.items()]
    if isinstance(files.config.get("add_prefix_space"), bool):
        keys.append(Metadata("tokenizer.ggml.add_space_prefix", "bool", files.config["add_prefix_space"]))
    if rows == _WITHOUT_BOS_ROWS:
        keys.append(Metadata("tokenizer.ggml.add_bos_token", "bool", False))
    return keys
