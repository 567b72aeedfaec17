"""Whatever stands in config.json, the answer is a model or a sentence about what is wrong, at once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from core.architectures import ENTRIES, Source, check_values, find_architecture, flat_config, map_model
from core.architectures.config import fraction, unusable
from core.errors import SnugError
from core.model import Metadata
from core.tensor_ops import RopeHalves, RopePermute
from tests.core.test_families import GOLDEN, NAMES, _source

_NONSENSE: tuple[Any, ...] = (
    *(
        "x",
        "",
        "\ud800",
        -1,
        0,
        1,
        3,
        1.5,
        10**6,
        2**31,
        10**30,
        1e300,
        -1e300,
        float("nan"),
        float("inf"),
        True,
        False,
    ),
    *([], [1], [-1, 2], ["a"], [None], [[1]], [{}], {}, {"a": 1}, {"rope_type": ["x"]}, {"mrope_section": ["x"]}),
    {"rope_type": "yarn", "factor": 10**30, "original_max_position_embeddings": 1e300},
    {"rope_type": "llama3", "factor": 1e-300, "low_freq_factor": 1, "high_freq_factor": 1},
    {"rope_type": "longrope", "long_factor": [1], "short_factor": ["x"]},
    {"full_attention": {"rope_theta": "x"}, "partial_rotary_factor": 1e300},
)
# What a config that is not as a family has it may raise: core.checkpoint makes a sentence of it.
_LAID_OUT_OTHERWISE = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)


@cache
def _golden(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _settings(name: str) -> Iterator[str]:
    """What the family of a golden file may read: what its config has, and what its entry asks for."""
    golden = _golden(name)
    config = flat_config({"architectures": [golden["class"]], **golden["config"]})
    entry = find_architecture(config)
    yield from sorted(set(config) | {source for key in entry.keys for source in key.sources})


def _read(name: str, changed: dict[str, Any]) -> None:
    golden = _golden(name)
    config = flat_config({"architectures": [golden["class"]], **golden["config"], **changed})
    entry = find_architecture(config)
    source: Source = _source(golden, entry.arch, entry.config(config))
    check_values(map_model(entry, source).keys)


@pytest.mark.parametrize("name", NAMES)
def test_nonsense_in_any_setting_is_an_error_in_words_or_a_model(name: str) -> None:
    chance = random.Random(name)
    said = []
    for setting in _settings(name):
        try:
            _read(name, {setting: chance.choice(_NONSENSE)})
        except SnugError as error:
            said.append(error.message)
        except _LAID_OUT_OTHERWISE:
            pass
    assert max(map(len, said)) < 400


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("flan-t5-small", "num_decoder_layers", 10**6),
        ("deepseek-v2", "n_routed_experts", 2**31),
        ("deepseek-v2", "num_nextn_predict_layers", 10**6),
        ("gemma4-moe-text", "rope_parameters", {"full_attention": {"partial_rotary_factor": 2**31}}),
        ("deepseek-v2", "n_routed_experts", [4, 4]),
        ("qwen3-0.6b", "rope_theta", -1.0),
        ("qwen3-0.6b", "rope_theta", [0] * 10**6),
    ],
)
def test_numbers_without_measure_cost_neither_time_nor_memory(name: str, setting: str, value: Any) -> None:
    if setting == "num_nextn_predict_layers":
        _read(name, {setting: value})
        return
    with pytest.raises(SnugError):
        _read(name, {setting: value})


def test_an_error_shows_no_more_of_a_value_than_a_line_holds() -> None:
    assert len(unusable("head_dim", list(range(10**5))).message) < 120


def test_a_part_of_a_whole_is_between_nothing_and_all() -> None:
    assert fraction({"part": 1}, "part", 0.5) == 1
    with pytest.raises(SnugError, match="part"):
        fraction({"part": 1.5}, "part", 0.5)


@pytest.mark.parametrize("item", [("u32", -1), ("u32", 1.5), ("[i32]", [2**31]), ("f32", float("nan"))])
def test_a_key_that_no_gguf_can_hold_is_refused(item: tuple[str, Any]) -> None:
    with pytest.raises(SnugError, match="no GGUF can hold"):
        check_values([Metadata("a.key", *item)])


def test_no_class_has_two_entries_that_both_want_it() -> None:
    classes = [name for entry in ENTRIES for name in entry.classes if entry.when({})]
    assert sorted(classes) == sorted(set(classes))


def test_halves_undo_interleaved_pairs_in_the_part_of_a_head_that_turns() -> None:
    rows = np.arange(24).reshape(24, 1)
    made = RopeHalves(2, 8).apply(rows, rows.shape).reshape(-1).tolist()
    assert made[:12] == [0, 2, 4, 6, 1, 3, 5, 7, 8, 9, 10, 11]
    whole = RopePermute(2).apply(RopeHalves(2, 12).apply(rows, rows.shape), rows.shape)
    assert whole.tolist() == rows.tolist()
    with pytest.raises(SnugError, match="turn in pairs"):
        RopeHalves(2, 14).shape((24, 1))


def test_a_class_that_is_no_word_is_not_taken_for_one() -> None:
    config = flat_config({"architectures": [["a"]], "model_type": "x", "text_config": {"model_type": "llama"}})
    with pytest.raises(SnugError, match="not supported"):
        find_architecture(config)
