"""Tokenizer files become the keys that llama.cpp's converter writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from core.errors import SnugError
from core.model import Metadata
from core.tokenizer import read_tokenizer
from core.tokenizer.splitting import SPLITTINGS

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "resources" / "sample"
PRE_TOKENIZERS = json.loads((HERE / "golden" / "pre_tokenizers.json").read_text(encoding="utf-8"))["tokenizers"]
LLAMA = {"architectures": ["LlamaForCausalLM"]}
GPT_2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
BOS_TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
    "pair": [
        {"SpecialToken": {"id": "<s>"}},
        {"Sequence": {"id": "A"}},
        {"SpecialToken": {"id": "<s>"}},
        {"Sequence": {"id": "B"}},
    ],
}


def keys(items: tuple[Metadata, ...]) -> dict[str, Any]:
    return {item.key.removeprefix("tokenizer.").removeprefix("ggml."): item.value for item in items}


def write(folder: Path, **files: Any) -> Path:
    """Files by name, "__" for the dot: tokenizer__json={...}. Text is written as it is."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def added(number: int, content: str, *, special: bool = True) -> dict[str, Any]:
    return {"id": number, "content": content, "special": special, "normalized": False}


def byte_level(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json of five tokens and two added ones."""
    return {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4}, "merges": ["a b", "Ġ ab"]},
        "added_tokens": [added(5, "<s>"), added(6, "</s>")],
        "pre_tokenizer": GPT_2,
        "post_processor": None,
    } | changes


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A SentencePiece BPE model of 300 pieces with byte fallback."""
    target = tmp_path_factory.mktemp("pieces") / "tiny"
    text = ["the quick brown fox jumps over the lazy dog", "a model is a file of numbers", "small models fit"] * 20
    SentencePieceTrainer.Train(
        sentence_iterator=iter(text),
        model_prefix=str(target),
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return target.with_suffix(".model").read_bytes()


@pytest.fixture
def spm_folder(tmp_path: Path, pieces: bytes) -> Path:
    (tmp_path / "tokenizer.model").write_bytes(pieces)
    return tmp_path


def test_the_sample_model_gets_all_keys_in_the_converters_order() -> None:
    config = json.loads((SAMPLE / "config.json").read_text())
    items = read_tokenizer(SAMPLE, config, rows=1536)
    expected = [
        ("tokenizer.ggml.model", "str"),
        ("tokenizer.ggml.pre", "str"),
        ("tokenizer.ggml.tokens", "[str]"),
        ("tokenizer.ggml.scores", "[f32]"),
        ("tokenizer.ggml.token_type", "[i32]"),
        ("tokenizer.ggml.bos_token_id", "u32"),
        ("tokenizer.ggml.eos_token_id", "u32"),
        ("tokenizer.ggml.add_bos_token", "bool"),
        ("tokenizer.ggml.add_eos_token", "bool"),
    ]
    assert expected == [(item.key, item.type) for item in items]
    actual = keys(items)
    assert {len(actual[name]) for name in ("tokens", "scores", "token_type")} == {1536}
    assert (actual["model"], actual["pre"], actual["bos_token_id"], actual["eos_token_id"]) == (
        "llama",
        "default",
        1,
        2,
    )
    assert (actual["add_bos_token"], actual["add_eos_token"]) == (True, False)


def test_pieces_keep_their_text_score_and_type(spm_folder: Path) -> None:
    model = SentencePieceProcessor(model_file=str(spm_folder / "tokenizer.model"))
    size = model.GetPieceSize()
    actual = keys(read_tokenizer(spm_folder, LLAMA, rows=size))
    assert [model.IdToPiece(n) for n in range(size)] == actual["tokens"]
    assert [model.GetScore(n) for n in range(size)] == actual["scores"]
    assert [2, 3, 3] + [6] * 256 + [1] * (size - 259) == actual["token_type"]


def test_rows_without_a_token_are_filled_with_unused_ones(spm_folder: Path) -> None:
    actual = keys(read_tokenizer(spm_folder, LLAMA, rows=302))
    assert actual["tokens"][300:] == ["[PAD300]", "[PAD301]"]
    assert (actual["scores"][300:], actual["token_type"][300:]) == ([-10000.0] * 2, [5, 5])


def test_added_tokens_lie_over_the_vocabulary_and_the_config_decides(spm_folder: Path) -> None:
    decoder = {
        "0": {"content": "<unk>", "special": True},
        "301": {"content": "<|end|>", "special": False},
        "302": {"content": "a▁tool", "special": False},
    }
    write(
        spm_folder,
        added_tokens__json={"extra": 300, "x": 301},
        tokenizer_config__json={"added_tokens_decoder": decoder},
    )
    actual = keys(read_tokenizer(spm_folder, LLAMA, rows=303))
    assert actual["tokens"][300:] == ["extra", "<|end|>", "a tool"]
    assert actual["token_type"][300:] == [4, 3, 4]
    assert actual["scores"][300:] == [-1000.0] * 3
    assert (actual["tokens"][0], actual["token_type"][0], actual["scores"][0]) == ("<unk>", 3, -1000.0)


def test_an_added_token_without_a_row_is_passed_over(spm_folder: Path) -> None:
    write(spm_folder, added_tokens__json={"[PAD]": 300})
    assert len(keys(read_tokenizer(spm_folder, LLAMA, rows=300))["tokens"]) == 300


def test_more_pieces_than_rows_are_refused(spm_folder: Path) -> None:
    with pytest.raises(SnugError, match="token number 299, but the model's embedding has 299 rows"):
        read_tokenizer(spm_folder, LLAMA, rows=299)


def json_pieces(**changes: Any) -> dict[str, Any]:
    """A byte-fallback BPE: what a tokenizer.model looks like in tokenizer.json."""
    vocab = {text: n for n, text in enumerate(["<unk>", "<s>", "</s>", "<0x00>", "▁", "a", "b", "ab", "▁ab", "zz"])}
    return {
        "model": {
            "type": "BPE",
            "byte_fallback": True,
            "unk_token": "<unk>",
            "vocab": vocab,
            "merges": ["a b", "▁ ab", "▁a b"],
        },
        "added_tokens": [added(1, "<s>"), added(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]},
        "pre_tokenizer": None,
    } | changes


@pytest.mark.parametrize("merges", [["a b", "▁ ab", "▁a b"], [["a", "b"], ["▁", "ab"], ["▁a", "b"]]])
def test_byte_fallback_pieces_score_minus_the_rank_of_their_merge(tmp_path: Path, merges: list[Any]) -> None:
    tokenizer = json_pieces()
    tokenizer["model"]["merges"] = merges
    actual = keys(read_tokenizer(write(tmp_path, tokenizer__json=tokenizer), LLAMA, rows=10))
    assert (actual["model"], actual["pre"]) == ("llama", "default")
    assert actual["token_type"] == [2, 3, 3, 6, 1, 1, 1, 1, 1, 1]
    assert actual["scores"][7:] == [0.0, -1.0, -3.0]
    assert "add_space_prefix" not in actual


def test_byte_fallback_merges_in_the_order_of_the_original_model(tmp_path: Path, pieces: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(pieces)
    original = keys(read_tokenizer(tmp_path, LLAMA, rows=300))
    texts, scores = original["tokens"], original["scores"]
    ids = {text: n for n, text in enumerate(texts)}
    splits = [(t[:i], t[i:]) for t in texts[259:] for i in range(1, len(t)) if t[:i] in ids and t[i:] in ids]
    merges = sorted(splits, key=lambda pair: -scores[ids["".join(pair)]])
    tokenizer = json_pieces()
    tokenizer["model"] |= {"vocab": ids, "merges": [" ".join(pair) for pair in merges]}
    (tmp_path / "tokenizer.model").unlink()
    actual = keys(read_tokenizer(write(tmp_path, tokenizer__json=tokenizer), LLAMA, rows=300))["scores"]
    merged = {ids["".join(pair)] for pair in splits}
    assert sorted(merged, key=lambda n: -scores[n]) == sorted(merged, key=lambda n: -actual[n])


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({"normalizer": None}, True),
        ({"normalizer": {"type": "Replace", "content": "▁"}}, True),
        ({"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "never"}}, True),
        ({"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"}}, False),
    ],
)
def test_a_tokenizer_that_puts_no_blank_in_front_says_so(
    tmp_path: Path, changes: dict[str, Any], written: bool
) -> None:
    folder = write(tmp_path, tokenizer__json=json_pieces(**changes))
    assert keys(read_tokenizer(folder, LLAMA, rows=10)).get("add_space_prefix", True) is not written


def test_byte_level_bpe_gets_all_keys_in_the_converters_order(tmp_path: Path) -> None:
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ messages }}"}
    processors = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, BOS_TEMPLATE]}
    folder = write(tmp_path, tokenizer__json=byte_level(post_processor=processors), tokenizer_config__json=config)
    actual = read_tokenizer(folder, LLAMA, rows=8)
    expected = (
        Metadata("tokenizer.ggml.model", "str", "gpt2"),
        Metadata("tokenizer.ggml.pre", "str", "gpt-2"),
        Metadata("tokenizer.ggml.tokens", "[str]", ["a", "b", "Ġ", "ab", "Ġab", "<s>", "</s>", "[PAD7]"]),
        Metadata("tokenizer.ggml.token_type", "[i32]", [1, 1, 1, 1, 1, 3, 3, 5]),
        Metadata("tokenizer.ggml.merges", "[str]", ["a b", "Ġ ab"]),
        Metadata("tokenizer.ggml.bos_token_id", "u32", 5),
        Metadata("tokenizer.ggml.eos_token_id", "u32", 6),
        Metadata("tokenizer.ggml.add_bos_token", "bool", True),
        Metadata("tokenizer.ggml.add_eos_token", "bool", False),
        Metadata("tokenizer.ggml.add_sep_token", "bool", False),
        Metadata("tokenizer.chat_template", "str", "{{ messages }}"),
    )
    assert expected == actual


