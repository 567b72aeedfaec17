"""Each splitting rule's name makes llama.cpp cut text where the tokenizer itself cuts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from core.model import Metadata
from core.tokenizer import read_tokenizer
from core.tokenizer.splitting_names import SPLITTINGS, Splitting
from tests.core.tokenizer.llama_tokens import llama_tokens
from tests.core.tokenizer.made import byte_level, write
from tests.core.tokenizer.torture import LINES

RULES = {rule.name: rule for rule in SPLITTINGS if not rule.processor}

# llama.cpp takes a word that is a token whole, before it looks at merges.
TAKES_WORDS = ("llama-bpe", "tekken", "youtu", "minicpm5")

# llama.cpp cuts less than these rules say. Published vocabularies were trained under their rules and have no token that
# runs over a cut, so the tokens are the same.
OWN_WORDS = ("falcon", "deepseek-coder", "deepseek-llm", "tiny_aya", "youtu")

# Where llama.cpp itself cuts otherwise than the rule it names says.
_MARKS = {"Arabic with vowels", "Devanagari", "Thai and Khmer", "combining marks"}
DIFFER = {
    "tekken": _MARKS,  # its classes of upper and lower case letters leave combining marks out
    "gpt-4o": _MARKS,
    "llama4": _MARKS,
    "tiny_aya": {"Chinese"},  # digits are grouped though letters follow
    "laguna": {"line ends"},  # \r\n is cut in two
}


def files_of(rule: Splitting) -> dict[str, Any]:
    return byte_level(rule, takes_words=rule.name in TAKES_WORDS, own_words=rule.name in OWN_WORDS)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Metadata, ...]]:
    """Rule -> the keys of a tokenizer that has it."""
    keys = {}
    for name, rule in RULES.items():
        folder = tmp_path_factory.mktemp("tokenizer")
        write(folder, "tokenizer.json", files_of(rule))
        write(folder, "tokenizer_config.json", {"bos_token": "<bos>"})
        keys[name] = read_tokenizer(folder, {}, rows=1700)
    return keys


@pytest.fixture(scope="module")
def llama(read: dict[str, tuple[Metadata, ...]]) -> dict[str, list[list[int]]]:
    """Rule -> llama.cpp's ids of every line."""
    return dict(zip(read, llama_tokens([*read.values()], [*LINES.values()]), strict=True))


@pytest.mark.parametrize("name", RULES)
def test_the_rule_has_its_name(read: dict[str, tuple[Metadata, ...]], name: str) -> None:
    assert name == next(item.value for item in read[name] if item.key == "tokenizer.ggml.pre")


@pytest.mark.parametrize("name", RULES)
def test_llama_cpp_cuts_where_the_tokenizer_does(llama: dict[str, list[list[int]]], name: str) -> None:
    own = Tokenizer.from_str(json.dumps(files_of(RULES[name])))
    same = [line for line in LINES if line not in DIFFER.get(name, ())]
    actual = dict(zip(LINES, llama[name], strict=True))
    expected = {line: own.encode(LINES[line], add_special_tokens=False).ids for line in same}
    assert expected == {line: actual[line] for line in same}


def pre_of(folder: Path, splitter: dict[str, Any], **parts: Any) -> str:
    made = byte_level(RULES["gpt-2"]) | {"pre_tokenizer": splitter} | parts
    write(folder, "tokenizer.json", made)
    return next(item.value for item in read_tokenizer(folder, {}, rows=1700) if item.key == "tokenizer.ggml.pre")


def sequence(pattern: str, **changes: Any) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False} | changes
    return {"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel", "use_regex": False}]}


QWEN_2 = RULES["qwen2"].steps[0].removeprefix("split ")
LLAMA_3 = RULES["llama-bpe"].steps[0].removeprefix("split ")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (QWEN_2.replace(r"\p{N}|", r"\p{N}{1}|"), "qwen2"),
        (QWEN_2.replace(r"\r", "\r").replace(r"\n", "\n"), "qwen2"),
        (QWEN_2.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'(?i:[sdmt]|ll|ve|re)"), "qwen2"),
        (QWEN_2.replace(r"[\r\n]+|\s+(?!", r"[\r\n]|\s+(?!"), "qwen2"),
        (LLAMA_3.replace("]+[", "]++[").replace("{1,3}", "{1,3}+").replace("]*", "]*+"), "smaug-bpe"),
        (LLAMA_3.removesuffix("+"), "smaug-bpe"),
    ],
)
def test_spellings_that_cut_alike_have_the_same_name(tmp_path: Path, pattern: str, name: str) -> None:
    assert name == pre_of(tmp_path, sequence(pattern))


def test_keeping_only_the_matches_of_a_rule_that_matches_all_is_the_same(tmp_path: Path) -> None:
    assert pre_of(tmp_path, sequence(QWEN_2, behavior="Removed", invert=True)) == "qwen2"


def test_gpt_2s_rule_may_be_spelled_out(tmp_path: Path) -> None:
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    assert pre_of(tmp_path, sequence(pattern)) == "gpt-2"


def test_robertas_rule_is_known_by_its_post_processor(tmp_path: Path) -> None:
    roberta = {"type": "RobertaProcessing", "cls": ["a", 64], "sep": ["b", 65]}
    assert pre_of(tmp_path, {"type": "ByteLevel"}, post_processor=roberta) == "roberta-bpe"
