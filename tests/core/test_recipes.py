"""Recipes choose what llama-quantize chooses, tensor by tensor: in every recipe, for models of every family."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import SnugError
from core.model import Metadata, ModelInfo, OutputTensor
from core.recipes import (
    RECIPES,
    Overrides,
    Role,
    Rule,
    When,
    choose_formats,
    find_recipe,
    needing_importance,
    read_overrides,
)
from kernels import FORMATS

GOLDEN = json.loads((Path(__file__).parent / "golden" / "recipes.json").read_text())
SHAPES = {**GOLDEN["models"], **{f"{name} (snapshot)": entry for name, entry in GOLDEN["snapshots"].items()}}
PRESETS = GOLDEN["llama-3.1-70b presets"]


def numbers(text: str) -> Iterator[int]:
    """ "0-3,7" -> 0 1 2 3 7"""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def expand(entries: list[Any]) -> Iterator[tuple[str, Any]]:
    for template, value, *ranges in entries:
        for index in itertools.product(*map(list, map(numbers, ranges))):
            yield template.format(*index), value


def golden_model(name: str) -> ModelInfo:
    entry = SHAPES[name]
    architecture = entry["architecture"]
    keys = {
        f"{architecture}.{key}": ("[i32]" if isinstance(value, list) else "u32", value)
        for key, value in entry["keys"].items()
    }
    tensors = [OutputTensor(n, tuple(reversed(ne)), dtype) for n, (dtype, ne) in expand(entry["tensors"])]
    return small_model(*tensors, architecture=architecture, keys=keys, is_gguf=True)


def small_model(
    *tensors: OutputTensor,
    architecture: str = "llama",
    keys: dict[str, tuple[str, Any]] | None = None,
    dtype: str = "BF16",
    is_gguf: bool = False,
) -> ModelInfo:
    metadata = tuple(Metadata(key, *value) for key, value in (keys or {}).items())
    return ModelInfo("m", Path("m"), "m", architecture, dtype, metadata, tensors, (), is_gguf=is_gguf)


def sha256(formats: dict[str, str]) -> str:
    return hashlib.sha256("".join(sorted(f"{name} {kind}\n" for name, kind in formats.items())).encode()).hexdigest()


@pytest.mark.parametrize("model", SHAPES)
def test_every_tensor_of_a_real_model_gets_what_llama_quantize_gives_it(model: str) -> None:
    info = golden_model(model)
    expected = SHAPES[model]["types"]
    actual = {}
    for preset in expected:
        name, _, importance = preset.partition(":")
        formats = choose_formats(info, find_recipe(name), has_importance=importance == "imatrix")
        actual[preset] = sha256(formats)[:16]
    assert expected == actual


@pytest.mark.parametrize("model", GOLDEN["models"])
def test_every_tensor_of_a_checkpoint_gets_the_float_type_that_the_converter_gives_it(model: str) -> None:
    info = golden_model(model)
    expected = {tensor.name: tensor.dtype for tensor in info.tensors}
    main = "F16" if "F16" in expected.values() else "BF16"
    assert expected == choose_formats(replace(info, is_gguf=False), find_recipe(main))


@pytest.mark.parametrize("preset", PRESETS)
def test_llama_70b_gets_the_mix_of_llama_cpps_own_snapshot(preset: str) -> None:
    entry = PRESETS[preset]
    others: dict[str, str] = {}
    for template, kinds in entry["others"].items():
        pairs = [(template, kinds)] if isinstance(kinds, str) else expand([[template, k, r] for k, r in kinds.items()])
        others.update(pairs)
    actual = choose_formats(golden_model("meta-llama-3.1-70b-instruct (snapshot)"), find_recipe(preset))
    expected = {name: others.get(name, entry["default"]) for name in actual}
    assert expected == actual


def test_a_golden_exists_for_every_recipe_but_the_newest() -> None:
    assert {recipe.name for recipe in RECIPES} - set(PRESETS) == {"Q1_0", "Q2_0"}
    assert set(PRESETS) <= {recipe.name for recipe in RECIPES}


def test_formats_of_all_rules_are_known_to_kernels() -> None:
    names = {recipe.format for recipe in RECIPES} | {rule.format for recipe in RECIPES for rule in recipe.rules}
    assert names <= set(FORMATS)


def test_file_types_are_the_numbers_of_llama_cpp() -> None:
    expected = {
        "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11,
        "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ2_XXS": 19,
        "IQ2_XS": 20, "Q2_K_S": 21, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27,
        "IQ2_S": 28, "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4_MOE": 38,
        "Q1_0": 40, "Q2_0": 41,
    }  # fmt: skip
    assert expected == {recipe.name: recipe.file_type for recipe in RECIPES}


def test_recipes_are_listed_best_first_with_a_sentence_each() -> None:
    names = [recipe.name for recipe in RECIPES]
    assert [names[0], names[-1]] == ["F32", "Q1_0"]
    assert sorted(names.index(name) for name in ("Q8_0", "Q4_K_M", "IQ3_S", "Q2_K", "IQ1_S")) == [
        names.index(name) for name in ("Q8_0", "Q4_K_M", "IQ3_S", "Q2_K", "IQ1_S")
    ]
    assert all(recipe.summary.endswith(".") for recipe in RECIPES)
    assert len({recipe.summary for recipe in RECIPES}) == len(RECIPES)


def test_rules_are_plain_data_that_can_be_compared() -> None:
    assert Rule(Role.FFN_DOWN, "Q6_K", (When.MORE_BITS,)) in find_recipe("Q5_K_M").rules


def test_a_recipe_is_found_in_any_case() -> None:
    assert find_recipe("q4_k_m") is find_recipe("Q4_K_M")


def test_a_recipe_is_found_by_the_short_name_of_llama_quantize() -> None:
    assert find_recipe("q4_k") is find_recipe("Q4_K_M")


def test_an_unknown_recipe_is_refused_with_the_nearest_and_all_names() -> None:
    with pytest.raises(SnugError) as caught:
        find_recipe("Q4_KM")
    assert "Q4_KM" in caught.value.message
    assert "nearest is Q4_K_M" in caught.value.message
    assert all(recipe.name in caught.value.hint for recipe in RECIPES)


HF_TENSORS = (
    OutputTensor("token_embd.weight", (512, 256), "BF16"),
    OutputTensor("output.weight", (512, 256), "BF16"),
    OutputTensor("blk.0.attn_q.weight", (256, 256), "BF16"),
    OutputTensor("blk.0.attn_q.bias", (256,), "BF16"),
    OutputTensor("blk.0.attn_norm.weight", (256,), "BF16"),
    OutputTensor("blk.0.ffn_gate_inp.weight", (8, 256), "BF16"),
    OutputTensor("blk.0.ffn_gate_exps.bias", (8, 256), "BF16"),
    OutputTensor("per_layer_model_proj.weight", (256, 256), "BF16"),
)
ALWAYS_F32 = {
    "blk.0.attn_q.bias",
    "blk.0.attn_norm.weight",
    "blk.0.ffn_gate_inp.weight",
    "blk.0.ffn_gate_exps.bias",
}


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_float_recipes_keep_norms_biases_and_routers_in_f32(name: str) -> None:
    actual = choose_formats(small_model(*HF_TENSORS), find_recipe(name))
    assert {tensor.name: "F32" if tensor.name in ALWAYS_F32 else name for tensor in HF_TENSORS} == actual


@pytest.mark.parametrize(("dtype", "expected"), [("BF16", "BF16"), ("F16", "F16"), ("F32", "F16")])
def test_what_may_not_be_quantized_of_a_folder_stays_in_its_16_bit_type(dtype: str, expected: str) -> None:
    actual = choose_formats(small_model(*HF_TENSORS, dtype=dtype), find_recipe("Q4_K_M"))
    assert actual["per_layer_model_proj.weight"] == expected
    assert {name for name, kind in actual.items() if kind == "F32"} == ALWAYS_F32


def test_what_may_not_be_quantized_of_a_gguf_keeps_its_type() -> None:
    actual = choose_formats(small_model(*HF_TENSORS, is_gguf=True), find_recipe("Q4_K_M"))
    assert {name for name, kind in actual.items() if kind == "BF16"} == {*ALWAYS_F32, "per_layer_model_proj.weight"}


@pytest.mark.parametrize(
    ("columns", "recipe", "expected"),
    [
        (288, "Q4_K_M", "Q5_0"),
        (288, "Q5_K_M", "Q5_1"),
        (288, "Q6_K", "Q8_0"),
        (288, "Q3_K_S", "Q4_0"),
        (288, "Q2_K", "Q4_0"),
        (288, "Q8_0", "Q8_0"),
        (288, "IQ4_XS", "IQ4_NL"),
        (288, "IQ3_S", "IQ4_NL"),
        (288, "IQ1_S", "IQ4_NL"),
        (288, "TQ2_0", "Q4_0"),
        (96, "Q2_0", "Q4_0"),
        (96, "Q1_0", "Q4_0"),
        (48, "IQ2_XS", "F16"),
        (48, "Q4_K_M", "F16"),
        (48, "Q8_0", "F16"),
        (48, "BF16", "BF16"),
    ],
)
def test_rows_that_fit_no_block_take_the_format_beside_it(columns: int, recipe: str, expected: str) -> None:
    tensor = OutputTensor("blk.0.attn_q.weight", (64, columns), "BF16")
    assert choose_formats(small_model(tensor), find_recipe(recipe)) == {tensor.name: expected}


def test_pure_gives_all_weights_the_base_format() -> None:
    actual = choose_formats(small_model(*HF_TENSORS), find_recipe("Q4_K_M"), pure=True)
    assert {actual[name] for name in ("token_embd.weight", "output.weight", "blk.0.attn_q.weight")} == {"Q4_K"}
    assert actual["blk.0.attn_norm.weight"] == "F32"


def test_the_embedding_counts_as_output_only_when_there_is_no_output() -> None:
    embedding, output, *_ = HF_TENSORS
    assert choose_formats(small_model(embedding), find_recipe("Q4_0"))[embedding.name] == "Q6_K"
    assert choose_formats(small_model(embedding, output), find_recipe("Q4_0"))[embedding.name] == "Q4_0"


def test_a_model_without_any_keys_gets_formats_all_the_same() -> None:
    tensors = [OutputTensor(f"strange.{n}.weight", (64, 256), "F16") for n in ("attn_v", "ffn_down", "attn_output")]
    for recipe in RECIPES:
        assert len(choose_formats(small_model(*tensors, architecture="strange"), recipe)) == 3


def test_recipes_that_llama_quantize_refuses_without_importance_say_so() -> None:
    info = golden_model("llama-3.1-8b")
    for recipe in RECIPES:
        lacking = needing_importance(choose_formats(info, recipe), recipe)
        assert recipe.needs_importance == bool(lacking), recipe.name


def test_an_embedding_needs_no_importance_in_any_format() -> None:
    formats = {"token_embd.weight": "IQ2_XS", "output.weight": "IQ2_XS", "blk.0.attn_q.weight": "IQ2_XS"}
    assert needing_importance(formats, find_recipe("Q4_K_M")) == ["blk.0.attn_q.weight"]
    assert needing_importance({"blk.0.ffn_up.weight": "Q2_K"}, find_recipe("Q2_K")) == []


WIDE_NAMES = ("token_embd", "output", "blk.0.attn_v", "blk.0.ffn_down", "blk.1.attn_v", "blk.1.ffn_down")
WIDE = tuple(OutputTensor(f"{name}.weight", (512, 512), "BF16") for name in WIDE_NAMES)


def test_an_output_type_and_an_embedding_type_come_before_the_recipe() -> None:
    overrides = read_overrides(output="q8_0", token_embedding="iq4_xs")
    actual = choose_formats(small_model(*WIDE), find_recipe("Q4_K_M"), overrides=overrides)
    assert actual["output.weight"] == "Q8_0"
    assert actual["token_embd.weight"] == "IQ4_XS"
    assert choose_formats(small_model(*WIDE), find_recipe("BF16"), overrides=overrides)["output.weight"] == "Q8_0"


def test_a_tied_embedding_takes_the_output_type_unless_it_has_its_own() -> None:
    tied = small_model(*(tensor for tensor in WIDE if tensor.name != "output.weight"))
    for overrides, expected in ((Overrides(output="Q5_K"), "Q5_K"), (Overrides("Q5_K", "Q3_K"), "Q3_K")):
        assert choose_formats(tied, find_recipe("Q4_K_M"), overrides=overrides)["token_embd.weight"] == expected


def test_an_output_left_alone_stays_in_its_16_bits() -> None:
    actual = choose_formats(small_model(*WIDE), find_recipe("Q4_K_M"), overrides=Overrides(leave_output=True))
    assert actual["output.weight"] == "BF16"
    assert actual["token_embd.weight"] == "Q4_K"


def test_the_first_pattern_found_in_a_name_decides_and_rows_must_still_fit() -> None:
    overrides = read_overrides(tensors=[r"blk\.1\..*=Q3_K", "ffn_(down|up)=Q6_K"])
    actual = choose_formats(small_model(*WIDE), find_recipe("Q4_K_M"), overrides=overrides)
    assert actual["blk.0.ffn_down.weight"] == "Q6_K"
    assert {actual["blk.1.ffn_down.weight"], actual["blk.1.attn_v.weight"]} == {"Q3_K"}
    odd = small_model(OutputTensor("blk.0.ffn_down.weight", (64, 288), "BF16"))
    assert choose_formats(odd, find_recipe("Q4_K_M"), overrides=overrides) == {"blk.0.ffn_down.weight": "Q8_0"}


def test_tensors_chosen_by_name_are_not_counted_by_the_rules() -> None:
    down = [OutputTensor(f"blk.{i}.ffn_down.weight", (256, 256), "BF16") for i in range(16)]
    info = small_model(*down, keys={"llama.block_count": ("u32", 16)})
    overrides = read_overrides(tensors=[r"blk\.[01]\.=Q2_K"])
    actual = choose_formats(info, find_recipe("Q4_K_S"), overrides=overrides)
    assert [tensor.name for tensor in down if actual[tensor.name] == "Q5_K"] == [down[2].name, down[3].name]


@pytest.mark.parametrize("text", ["ffn_down", "=Q4_K", "ffn_down=", "ffn_(down=Q4_K", "ffn_down=Q9_K"])
def test_a_choice_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SnugError):
        read_overrides(tensors=[text])


def test_an_embedding_type_whose_blocks_do_not_fill_a_row_is_refused() -> None:
    odd = small_model(OutputTensor("token_embd.weight", (64, 288), "BF16"))
    with pytest.raises(SnugError, match=r"token_embd\.weight cannot be Q4_K"):
        choose_formats(odd, find_recipe("Q8_0"), overrides=Overrides(token_embedding="Q4_K"))


def test_mxfp4_experts_of_a_checkpoint_are_kept_when_it_is_only_converted() -> None:
    experts = OutputTensor("blk.0.ffn_up_exps.weight", (4, 64, 64), "MXFP4")
    info = small_model(experts, *HF_TENSORS)
    assert choose_formats(info, find_recipe("BF16"))[experts.name] == "MXFP4"
    assert choose_formats(info, find_recipe("MXFP4_MOE"))[experts.name] == "MXFP4"
    assert choose_formats(info, find_recipe("Q8_0"))[experts.name] == "Q8_0"
