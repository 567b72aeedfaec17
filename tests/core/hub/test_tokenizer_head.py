"""The first bytes of a tokenizer say the same of it as all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import SnugError
from core.hub.tokenizer_head import head_keys, read_head
from core.tokenizer import read_tokenizer
from core.tokenizer.splitting_names import SPLITTINGS
from tests.core.tokenizer.made import byte_fallback, byte_level, words, write

KEYS = ("tokenizer.ggml.model", "tokenizer.ggml.pre")
MADE: dict[str, dict[str, Any]] = {
    **{f"{rule.name} {number}": byte_level(rule) for number, rule in enumerate(SPLITTINGS)},
    "words": words(lowercase=True),
    "pieces": byte_fallback(prefix=True),
}


def in_short(folder: Path, data: bytes, rows: int) -> dict[str, Any]:
    names = [path.name for path in folder.iterdir()]
    found = head_keys(folder, names, read_head(data), {}, config={}, rows=rows)
    return {item.key: item.value for item in found}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_the_head_of_a_tokenizer_names_its_kind_and_its_splitting_rule(made: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, "tokenizer.json", made)
    write(tmp_path, "config.json", {})
    data, rows = (tmp_path / "tokenizer.json").read_bytes(), len(made["model"]["vocab"]) + 500
    whole = {item.key: item.value for item in read_tokenizer(tmp_path, {}, rows=rows)}
    cut = data[: data.index(b'"vocab"') + 40]
    found = in_short(tmp_path, cut, rows)
    assert found == {key: whole[key] for key in KEYS if key in found}
    assert ("tokenizer.ggml.pre" in found) is (whole["tokenizer.ggml.model"] == "gpt2")
    assert in_short(tmp_path, data, rows) == found


def test_a_rule_that_nobody_knows_is_said_from_the_head_too(tmp_path: Path) -> None:
    made = {**byte_level(SPLITTINGS[0]), "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "x+"}}}
    with pytest.raises(SnugError, match="not known to Snug"):
        in_short(tmp_path, json.dumps(made).encode()[:100_000], 1000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1, 2]",
        b"{",
        b'{"model"',
        b'{"model": 3',
        b"{1: 2}",
        b"\xff\xfe",
        b'{"a": ' + b"[" * 90_000,
        b'{"added_tokens": 5, "model": {"type": "BPE"}}',
    ],
)
def test_what_is_no_tokenizer_says_nothing(data: bytes, tmp_path: Path) -> None:
    assert read_head(data).keys() <= {"model", "added_tokens"}
    in_short(tmp_path, data, 10)