def test_merges_as_pairs_are_joined_and_their_blanks_spelled(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer["model"]["merges"] = [["a", "b"], [" ", "ab"]]
    actual = keys(read_tokenizer(write(tmp_path, tokenizer__json=tokenizer), LLAMA, rows=7))
    assert actual["merges"] == ["a b", "Ġ ab"]


@pytest.mark.parametrize(
    ("text", "special", "expected"),
    [
        ("<tool>", True, 3),
        ("<tool>", False, 4),
        ("<|im_end|>", False, 3),
        ("<｜User｜>", False, 3),
        ("<unused7>", False, 3),
        ("<pad>", False, 3),
        ("<mask>", False, 3),
        ("[@BOS@]", False, 3),
    ],
)
def test_an_added_token_is_control_when_special_or_looking_so(
    tmp_path: Path, text: str, special: bool, expected: int
) -> None:
    tokenizer = byte_level(added_tokens=[added(5, text, special=special)])
    actual = keys(read_tokenizer(write(tmp_path, tokenizer__json=tokenizer), LLAMA, rows=6))
    assert (actual["tokens"][5], actual["token_type"][5]) == (text, expected)


def test_tokens_that_only_the_config_adds_are_there_too(tmp_path: Path) -> None:
    config = {"added_tokens_decoder": {"7": {"content": "<tool>", "special": False}}}
    folder = write(tmp_path, tokenizer__json=byte_level(), tokenizer_config__json=config)
    actual = keys(read_tokenizer(folder, LLAMA, rows=8))
    assert (actual["tokens"][7], actual["token_type"][7]) == ("<tool>", 4)


def test_more_tokens_than_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SnugError, match="token number 4, but the model's embedding has 4 rows"):
        read_tokenizer(write(tmp_path, tokenizer__json=byte_level()), LLAMA, rows=4)


