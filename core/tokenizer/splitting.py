"""The name of a splitting rule (tokenizer.ggml.pre): how text is cut into words before BPE.

llama.cpp knows rules by name and its converter finds the name by a hash of a tokenized text. Here the rule itself,
which tokenizer.json spells out, is looked up in a table (splitting_names.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from core.errors import SnugError
from core.tokenizer.splitting_names import CONTRACTIONS, GPT_2, SPLITTINGS, Splitting

# Spellings that cut alike. Possessive quantifiers only refuse to give back what the rest never needs; a run of blanks
# that must end in a line break ends at its last one either way; what is left for the last alternative is one blank.
_CONTRACTED = ("'(?i:[sdmt]|ll|ve|re)", "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])")
_SAME = (
    (re.compile("|".join(map(re.escape, _CONTRACTED))), CONTRACTIONS),
    (re.compile(r"([?+*]|\{\d+(?:,\d*)?\})\+"), r"\1"),
    (re.compile(r"\{1\}"), ""),
    (re.compile(r"\|\\s\*\[\\r\\n\]\|"), r"|\\s*[\\r\\n]+|"),
    (re.compile(r"\|\\s$"), r"|\\s+"),
)
_GPT_2_WORDS = (f"split {GPT_2}", f"split {GPT_2.removesuffix(chr(92) + 's+').removesuffix('|')}")


def splitting_name(tokenizer: Mapping[str, Any], *, adds_bos: bool, unknown: str = "") -> str:
    """The value of tokenizer.ggml.pre; `unknown` for a rule that is not in the table, SnugError without one."""
    steps = _steps(tokenizer.get("pre_tokenizer") or {})
    processor = str((tokenizer.get("post_processor") or {}).get("type", ""))
    known = {token["content"] for token in tokenizer.get("added_tokens") or []} | tokenizer["model"]["vocab"].keys()
    for rule in _equal_rules(steps):
        if (
            rule.adds_bos in (None, adds_bos)
            and rule.processor in ("", processor)
            and (not rule.marker or rule.marker in known)
        ):
            return rule.name
    if unknown:
        return unknown
    spelled = " | ".join(steps)
    nearest = max(SPLITTINGS, key=lambda rule: SequenceMatcher(None, " | ".join(rule.steps), spelled).ratio())
    raise SnugError(
        f"The way this tokenizer splits text is not known to Snug; the nearest known one is {nearest.name}.",
        f"Its rule in tokenizer.json: {spelled[:300] or 'none'}. Known: {', '.join(r.name for r in SPLITTINGS)}.",
    )


def _equal_rules(steps: tuple[str, ...]) -> list[Splitting]:
    """Rules spelled like this one, then those that only cut like it."""
    spelled = [rule for rule in SPLITTINGS if _equal(rule.steps, steps)]
    plain = _plain(steps)
    return spelled + [rule for rule in SPLITTINGS if rule not in spelled and _equal(_plain(rule.steps), plain)]


def _equal(rule: tuple[str, ...], steps: tuple[str, ...]) -> bool:
    return len(rule) == len(steps) and all(
        step.startswith(pattern[:-1]) if pattern.endswith("…") else step == pattern
        for pattern, step in zip(rule, steps, strict=True)
    )


def _plain(steps: tuple[str, ...]) -> tuple[str, ...]:
    """The steps in one spelling of all that cut alike."""
    return tuple(_plain_step(step) for step in steps)


def _plain_step(step: str) -> str:
    for spelling, plain in _SAME:
        step = spelling.sub(plain, step)
    return step


def _steps(splitter: Mapping[str, Any]) -> tuple[str, ...]:
    """tokenizer.json's pre_tokenizer, flattened, one short line a step."""
    steps = _flat(splitter)
    if len(steps) == 2 and steps[0] in _GPT_2_WORDS and steps[1] == "bytes":
        return ("gpt-2 words",)
    return steps


def _flat(splitter: Mapping[str, Any]) -> tuple[str, ...]:
    kind = splitter.get("type", "")
    match kind:
        case "Sequence":
            return tuple(line for step in splitter["pretokenizers"] for line in _flat(step))
        case "Split":
            return (_split(splitter),)
        case "Digits":
            return ("each digit" if splitter.get("individual_digits") else "digits",)
        case "Punctuation":
            return (f"punctuation {splitter.get('behavior', 'Isolated')}",)
        case "ByteLevel":
            return ("gpt-2 words" if splitter.get("use_regex", True) else "bytes",)
    return (str(kind),) if kind else ()


def _split(splitter: Mapping[str, Any]) -> str:
    pattern = splitter["pattern"].get("Regex")
    if pattern is None:
        spelled = re.escape(str(splitter["pattern"].get("String")))
    else:
        spelled = pattern.replace("\r", r"\r").replace("\n", r"\n")
    behavior, invert = str(splitter.get("behavior")), bool(splitter.get("invert"))
    # To keep only the matches is to keep all of the text when the pattern matches all of it.
    if behavior == "Isolated" or ((behavior, invert) == ("Removed", True) and spelled.endswith((r"|\s+", r"|\s{1}"))):
        return f"split {spelled}"
    return f"split {behavior} {spelled}"
