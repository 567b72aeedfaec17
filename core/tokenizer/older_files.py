"""What tokenizer.json would say, from the files that came before it: vocab.json and merges.txt, or vocab.txt.

How such a tokenizer splits text is in no file; the class that tokenizer_config.json names says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import SnugError
from core.tokenizer.files import TokenizerFiles, read_json, read_text
from core.tokenizer.splitting_names import QWEN_2

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_QWEN_2 = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": QWEN_2}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
    ],
}
_SPLITTERS = {
    "GPT2Tokenizer": _BYTES,
    "GPTNeoXTokenizer": _BYTES,
    "CodeGenTokenizer": _BYTES,
    "RobertaTokenizer": _BYTES,
    "Qwen2Tokenizer": _QWEN_2,
}
# For models whose tokenizer_config.json names no class.
_BY_MODEL = {
    "gpt2": "GPT2Tokenizer",
    "gpt_neo": "GPT2Tokenizer",
    "gpt_neox": "GPTNeoXTokenizer",
    "roberta": "RobertaTokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen2_moe": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
    "qwen3_moe": "Qwen2Tokenizer",
}
_TEXTS = {
    "GPT2Tokenizer": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    "RobertaTokenizer": {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": "<mask>",
    },
    "BertTokenizer": {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
}


def read_files(folder: Path) -> TokenizerFiles:
    """The tokenizer's files; without a tokenizer.json, what the older ones say."""
    config = folder / "tokenizer_config.json"
    files = TokenizerFiles(
        folder,
        tokenizer=read_json(folder / "tokenizer.json"),
        config=read_json(config),
        added=read_json(folder / "added_tokens.json"),
        has_config=config.is_file(),
    )
    if files.tokenizer:
        return files
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _byte_level(files)
    return _words(files) if (folder / "vocab.txt").is_file() else files


def read_merges(file: Path) -> list[str]:
    """merges.txt: two parts a line, a comment first."""
    lines = [line.strip() for line in read_text(file).split("\n")]
    if lines and lines[0].startswith("#"):
        del lines[0]
    return [" ".join(line.split()) for line in lines if len(line.split()) == 2]


def _byte_level(files: TokenizerFiles) -> TokenizerFiles:
    kind = str(read_json(files.folder / "config.json").get("model_type"))
    name = str(files.config.get("tokenizer_class") or _BY_MODEL.get(kind, kind)).removesuffix("Fast")
    if name not in _SPLITTERS:
        raise SnugError(
            f"{files.folder} has vocab.json and merges.txt but no tokenizer.json, and how the tokenizer of {name} "
            "splits text is not known to Snug.",
            "Make the file with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...).",
        )
    vocabulary = read_json(files.folder / "vocab.json")
    files = _with_texts(files, name)
    first, last = (files.special_texts.get(kind, "") for kind in ("cls", "sep"))
    roberta = {"type": "RobertaProcessing", "cls": [first, 0], "sep": [last, 0]}
    tokenizer = {
        "model": {"type": "BPE", "vocab": vocabulary, "merges": read_merges(files.folder / "merges.txt")},
        "added_tokens": _added(files, vocabulary),
        "pre_tokenizer": _SPLITTERS[name],
        "post_processor": roberta if name == "RobertaTokenizer" else {"type": "ByteLevel"},
        "decoder": {"type": "ByteLevel"},
    }
    return replace(files, tokenizer=tokenizer)


def _words(files: TokenizerFiles) -> TokenizerFiles:
    files = _with_texts(files, "BertTokenizer")
    lines = read_text(files.folder / "vocab.txt").removesuffix("\n").split("\n")
    vocabulary = {text: number for number, text in enumerate(lines)}
    first, last = ({"SpecialToken": {"id": files.special_texts.get(kind, "")}} for kind in ("cls", "sep"))
    single = [first, {"Sequence": {"id": "A"}}, last]
    pair = [*single, {"Sequence": {"id": "B"}}, last]
    normalizer = {
        "type": "BertNormalizer",
        "lowercase": bool(files.config.get("do_lower_case", True)),
        "strip_accents": files.config.get("strip_accents"),
    }
    tokenizer = {
        "model": {"type": "WordPiece", "vocab": vocabulary},
        "added_tokens": _added(files, vocabulary),
        "normalizer": normalizer,
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair},
    }
    return replace(files, tokenizer=tokenizer)


def _with_texts(files: TokenizerFiles, name: str) -> TokenizerFiles:
    """The special tokens that the class has by itself, where tokenizer_config.json names no others."""
    return replace(files, config={**_TEXTS.get(name, {}), **files.config})


def _added(files: TokenizerFiles, vocabulary: Mapping[str, int]) -> list[dict[str, Any]]:
    """The special tokens that the vocabulary has, and the added ones."""
    ids = {**vocabulary, **files.added}
    texts = set(files.special_texts.values())
    found = {number: {"content": text, "special": text in texts} for text, number in files.added.items()}
    found |= {ids[text]: {"content": text, "special": True} for text in texts if text in ids}
    found |= {number: dict(token) for number, token in files.decoder.items()}
    return [{"id": number, **token} for number, token in sorted(found.items())]