@pytest.mark.parametrize("kind", ["byte level", "byte fallback"])
def test_an_added_token_of_tokenizer_json_without_a_row_is_passed_over(tmp_path: Path, kind: str) -> None:
    tokenizer, rows = (byte_level(), 6) if kind == "byte level" else (json_pieces(), 10)
    tokenizer["added_tokens"].append(added(rows, "<pad>"))
    actual = keys(read_tokenizer(write(tmp_path, tokenizer__json=tokenizer), LLAMA, rows=rows))
    assert len(actual["tokens"]) == rows
    assert "<pad>" not in actual["tokens"]


def test_an_added_token_that_the_vocabulary_has_keeps_its_id(tmp_path: Path) -> None:
    tokenizer = byte_level(added_tokens=[added(5, "ab"), added(6, "</s>")])
    actual = keys(read_tokenizer(write(tmp_path, tokenizer__json=tokenizer), LLAMA, rows=7))
    assert (actual["tokens"][3], actual["token_type"][3]) == ("ab", 3)
    assert (actual["tokens"][5], actual["token_type"][5]) == ("[PAD5]", 5)


def test_of_two_equal_texts_the_added_one_stays(spm_folder: Path) -> None:
    decoder = {"300": {"content": "<s>", "special": True}}
    write(spm_folder, tokenizer_config__json={"added_tokens_decoder": decoder})
    actual = keys(read_tokenizer(spm_folder, LLAMA, rows=301))
    assert (actual["tokens"][1], actual["token_type"][1]) == ("[PAD1]", 5)
    assert (actual["tokens"][300], actual["token_type"][300]) == ("<s>", 3)


