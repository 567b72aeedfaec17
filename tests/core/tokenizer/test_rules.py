"""What families say about their tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor

from core.errors import SnugError
from core.tokenizer import DEFAULT, TokenizerRules, describe_tokenizer, read_tokenizer, rules_for
from core.tokenizer import rules as families
from core.tokenizer.splitting_names import SPLITTINGS
from tests.core.tokenizer.made import byte_fallback, byte_level, template, trained, write
from tests.core.tokenizer.test_kinds import check, hugging_face

RULES = {rule.name: rule for rule in SPLITTINGS}
GPT_2 = RULES["gpt-2"]


def keys(folder: Path, rules: TokenizerRules, rows: int, config: dict[str, Any] | None = None) -> dict[str, Any]:
    items = read_tokenizer(folder, config or {}, rows=rows, rules=rules)
    return {item.key.removeprefix("tokenizer.").removeprefix("ggml."): item.value for item in items}


def write_bytes(folder: Path, *added: str, **config: Any) -> dict[str, int]:
    """A byte-level tokenizer with these added tokens; gives their ids."""
    tokenizer = byte_level(GPT_2)
    size = len(tokenizer["model"]["vocab"])
    ids = {text: size + at for at, text in enumerate(added)}
    tokenizer["added_tokens"] = [{"id": n, "content": text, "special": True} for text, n in ids.items()]
    write(folder, "tokenizer.json", tokenizer)
    write(folder, "tokenizer_config.json", config)
    return ids


def write_pieces(folder: Path, **config: Any) -> int:
    """A SentencePiece model; gives the number of its pieces."""
    model = trained("bpe", identity=True)
    (folder / "tokenizer.model").write_bytes(model)
    write(folder, "tokenizer_config.json", config)
    return int(SentencePieceProcessor(model_proto=model).get_piece_size())


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("MixtralForCausalLM", families.LLAMA),
        ("Gemma3nForCausalLM", families.GEMMA3),
        ("XLMRobertaModel", families.XLM_R),
        ("FalconForCausalLM", DEFAULT),
        ("Invented", DEFAULT),
        ("NemotronHForCausalLM", families.NEMOTRON_H),
    ],
)
def test_a_class_has_the_rules_of_its_family(name: str, rules: TokenizerRules) -> None:
    assert rules_for({"architectures": [name]}) == rules


def test_a_config_without_a_class_has_the_default_rules() -> None:
    assert rules_for({"architectures": None}) == rules_for({}) == DEFAULT


def test_the_familys_rules_may_be_given(tmp_path: Path) -> None:
    write_bytes(tmp_path)
    assert keys(tmp_path, TokenizerRules(space_prefix=True), 1700)["add_space_prefix"] is True


def test_a_model_without_a_vocabulary_says_so(tmp_path: Path) -> None:
    assert keys(tmp_path, TokenizerRules(kinds=("none",)), 10) == {"model": "none"}


def test_gemma_has_an_end_of_turn_and_no_blank_in_front(tmp_path: Path) -> None:
    rows = write_pieces(tmp_path)
    actual = keys(tmp_path, families.GEMMA, rows)
    assert (actual["eot_token_id"], actual["add_space_prefix"]) == (107, False)
    assert "eot_token_id" not in keys(tmp_path, families.GEMMA3, rows)


def test_nemotrons_ids_are_what_the_family_says(tmp_path: Path) -> None:
    rows = write_pieces(tmp_path)
    actual = keys(tmp_path, families.NEMOTRON, rows, {"pad_token_id": 5, "unk_token_id": 6, "bos_token_id": 7})
    assert (actual["padding_token_id"], actual["unknown_token_id"], actual["bos_token_id"]) == (0, 1, 7)


def test_internlm_2_ends_with_its_turn(tmp_path: Path) -> None:
    decoder = {"710": {"content": "<|im_end|>", "special": True}, "711": {"content": "<|tool|>", "special": False}}
    rows = write_pieces(tmp_path, added_tokens_decoder=decoder)
    assert rows <= 710
    actual = keys(tmp_path, families.INTERNLM2, 712, {"eos_token_id": 2})
    assert (actual["eos_token_id"], actual["add_space_prefix"]) == (710, True)
    assert actual["token_type"][710:] == [3, 4]


def test_phi_3s_added_tokens_are_control_only_if_special(tmp_path: Path) -> None:
    rows = write_pieces(tmp_path)
    tokens = [
        {"id": 2, "content": "</s>", "special": False},
        {"id": rows, "content": "<|user|>", "special": True},
        {"id": rows + 1, "content": "<|odd|>", "special": False},
        {"id": rows + 2, "content": "<|no row|>", "special": True},
    ]
    write(tmp_path, "tokenizer.json", {"added_tokens": tokens})
    actual = keys(tmp_path, families.PHI3, rows + 2)
    assert (actual["token_type"][2], actual["token_type"][rows:]) == (4, [3, 4])
    assert keys(tmp_path, families.LLAMA, rows + 2)["token_type"][rows:] == [5, 5]


def test_glm_4s_special_tokens_are_known_by_their_texts(tmp_path: Path) -> None:
    ids = write_bytes(tmp_path, "<|endoftext|>", "[gMASK]", "<|user|>", "<|observation|>")
    end, mask, user, observation = ids.values()
    actual = keys(tmp_path, families.GLM4, 1700)
    assert [actual[f"{kind}_token_id"] for kind in ("eos", "eot", "unknown", "bos")] == [end, user, end, end]
    actual = keys(tmp_path, families.GLM4_MOE, 1700, {"eos_token_id": [end, user], "pad_token_id": end})
    expected = {
        "padding_token_id": end,
        "bos_token_id": mask,
        "eot_token_id": user,
        "unknown_token_id": end,
        "eom_token_id": observation,
    }
    assert expected == {name: value for name, value in actual.items() if name.endswith("_token_id")}


def test_ids_of_the_files_come_before_texts_of_the_family(tmp_path: Path) -> None:
    write_bytes(tmp_path, "<|endoftext|>", "<|user|>")
    assert keys(tmp_path, families.GLM4, 1700, {"bos_token_id": 7})["bos_token_id"] == 7


def test_hunyuans_end_stands_under_another_name(tmp_path: Path) -> None:
    write_bytes(tmp_path)
    write(tmp_path, "generation_config.json", {"eos_token_id": [5, 4]})
    actual = keys(tmp_path, families.HUNYUAN_DENSE, 1700, {"eos_token_id": 3, "eod_token_id": 4})
    assert (actual["eos_token_id"], actual["eot_token_id"]) == (4, 5)


def test_a_familys_name_serves_a_rule_that_is_not_known(tmp_path: Path) -> None:
    tokenizer = byte_level(GPT_2)
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    write(tmp_path, "tokenizer.json", tokenizer)
    assert keys(tmp_path, families.FALCON_H1, 1700)["pre"] == "falcon-h1"
    with pytest.raises(SnugError, match="not known"):
        keys(tmp_path, DEFAULT, 1700)


@pytest.mark.parametrize(("says", "expected"), [(None, True), (False, False)])
def test_modern_bert_adds_what_its_files_do_not_deny(tmp_path: Path, says: bool | None, expected: bool) -> None:
    write_bytes(tmp_path, **({} if says is None else {"add_bos_token": says}))
    actual = keys(tmp_path, families.MODERN_BERT, 1700)
    assert [actual[f"add_{kind}_token"] for kind in ("bos", "eos", "sep")] == [expected, True, True]


def test_nemotron_h_adds_bos_whatever_its_files_say(tmp_path: Path) -> None:
    write_bytes(tmp_path, add_bos_token=False)
    assert keys(tmp_path, families.NEMOTRON_H, 1700)["add_bos_token"] is True


def test_gemmas_vocabulary_in_an_encoder_is_merged_over_raw_letters(tmp_path: Path) -> None:
    tokenizer = byte_fallback(prefix=False)
    write(tmp_path, "tokenizer.json", tokenizer)
    items = read_tokenizer(tmp_path, {}, rows=len(tokenizer["model"]["vocab"]), rules=families.MODERN_BERT)
    check(items, hugging_face(tokenizer))
    assert [item.value for item in items[:2]] == ["gpt2", "granite-embed-multi-311m"]


def test_with_a_blank_in_front_it_is_mmberts(tmp_path: Path) -> None:
    tokenizer = byte_fallback(prefix=True)
    write(tmp_path, "tokenizer.json", tokenizer)
    assert keys(tmp_path, families.MODERN_BERT, len(tokenizer["model"]["vocab"]))["pre"] == "mmbert"


def test_a_mamba_without_a_tokenizer_is_told_whose_it_has(tmp_path: Path) -> None:
    with pytest.raises(SnugError, match="has no tokenizer") as caught:
        keys(tmp_path, families.MAMBA, 100)
    assert "EleutherAI/gpt-neox-20b" in caught.value.hint


def test_ids_at_the_root_of_config_json_come_before_those_inside(tmp_path: Path) -> None:
    write_bytes(tmp_path)
    write(tmp_path, "config.json", {"eos_token_id": 5, "text_config": {"eos_token_id": 6, "bos_token_id": 7}})
    actual = keys(tmp_path, DEFAULT, 1700, {"eos_token_id": 6, "bos_token_id": 7})
    assert (actual["eos_token_id"], actual["bos_token_id"]) == (5, 7)


def test_a_bert_may_have_xlm_rs_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "sentencepiece.bpe.model").write_bytes(trained("unigram"))
    actual = keys(tmp_path, families.BERT, 710, {"type_vocab_size": 2})
    assert (actual["model"], actual["token_type_count"]) == ("t5", 2)


def test_an_end_that_the_template_adds_makes_the_configured_one_an_end_of_turn(tmp_path: Path) -> None:
    tokenizer = byte_level(GPT_2)
    size = len(tokenizer["model"]["vocab"])
    ids = {"<|im_end|>": size, "<|endoftext|>": size + 1}
    tokenizer["added_tokens"] = [{"id": n, "content": text, "special": True} for text, n in ids.items()]
    tokenizer["post_processor"] = template("", "<|endoftext|>", ids)
    write(tmp_path, "tokenizer.json", tokenizer)
    write(tmp_path, "tokenizer_config.json", {"eos_token": "<|im_end|>"})
    actual = keys(tmp_path, DEFAULT, 1700)
    assert (actual["eos_token_id"], actual["eot_token_id"], actual["add_eos_token"]) == (size + 1, size, True)


def test_a_tokenizer_is_described_in_a_few_words(tmp_path: Path) -> None:
    write_bytes(tmp_path)
    values = {item.key: item.value for item in read_tokenizer(tmp_path, {}, rows=1700)}
    assert describe_tokenizer(values) == "byte-level BPE (gpt-2), 1,700 tokens"
    assert describe_tokenizer({}) == "no tokenizer"


def test_a_special_token_that_is_only_named_comes_last(tmp_path: Path) -> None:
    ids = write_bytes(tmp_path, "<|one|>", pad_token="<|pad|>", eos_token={"content": "<|one|>"})
    last = ids["<|one|>"] + 1
    actual = keys(tmp_path, DEFAULT, last + 1)
    assert (actual["tokens"][last], actual["token_type"][last]) == ("<|pad|>", 3)
    assert "<|pad|>" not in keys(tmp_path, DEFAULT, last)["tokens"]


def test_a_class_may_have_special_tokens_by_itself(tmp_path: Path) -> None:
    ids = write_bytes(tmp_path, "</s>")
    last = ids["</s>"] + 1
    actual = keys(tmp_path, families.BLOOM, last + 3)
    assert actual["tokens"][last:] == ["<s>", "<unk>", "<pad>"]
