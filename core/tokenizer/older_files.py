"""What tokenizer.json would say, from the files that came before it: vocab.json and merges.txt, or vocab.txt.

How such a tokenizer splits text is in no file; the class that tokenizer_config.json names says it.
"""

from __future__ import annotations

from collections.abc import Mapping
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
_ROBERTA = ("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>"), ("pad", "<pad>"), ("mask", "<mask>")
_BERT = ("unk", "[UNK]"), ("sep", "[SEP]"), ("pad", "[PAD]"), ("cls", "[CLS]"), ("mask", "[MASK]")


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
    made = {} if files.tokenizer else _made(files)
    return TokenizerFiles(folder, made, files.config, files.added, files.has_config) if made else files


def _made(files: TokenizerFiles) -> dict[str, Any]:
    folder = files.folder
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _byte_level(files, read_json(folder / "vocab.json"), read_merges(folder / "merges.txt"))
    if (folder / "vocab.txt").is_file():
        return _words(files, read_text(folder / "vocab.txt").splitlines())
    return {}


def read_merges(file: Path) -> list[str]:
    """merges.txt: two parts a line, a comment first."""
    lines = [line.strip() for line in read_text(file).split("\n")]
    if lines and lines[0].startswith("#"):
        del lines[0]
    return [" ".join(line.split()) for line in lines if len(line.split()) == 2]


def _byte_level(files: TokenizerFiles, vocabulary: Mapping[str, int], merges: list[str]) -> dict[str, Any]:
    name = str(files.config.get("tokenizer_class") or "GPT2Tokenizer").removesuffix("Fast")
    if name not in _SPLITTERS:
        raise SnugError(
            f"{files.folder} has vocab.json and merges.txt but no tokenizer.json, and how a {name} splits text is not "
            "known to Snug.",
            "Make the file with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...).",
        )
    is_roberta = name == "RobertaTokenizer"
    ids = {**vocabulary, **files.added}
    added = _added(files, ids, _ROBERTA if is_roberta else (("eos", "<|endoftext|>"),))
    begin, end = (_text(files.config, kind, text) for kind, text in _ROBERTA[:2])
    processor = {"type": "RobertaProcessing", "cls": [begin, ids.get(begin)], "sep": [end, ids.get(end)]}
    return {
        "model": {"type": "BPE", "vocab": dict(vocabulary), "merges": merges},
        "added_tokens": added,
        "pre_tokenizer": _SPLITTERS[name],
        "post_processor": processor if is_roberta else {"type": "ByteLevel"},
        "decoder": {"type": "ByteLevel"},
    }


def _words(files: TokenizerFiles, lines: list[str]) -> dict[str, Any]:
    ids = {text.rstrip("\n"): number for number, text in enumerate(lines)}
    first, last = (_text(files.config, kind, text) for kind, text in (_BERT[3], _BERT[1]))
    single = [{"SpecialToken": {"id": first}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": last}}]
    normalizer = {
        "type": "BertNormalizer",
        "lowercase": bool(files.config.get("do_lower_case", True)),
        "strip_accents": files.config.get("strip_accents"),
    }
    return {
        "model": {"type": "WordPiece", "vocab": ids},
        "added_tokens": _added(files, {**ids, **files.added}, _BERT),
        "normalizer": normalizer,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B"}}, single[-1]],
        },
    }


def _text(config: Mapping[str, Any], kind: str, default: str) -> str:
    entry = config.get(f"{kind}_token", default)
    return str(entry.get("content", default) if isinstance(entry, Mapping) else entry or default)


def _added(
    files: TokenizerFiles, ids: Mapping[str, int], defaults: tuple[tuple[str, str], ...]
) -> list[dict[str, Any]]:
    """The special tokens that the vocabulary has, and the added ones."""
    texts = [_text(files.config, kind, text) for kind, text in defaults]
    texts += [_text(files.config, kind, "") for kind in ("bos", "eos", "unk", "pad", "sep", "cls", "mask")]
    special = {text: ids[text] for text in texts if text in ids}
    found = {number: {"content": text, "special": True} for text, number in special.items()}
    found |= {
        number: {"content": text, "special": False} for text, number in files.added.items() if text not in special
    }
    found |= {number: dict(token) for number, token in files.decoder.items()}
    return [{"id": number, **token} for number, token in sorted(found.items())]