def pre_of(folder: Path, splitter: Any, *, marker: str = "", processor: Any = None) -> str:
    tokenizer = byte_level(pre_tokenizer=splitter, post_processor=processor)
    if marker:
        tokenizer["added_tokens"].append(added(7, marker))
    write(folder, tokenizer__json=tokenizer, tokenizer_config__json={"bos_token": "<s>"})
    return str(keys(read_tokenizer(folder, LLAMA, rows=8))["pre"])


@pytest.mark.parametrize("tokenizer", PRE_TOKENIZERS)
def test_the_splitting_rules_of_published_tokenizers_have_their_names(tmp_path: Path, tokenizer: str) -> None:
    entry = PRE_TOKENIZERS[tokenizer]
    processor = BOS_TEMPLATE if entry["adds_bos"] else {"type": "ByteLevel"}
    assert entry["name"] == pre_of(tmp_path, entry["pre_tokenizer"], marker=entry["marker"], processor=processor)


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": [*steps, {"type": "ByteLevel", "use_regex": False}]}


def test_llama_3s_rule_without_bos_is_smaugs(tmp_path: Path) -> None:
    assert pre_of(tmp_path, PRE_TOKENIZERS["llama3"]["pre_tokenizer"]) == "smaug-bpe"


def test_mistral_nemos_rule_is_tekken(tmp_path: Path) -> None:
    pattern = (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    assert pre_of(tmp_path, sequence(split(pattern))) == "tekken"


def test_deepseek_llms_rule_is_known_by_its_beginning(tmp_path: Path) -> None:
    steps = (
        "[\r\n]",
        r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯ]+",
        r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
        r"\s+$",
        "[一-龥ࠀ-一가-퟿]+",
    )
    splitter = sequence(*map(split, steps), {"type": "Digits", "individual_digits": True})
    assert pre_of(tmp_path, splitter) == "deepseek-llm"


def test_smollm_is_told_from_starcoder_by_a_token(tmp_path: Path) -> None:
    splitter = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, GPT_2]}
    assert pre_of(tmp_path, splitter, marker="<|im_start|>") == "smollm"
    assert pre_of(tmp_path, splitter) == "starcoder"


def test_byte_level_without_a_word_on_its_regex_has_gpt_2s(tmp_path: Path) -> None:
    assert pre_of(tmp_path, {"type": "ByteLevel", "add_prefix_space": False}) == "gpt-2"


@pytest.mark.parametrize(
    ("splitter", "nearest"),
    [
        (sequence(split(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}|\s+")), "seed-coder"),
        ({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, GPT_2]}, "refact"),
    ],
)
def test_an_unknown_rule_is_refused_with_the_nearest_known(tmp_path: Path, splitter: Any, nearest: str) -> None:
    with pytest.raises(SnugError, match="splits text is not known") as caught:
        pre_of(tmp_path, splitter)
    assert f"nearest known one is {nearest}." in caught.value.message
    assert all(rule.name in caught.value.hint for rule in SPLITTINGS)


def test_a_rule_that_keeps_no_delimiter_is_another_rule(tmp_path: Path) -> None:
    splitter = json.loads(json.dumps(PRE_TOKENIZERS["llama3"]["pre_tokenizer"]))
    splitter["pretokenizers"][0]["behavior"] = "Removed"
    with pytest.raises(SnugError, match="not known"):
        pre_of(tmp_path, splitter)


def test_a_tokenizer_without_a_rule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnugError, match="not known"):
        pre_of(tmp_path, None)


def special_of(folder: Path, config: dict[str, Any], model: dict[str, Any], processor: Any = None) -> dict[str, Any]:
    write(folder, tokenizer__json=byte_level(post_processor=processor), tokenizer_config__json=config)
    return {
        k: v
        for k, v in keys(read_tokenizer(folder, LLAMA | model, rows=7)).items()
        if "_token" in k and k != "token_type"
    }


