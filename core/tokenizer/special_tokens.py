"""Ids of the special tokens, and which of them the tokenizer adds by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.model import Metadata
from core.tokenizer.files import SPECIAL_KINDS, TokenizerFiles, read_json
from core.tokenizer.rules import TokenizerRules

# GGUF's word for each (seperator is spelled so there). cls has no key of its own.
_KEYS = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "sep": "seperator_token_id",
    "pad": "padding_token_id",
    "cls": "",
    "mask": "mask_token_id",
    "eot": "eot_token_id",
    "eom": "eom_token_id",
}
_ADDABLE = ("bos", "eos", "sep")


@dataclass
class SpecialTokens:
    """Kind -> text, kind -> id, kind -> whether the tokenizer adds it, each in the order they were found."""

    texts: dict[str, str] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    adds: dict[str, bool] = field(default_factory=dict)

    @property
    def adds_bos(self) -> bool:
        return self.adds.get("bos", False)

    @property
    def keys(self) -> list[Metadata]:
        ids = [Metadata(f"tokenizer.ggml.{_KEYS[k]}", "u32", n) for k, n in self.ids.items() if _KEYS[k]]
        adds = [Metadata(f"tokenizer.ggml.add_{k}_token", "bool", on) for k, on in self.adds.items() if k in _ADDABLE]
        return ids + adds


def find_special_tokens(
    files: TokenizerFiles, config: Mapping[str, Any], rows: int, rules: TokenizerRules
) -> SpecialTokens:
    """tokenizer.json's post-processor decides what is added, then tokenizer_config.json; ids come from the texts in
    tokenizer_config.json, then from config.json. The first found wins; the family's own rules come last or override."""
    special = SpecialTokens(texts=dict(files.special_texts))
    if files.tokenizer:
        _read_post_processor(special, files)
    for kind in (*SPECIAL_KINDS, "eot", "eom"):
        add = files.config.get(f"add_{kind}_token")
        if isinstance(add, bool):
            special.adds.setdefault(kind, add)
    _find_ids(special, files, config, rows)
    _follow_rules(special, files, config, rules)
    return special


def _follow_rules(
    special: SpecialTokens, files: TokenizerFiles, config: Mapping[str, Any], rules: TokenizerRules
) -> None:
    for kind, text in rules.texts:
        if text in files.added_ids:
            special.ids.setdefault(kind, files.added_ids[text])
    if rules.turn_end in files.added_ids:
        special.ids["eos"] = files.added_ids[rules.turn_end]
    for kind, name in rules.config_ids:
        if isinstance(config.get(name), int):
            special.ids[kind] = config[name]
    if rules.first_eos_ends:
        ends = read_json(files.folder / "generation_config.json").get("eos_token_id")
        special.ids.update({"eot": ends[0]} if isinstance(ends, list) and len(ends) > 1 else {})
    special.ids.update(rules.ids)
    for kind, adds in rules.adds_unsaid:
        special.adds.setdefault(kind, adds)
    special.adds.update(rules.adds)


def _find_ids(special: SpecialTokens, files: TokenizerFiles, config: Mapping[str, Any], rows: int) -> None:
    by_text: dict[str, int] = {}
    for token in files.added_tokens:
        by_text.setdefault(token["content"], token["id"])
    nested = config.get("text_config") or {}
    found = [(kind, by_text.get(special.texts.get(kind, ""))) for kind in _KEYS]
    found += [(kind, config.get(f"{kind}_token_id", nested.get(f"{kind}_token_id"))) for kind in _KEYS]
    for kind, number in found:
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < rows:
            special.ids.setdefault(kind, number)


def _read_post_processor(special: SpecialTokens, files: TokenizerFiles) -> None:
    texts = special.texts
    for kind, stand_in in (("bos", "cls"), ("eos", "sep")):
        if not texts.get(kind) and texts.get(stand_in):
            texts[kind] = texts[stand_in]
    processor = files.tokenizer.get("post_processor") or {}
    for step in processor.get("processors", [processor]):
        match step.get("type"):
            case "ByteLevel":
                special.adds |= {"bos": False, "eos": False}
            case "RobertaProcessing":
                special.adds |= {"bos": True, "eos": True, "sep": True}
                for kind in ("cls", "sep"):
                    texts.setdefault(kind, str(step.get(kind, [""])[0]))
            case "TemplateProcessing":
                _read_template(special, step, from_config=files.has_config)


def _read_template(special: SpecialTokens, step: Mapping[str, Any], *, from_config: bool) -> None:
    """The template for one text says whether BOS and EOS are added, the one for two whether SEP stands between."""
    texts, single, pair = special.texts, step.get("single") or [], step.get("pair") or []
    first, last = (_special(single[0]), _special(single[-1])) if len(single) > 1 else ("", "")
    if first:
        if not from_config:
            texts["bos"] = first
        special.adds["bos"] = first in (texts.get("bos"), texts.get("cls"))
    if last:
        if from_config and last != texts.get("eos") and "eos" in texts:
            texts["eot"] = texts["eos"]
        texts["eos"] = last
        special.adds["eos"] = True
    between = _between(pair, first, last)
    if between:
        ends = (texts.get("sep"), texts.get("eos"))
        special.adds["sep"] = (between[0] in ends and not last) or (len(between) == 2 and between[1] in ends)
        if special.adds["sep"] and not texts.get("sep"):
            texts["sep"] = texts.get("eos", "")


def _between(pair: list[Mapping[str, Any]], first: str, last: str) -> list[str]:
    """Special tokens between the texts A and B, or [] when the template is of another kind."""
    start = 1 if pair and first and _special(pair[0]) == first else 0
    stop = len(pair) - 1 if pair and last and _special(pair[-1]) == last else len(pair)
    inner = pair[start:stop]
    if len(inner) < 3 or [_sequence(inner[0]), _sequence(inner[-1])] != ["A", "B"]:
        return []
    return [_special(item) for item in inner[1:-1]]


def _special(item: Mapping[str, Any]) -> str:
    return str(item.get("SpecialToken", {}).get("id", ""))


def _sequence(item: Mapping[str, Any]) -> str:
    return str(item.get("Sequence", {}).get("id", ""))
