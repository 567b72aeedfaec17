"""The name of a splitting rule (tokenizer.ggml.pre): how text is cut into words before BPE.

llama.cpp knows rules by name and its converter finds the name by a hash of a tokenized text. Here the rule itself,
which tokenizer.json spells out, is looked up in a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from core.errors import SnugError


@dataclass(frozen=True, slots=True)
class Splitting:
    """`steps` as `_steps` spells them; one that ends in … stands for all that begin so.

    Of rules that cut alike, `marker` (a token only that vocabulary has) and `adds_bos` pick the name; they decide
    nothing about where text is cut, except that smaug-bpe does not put BOS in front.
    """

    name: str
    steps: tuple[str, ...]
    marker: str = ""
    adds_bos: bool | None = None


_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA_3 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"
_QWEN_2 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_CASED_WORDS = (rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+", rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*")
_CASED_REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = rf"{_CASED_WORDS[0]}|{_CASED_WORDS[1]}|\p{{N}}|{_CASED_REST}"
_GPT_4O = rf"{_CASED_WORDS[0]}{_CONTRACTIONS}?|{_CASED_WORDS[1]}{_CONTRACTIONS}?|\p{{N}}{{1,3}}|{_CASED_REST}"
_DEEPSEEK_CJK = "[一-龥ࠀ-一가-퟿]+"

SPLITTINGS = (
    Splitting("llama-bpe", (f"split {_LLAMA_3}", "bytes"), adds_bos=True),
    Splitting("smaug-bpe", (f"split {_LLAMA_3}", "bytes"), adds_bos=False),
    Splitting("qwen2", (f"split {_QWEN_2}", "bytes")),
    Splitting("tekken", (f"split {_TEKKEN}", "bytes")),
    Splitting("gpt-4o", (f"split {_GPT_4O}", "bytes")),
    Splitting("olmo", ("gpt-2 words",), marker="<|padding|>"),
    Splitting("gpt-2", ("gpt-2 words",)),
    Splitting("refact", ("each digit", "gpt-2 words"), marker="<commit_before>"),
    Splitting("smollm", ("each digit", "gpt-2 words"), marker="<|im_start|>"),
    Splitting("command-r", ("each digit", "gpt-2 words"), marker="<BOS_TOKEN>"),
    Splitting("starcoder", ("each digit", "gpt-2 words")),
    Splitting("falcon", ("punctuation Contiguous", "gpt-2 words", "digits", "split [0-9][0-9][0-9]")),
    Splitting(
        "deepseek-coder",
        ("split [\r\n]", r"split \s?\p{L}+", r"split \s?\p{P}+", f"split {_DEEPSEEK_CJK}", "each digit", "bytes"),
    ),
    Splitting(
        "deepseek-llm",
        (
            "split [\r\n]",
            r"split \s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿ…",
            r"split \s?[!-/:-~…",
            r"split \s+$",
            f"split {_DEEPSEEK_CJK}",
            "each digit",
            "bytes",
        ),
    ),
)


def splitting_name(tokenizer: Mapping[str, Any], *, adds_bos: bool) -> str:
    """The value of tokenizer.ggml.pre. Raises SnugError for a rule that is not in the table."""
    steps = _steps(tokenizer.get("pre_tokenizer") or {})
    same = [rule for rule in SPLITTINGS if _equal(rule.steps, steps)]
    known = {token["content"] for token in tokenizer.get("added_tokens") or []} | tokenizer["model"]["vocab"].keys()
    for rule in same:
        if rule.adds_bos in (None, adds_bos) and (not rule.marker or rule.marker in known):
            return rule.name
    spelled = " | ".join(steps)
    nearest = max(SPLITTINGS, key=lambda rule: SequenceMatcher(None, " | ".join(rule.steps), spelled).ratio())
    raise SnugError(
        f"The way this tokenizer splits text is not known to Snug; the nearest known one is {nearest.name}.",
        f"Its rule in tokenizer.json: {spelled[:300] or 'none'}. Known: {', '.join(r.name for r in SPLITTINGS)}.",
    )


def _equal(rule: tuple[str, ...], steps: tuple[str, ...]) -> bool:
    return len(rule) == len(steps) and all(
        step.startswith(pattern[:-1]) if pattern.endswith("…") else step == pattern
        for pattern, step in zip(rule, steps, strict=True)
    )


def _steps(splitter: Mapping[str, Any]) -> tuple[str, ...]:
    """tokenizer.json's pre_tokenizer, flattened, one short line a step."""
    kind = splitter.get("type", "")
    match kind:
        case "Sequence":
            return tuple(line for step in splitter["pretokenizers"] for line in _steps(step))
        case "Split":
            pattern = splitter["pattern"].get("Regex") or f"text {splitter['pattern'].get('String')!r}"
            plain = splitter.get("behavior") == "Isolated" and not splitter.get("invert")
            return (f"split {pattern}" if plain else f"split {splitter.get('behavior')} {pattern}",)
        case "Digits":
            return ("each digit" if splitter.get("individual_digits") else "digits",)
        case "Punctuation":
            return (f"punctuation {splitter.get('behavior', 'Isolated')}",)
        case "ByteLevel":
            return ("gpt-2 words" if splitter.get("use_regex", True) else "bytes",)
    return (str(kind),) if kind else ()