def test_the_tokenizers_own_ids_win_over_config_json(tmp_path: Path) -> None:
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    actual = special_of(tmp_path, config, {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3})
    assert actual == {"bos_token_id": 5, "eos_token_id": 6, "padding_token_id": 3}


@pytest.mark.parametrize("number", [[5, 6], None, -1, 7, True, "5"])
def test_an_id_that_is_no_token_is_ignored(tmp_path: Path, number: Any) -> None:
    assert special_of(tmp_path, {}, {"eos_token_id": number}) == {}


def test_ids_of_a_nested_text_config_are_found(tmp_path: Path) -> None:
    assert special_of(tmp_path, {}, {"text_config": {"eos_token_id": 4}}) == {"eos_token_id": 4}


def test_ids_have_ggufs_names(tmp_path: Path) -> None:
    config = {f"{kind}_token": "<s>" for kind in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")}
    expected = ["bos_token_id", "eos_token_id", "unknown_token_id", "seperator_token_id", "padding_token_id"]
    assert list(special_of(tmp_path, config, {})) == [*expected, "mask_token_id"]


def test_the_post_processor_wins_over_the_config(tmp_path: Path) -> None:
    config = {"bos_token": "<s>", "add_bos_token": False, "add_eos_token": True}
    actual = special_of(tmp_path, config, {}, BOS_TEMPLATE)
    assert (actual["add_bos_token"], actual["add_eos_token"], actual["add_sep_token"]) == (True, True, False)


def test_byte_level_alone_adds_nothing(tmp_path: Path) -> None:
    actual = special_of(tmp_path, {"add_bos_token": True}, {}, {"type": "ByteLevel"})
    assert actual == {"add_bos_token": False, "add_eos_token": False}


def test_roberta_adds_all(tmp_path: Path) -> None:
    actual = special_of(tmp_path, {}, {}, {"type": "RobertaProcessing", "cls": ["<s>", 5], "sep": ["</s>", 6]})
    assert actual == {
        "seperator_token_id": 6,
        "add_bos_token": True,
        "add_eos_token": True,
        "add_sep_token": True,
    }


def test_a_template_that_ends_with_a_token_adds_it_as_eos(tmp_path: Path) -> None:
    template = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}]}
    assert special_of(tmp_path, {"eos_token": "</s>"}, {}, template) == {"eos_token_id": 6, "add_eos_token": True}


def test_without_a_tokenizer_config_the_template_names_bos(tmp_path: Path) -> None:
    folder = write(tmp_path, tokenizer__json=byte_level(post_processor=BOS_TEMPLATE))
    assert keys(read_tokenizer(folder, LLAMA, rows=7))["add_bos_token"] is True


def test_a_separator_between_two_texts_is_seen(tmp_path: Path) -> None:
    pair = [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}, {"Sequence": {"id": "B"}}]
    template = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}], "pair": pair}
    assert special_of(tmp_path, {"sep_token": "</s>"}, {}, template)["add_sep_token"] is True


def test_llama_like_families_copy_the_space_prefix(tmp_path: Path) -> None:
    folder = write(tmp_path, tokenizer__json=byte_level(), tokenizer_config__json={"add_prefix_space": False})
    assert keys(read_tokenizer(folder, LLAMA, rows=7))["add_space_prefix"] is False
    assert "add_space_prefix" not in keys(read_tokenizer(folder, {"architectures": ["FalconForCausalLM"]}, rows=7))


def test_code_llama_gets_its_end_of_turn(tmp_path: Path) -> None:
    folder = write(tmp_path, tokenizer__json=byte_level())
    assert keys(read_tokenizer(folder, LLAMA, rows=32016))["eot_token_id"] == 32010


def test_small_granite_and_smollm_get_no_bos(tmp_path: Path) -> None:
    folder = write(tmp_path, tokenizer__json=byte_level(post_processor=BOS_TEMPLATE))
    assert keys(read_tokenizer(folder, LLAMA, rows=49152))["add_bos_token"] is False


def templates_of(folder: Path) -> dict[str, Any]:
    write(folder, tokenizer__json=byte_level())
    items = keys(read_tokenizer(folder, LLAMA, rows=7))
    return {name: value for name, value in items.items() if name.startswith("chat")}


def test_a_template_file_serves_when_the_config_has_none(tmp_path: Path) -> None:
    write(tmp_path, tokenizer_config__json={}, chat_template__jinja="from jinja")
    assert templates_of(tmp_path) == {"chat_template": "from jinja"}


def test_the_configs_template_comes_first(tmp_path: Path) -> None:
    write(tmp_path, tokenizer_config__json={"chat_template": "from config"}, chat_template__jinja="from jinja")
    assert templates_of(tmp_path) == {"chat_template": "from config"}


def test_the_json_form_of_a_template_comes_last(tmp_path: Path) -> None:
    write(tmp_path, tokenizer_config__json={}, chat_template__json={"chat_template": "from json"})
    assert templates_of(tmp_path) == {"chat_template": "from json"}


def test_a_template_without_a_tokenizer_config_is_not_used(tmp_path: Path) -> None:
    assert templates_of(write(tmp_path, chat_template__jinja="from jinja")) == {}


def test_named_templates_are_listed(tmp_path: Path) -> None:
    choices = [{"name": "default", "template": "d"}, {"name": "tool use", "template": "t"}, {"name": "rag"}]
    write(tmp_path, tokenizer_config__json={"chat_template": choices})
    expected = {"chat_template.tool_use": "t", "chat_templates": ["tool_use"], "chat_template": "d"}
    assert templates_of(tmp_path) == expected


def test_additional_templates_have_the_names_of_their_files(tmp_path: Path) -> None:
    write(tmp_path, tokenizer_config__json={}, chat_template__jinja="d")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("t")
    expected = {"chat_template.tool_use": "t", "chat_templates": ["tool_use"], "chat_template": "d"}
    assert templates_of(tmp_path) == expected


def test_a_folder_without_a_tokenizer_is_told_which_files_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(SnugError, match="has no tokenizer") as caught:
        read_tokenizer(tmp_path, LLAMA, rows=8)
    assert "tokenizer.model" in caught.value.hint
    assert "tokenizer.json" in caught.value.hint


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
@pytest.mark.parametrize("content", [b'{"model": ', b"[1]", b"\xff\xfe{}", b"", b"[" * 100000])
def test_a_damaged_json_file_is_named(spm_folder: Path, name: str, content: bytes) -> None:
    (spm_folder / name).write_bytes(content)
    with pytest.raises(SnugError) as caught:
        read_tokenizer(spm_folder, LLAMA, rows=300)
    assert str(spm_folder / name) in caught.value.message
    assert name in caught.value.hint


@pytest.mark.parametrize("keep", [0, 1, 100, 3000])
def test_a_damaged_tokenizer_model_is_named(spm_folder: Path, keep: int) -> None:
    file = spm_folder / "tokenizer.model"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(SnugError, match="no SentencePiece model"):
        read_tokenizer(spm_folder, LLAMA, rows=300)


def test_a_tokenizer_model_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n" * 50)
    with pytest.raises(SnugError, match="no SentencePiece model"):
        read_tokenizer(tmp_path, LLAMA, rows=300)


@pytest.mark.parametrize(
    "tokenizer",
    [
        {"model": {"type": "BPE"}},
        {"model": {"type": "BPE", "vocab": {"a": "0"}, "merges": []}},
        {"model": {"type": "BPE", "vocab": {"\ud800": 0}, "merges": []}, "pre_tokenizer": GPT_2},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [7]}, "pre_tokenizer": GPT_2},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": 7},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": [7]},
        {"model": 7},
    ],
)
def test_a_tokenizer_of_an_odd_layout_is_refused(tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    with pytest.raises(SnugError, match="not laid out as Snug expects"):
        read_tokenizer(write(tmp_path, tokenizer__json=tokenizer), LLAMA, rows=8)


def test_a_kind_that_no_rule_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnugError, match="of the kind WordLevel"):
        read_tokenizer(write(tmp_path, tokenizer__json=byte_level(model={"type": "WordLevel"})), LLAMA, rows=8)


def test_reading_tokenizers_needs_no_heavy_library() -> None:
    code = (
        "import sys, core.tokenizer; print(sorted({'torch', 'transformers', 'tokenizers', 'numba'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parents[1], check=True
    )
    assert result.stdout.strip() == "[]"
