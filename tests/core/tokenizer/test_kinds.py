"""Tokenizers of every kind: llama.cpp, given the keys, makes the tokens that the tokenizer itself makes."""

from __future__ import annotations

import json
from base64 import b64encode
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from core.errors import SnugError
from core.model import Metadata
from core.tokenizer import read_tokenizer
from core.tokenizer.piece_file import read_piece_file
from core.tokenizer.splitting_names import SPLITTINGS
from tests.core.tokenizer.llama_tokens import llama_tokens
from tests.core.tokenizer.made import (
    WORD_SPECIALS,
    byte_fallback,
    byte_level,
    ranked,
    template,
    trained,
    unigram,
    words,
    write,
)
from tests.core.tokenizer.torture import LINES

RULES = {rule.name: rule for rule in SPLITTINGS}
CLASSES = {
    "llama": "LlamaForCausalLM",
    "gemma": "Gemma2ForCausalLM",
    "gemma4": "Gemma4ForCausalLM",
    "t5": "T5ForConditionalGeneration",
    "xlm-r": "XLMRobertaModel",
    "bert": "BertModel",
    "roberta": "RobertaModel",
    "kimi": "KimiVLForConditionalGeneration",
}
GEMMA_IDS = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3}
GEMMA_TEXTS = {"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>"}


def read(folder: Path, family: str, rows: int) -> tuple[Metadata, ...]:
    return read_tokenizer(folder, {"architectures": [CLASSES[family]]}, rows=rows)


def values(keys: tuple[Metadata, ...]) -> dict[str, Any]:
    return {item.key.removeprefix("tokenizer.").removeprefix("ggml."): item.value for item in keys}


def check(keys: tuple[Metadata, ...], own: Any, *, but: tuple[str, ...] = ()) -> None:
    """llama.cpp's tokens of every line but those named are those of `own`, a function of a text."""
    lines = {name: text for name, text in LINES.items() if name not in but}
    (actual,) = llama_tokens([keys], [*lines.values()])
    assert {name: own(text) for name, text in lines.items()} == dict(zip(lines, actual, strict=True))


def hugging_face(tokenizer: dict[str, Any]) -> Any:
    made = Tokenizer.from_str(json.dumps(tokenizer))
    return lambda text: made.encode(text, add_special_tokens=False).ids


# ---- SentencePiece BPE ----------------------------------------------------------------------------------------------


def test_a_sentencepiece_model(tmp_path: Path) -> None:
    model = trained("bpe", identity=True)
    (tmp_path / "tokenizer.model").write_bytes(model)
    own = SentencePieceProcessor(model_proto=model)
    check(read(tmp_path, "llama", own.get_piece_size()), own.encode)


def test_the_same_model_as_tokenizer_json(tmp_path: Path) -> None:
    tokenizer = byte_fallback(prefix=True)
    write(tmp_path, "tokenizer.json", tokenizer)
    check(read(tmp_path, "llama", len(tokenizer["model"]["vocab"])), hugging_face(tokenizer))


def test_gemmas_model_puts_no_blank_in_front(tmp_path: Path) -> None:
    tokenizer = byte_fallback(prefix=False, **GEMMA_IDS, **GEMMA_TEXTS)
    (tmp_path / "tokenizer.model").write_bytes(trained("bpe", identity=True, **GEMMA_IDS, **GEMMA_TEXTS))
    check(read(tmp_path, "gemma", len(tokenizer["model"]["vocab"])), hugging_face(tokenizer))


def test_gemma_4_has_merges_over_raw_letters(tmp_path: Path) -> None:
    tokenizer = byte_fallback(prefix=False, **GEMMA_IDS, **GEMMA_TEXTS)
    write(tmp_path, "tokenizer.json", tokenizer)
    write(tmp_path, "tokenizer_config.json", {"bos_token": "<bos>", "eos_token": "<eos>"})
    keys = read(tmp_path, "gemma4", len(tokenizer["model"]["vocab"]))
    check(keys, hugging_face(tokenizer))
    actual = values(keys)
    assert "pre" not in actual
    assert (actual["model"], actual["add_space_prefix"], actual["add_bos_token"]) == ("gemma4", False, True)
    assert set(actual["scores"]) == {-1000.0}


def test_gemma_4_shows_its_channels(tmp_path: Path) -> None:
    tokenizer = byte_fallback(prefix=False, **GEMMA_IDS, **GEMMA_TEXTS)
    rows = len(tokenizer["model"]["vocab"])
    texts = ("<|channel>", "<|x>")
    tokenizer["added_tokens"] += [{"id": rows + at, "content": text, "special": True} for at, text in enumerate(texts)]
    write(tmp_path, "tokenizer.json", tokenizer)
    assert values(read(tmp_path, "gemma4", rows + 2))["token_type"][-2:] == [4, 3]


# ---- unigram --------------------------------------------------------------------------------------------------------

T5_IDS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
T5_SPECIALS = {"<pad>": 0, "</s>": 1, "<unk>": 2}


def precompiled(folder: Path, **ids: int) -> dict[str, Any]:
    """A normalizer with the trained model's table of replacements."""
    file = folder / "trained.model"
    file.write_bytes(trained("unigram", **ids))
    charsmap = b64encode(read_piece_file(file).charsmap).decode()
    return {"type": "Precompiled", "precompiled_charsmap": charsmap}


def t5_json(folder: Path) -> dict[str, Any]:
    model = SentencePieceProcessor(model_proto=trained("unigram", **T5_IDS))
    pieces = [(model.id_to_piece(n), model.get_score(n)) for n in range(model.get_piece_size())]
    processor = template("", "</s>", T5_SPECIALS)
    return unigram(pieces, T5_SPECIALS, 2, normalizer=precompiled(folder, **T5_IDS), post_processor=processor)


# The tokenizers library reads the table of replacements letter by letter with its marks, SentencePiece and llama.cpp
# without.
UNIGRAM_BUT = ("combining marks",)


def test_t5s_model(tmp_path: Path) -> None:
    model = trained("unigram", **T5_IDS)
    (tmp_path / "spiece.model").write_bytes(model)
    own = SentencePieceProcessor(model_proto=model)
    keys = read(tmp_path, "t5", own.get_piece_size() + 4)
    check(keys, own.encode)
    actual = values(keys)
    assert (actual["model"], actual["pre"], actual["add_space_prefix"]) == ("t5", "default", True)
    assert actual["remove_extra_whitespaces"] is True
    assert len(actual["precompiled_charsmap"]) > 1000
    assert (actual["token_type"][:3], actual["token_type"][-4:]) == ([3, 3, 2], [5] * 4)


def test_t5_from_tokenizer_json_alone(tmp_path: Path) -> None:
    model = SentencePieceProcessor(model_proto=trained("unigram", **T5_IDS))
    (tmp_path / "spiece.model").write_bytes(trained("unigram", **T5_IDS))
    from_model = values(read(tmp_path, "t5", model.get_piece_size()))
    (tmp_path / "spiece.model").unlink()
    tokenizer = t5_json(tmp_path)
    write(tmp_path, "tokenizer.json", tokenizer)
    write(tmp_path, "tokenizer_config.json", {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"})
    keys = read(tmp_path, "t5", model.get_piece_size())
    actual = values(keys)
    same = ("tokens", "token_type", "precompiled_charsmap", "add_space_prefix", "remove_extra_whitespaces")
    assert {name: from_model[name] for name in same} == {name: actual[name] for name in same}
    assert (actual["eos_token_id"], actual["add_eos_token"]) == (1, True)
    check(keys, hugging_face(tokenizer), but=UNIGRAM_BUT)


XLM_R_SPECIALS = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}


def xlm_r_json(folder: Path) -> dict[str, Any]:
    model = SentencePieceProcessor(model_proto=trained("unigram"))
    texts = [model.id_to_piece(n) for n in range(3, model.get_piece_size())]
    pieces = [(text, 0.0) for text in XLM_R_SPECIALS]
    pieces += [(text, model.get_score(number)) for number, text in enumerate(texts, 3)] + [("<mask>", 0.0)]
    ids = {**XLM_R_SPECIALS, "<mask>": len(pieces) - 1}
    return unigram(pieces, ids, 3, normalizer=precompiled(folder), post_processor=template("<s>", "</s>", ids))


def test_xlm_rs_model_has_fairseqs_order(tmp_path: Path) -> None:
    (tmp_path / "sentencepiece.bpe.model").write_bytes(trained("unigram"))
    tokenizer = xlm_r_json(tmp_path)
    rows = len(tokenizer["model"]["vocab"])
    keys = read(tmp_path, "xlm-r", rows)
    check(keys, hugging_face(tokenizer), but=UNIGRAM_BUT)
    actual = values(keys)
    assert actual["tokens"][:4] == [*XLM_R_SPECIALS]
    assert (actual["tokens"][-1], actual["token_type"][-1]) == (f"[PAD{rows - 2}]", 5)
    assert actual["token_type_count"] == 1


def test_xlm_r_from_tokenizer_json_alone(tmp_path: Path) -> None:
    tokenizer = xlm_r_json(tmp_path)
    write(tmp_path, "tokenizer.json", tokenizer)
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    write(tmp_path, "tokenizer_config.json", specials | {"mask_token": "<mask>"})
    keys = read(tmp_path, "xlm-r", len(tokenizer["model"]["vocab"]))
    check(keys, hugging_face(tokenizer), but=UNIGRAM_BUT)
    actual = values(keys)
    assert (actual["token_type"][:4], actual["token_type"][-1]) == ([3, 3, 3, 2], 3)
    assert (actual["bos_token_id"], actual["mask_token_id"]) == (0, len(tokenizer["model"]["vocab"]) - 1)


def test_an_order_that_is_not_fairseqs_is_taken_from_tokenizer_json(tmp_path: Path) -> None:
    (tmp_path / "sentencepiece.bpe.model").write_bytes(trained("unigram"))
    tokenizer = xlm_r_json(tmp_path)
    tokenizer["model"]["vocab"].insert(4, ["<unk>NOTUSED", 0.0])
    write(tmp_path, "tokenizer.json", tokenizer)
    rows = len(tokenizer["model"]["vocab"])
    assert values(read(tmp_path, "xlm-r", rows))["tokens"][4] == "<unk>NOTUSED"


# ---- WordPiece ------------------------------------------------------------------------------------------------------

# llama.cpp strips more marks than BERT does.
WORDS_BUT = ("Korean", "Devanagari", "Thai and Khmer", "Arabic with vowels")


@pytest.mark.parametrize("lowercase", [True, False])
def test_words(tmp_path: Path, lowercase: bool) -> None:
    tokenizer = words(lowercase=lowercase)
    write(tmp_path, "tokenizer.json", tokenizer)
    names = {f"{name[1:-1].lower()}_token": name for name in WORD_SPECIALS}
    write(tmp_path, "tokenizer_config.json", names)
    rows = len(tokenizer["model"]["vocab"])
    keys = read(tmp_path, "bert", rows)
    check(keys, hugging_face(tokenizer), but=WORDS_BUT if lowercase else ())
    actual = values(keys)
    assert (actual["model"], actual["normalizer.lowercase"], actual["token_type_count"]) == ("bert", lowercase, 1)
    assert (actual["bos_token_id"], actual["eos_token_id"], actual["seperator_token_id"]) == (2, 3, 3)
    assert (actual["add_bos_token"], actual["add_eos_token"]) == (True, True)
    assert "normalizer.strip_accents" not in actual


def test_words_from_vocab_txt_alone(tmp_path: Path) -> None:
    tokenizer = words(lowercase=True)
    write(tmp_path, "tokenizer.json", tokenizer)
    rows = len(tokenizer["model"]["vocab"])
    write(tmp_path, "tokenizer_config.json", {f"{name[1:-1].lower()}_token": name for name in WORD_SPECIALS})
    expected = values(read(tmp_path, "bert", rows))
    (tmp_path / "tokenizer.json").unlink()
    write(tmp_path, "tokenizer_config.json", {"do_lower_case": True})
    texts = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    (tmp_path / "vocab.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    actual = values(read(tmp_path, "bert", rows))
    same = ("tokens", "token_type", "normalizer.lowercase", "add_bos_token", "add_eos_token")
    assert {name: expected[name] for name in same} == {name: actual[name] for name in same}


# ---- byte-level BPE in other files ----------------------------------------------------------------------------------


def write_older(folder: Path, tokenizer: dict[str, Any], tokenizer_class: str) -> None:
    """vocab.json and merges.txt of a tokenizer.json."""
    model = tokenizer["model"]
    write(folder, "vocab.json", model["vocab"])
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
    write(folder, "tokenizer_config.json", {"tokenizer_class": tokenizer_class})


@pytest.mark.parametrize(("tokenizer_class", "name"), [("GPT2Tokenizer", "gpt-2"), ("Qwen2Tokenizer", "qwen2")])
def test_vocab_json_and_merges_txt(tmp_path: Path, tokenizer_class: str, name: str) -> None:
    tokenizer = byte_level(RULES[name])
    write_older(tmp_path, tokenizer, tokenizer_class)
    keys = read(tmp_path, "llama", 1700)
    assert values(keys)["pre"] == name
    check(keys, hugging_face(tokenizer))


def test_robertas_older_files(tmp_path: Path) -> None:
    tokenizer = byte_level(RULES["gpt-2"])
    size = len(tokenizer["model"]["vocab"])
    tokenizer["model"]["vocab"] |= {"<s>": size, "</s>": size + 1}
    write_older(tmp_path, tokenizer, "RobertaTokenizer")
    actual = values(read(tmp_path, "roberta", size + 2))
    assert (actual["model"], actual["pre"], actual["token_type_count"]) == ("gpt2", "roberta-bpe", 1)
    assert [actual[f"add_{kind}_token"] for kind in ("bos", "eos", "sep")] == [True] * 3


def test_older_files_without_a_class_are_known_by_the_model(tmp_path: Path) -> None:
    write_older(tmp_path, byte_level(RULES["qwen2"]), "")
    write(tmp_path, "config.json", {"model_type": "qwen3"})
    assert values(read(tmp_path, "llama", 1700))["pre"] == "qwen2"


def test_older_files_of_an_unknown_class_are_refused(tmp_path: Path) -> None:
    write_older(tmp_path, byte_level(RULES["gpt-2"]), "CLIPTokenizer")
    with pytest.raises(SnugError, match="how the tokenizer of CLIPTokenizer splits text is not known") as caught:
        read(tmp_path, "llama", 1700)
    assert "save_pretrained" in caught.value.hint


def bpe_by_rank(word: bytes) -> list[int]:
    """tiktoken's way: the pair that makes the token of the lowest rank is joined, again and again."""
    ranks, parts = ranked(), [bytes([byte]) for byte in word]
    while True:
        pairs = [(ranks.get(a + b), at) for at, (a, b) in enumerate(pairwise(parts))]
        found = [(rank, at) for rank, at in pairs if rank is not None]
        if word in ranks or not found:
            return [ranks[word]] if word in ranks else [ranks[part] for part in parts]
        at = min(found)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def by_rank(rule: str, first: int) -> Any:
    """The tokens of a text that the rule cuts, the lowest rank having the id `first`."""
    splitter = Tokenizer.from_str(json.dumps(byte_level(RULES[rule]))).pre_tokenizer
    letters = {letter: byte for byte, letter in _letters().items()}

    def tokens(text: str) -> list[int]:
        cut = [bytes(letters[c] for c in word) for word, _ in splitter.pre_tokenize_str(text)]
        return [first + rank for word in cut for rank in bpe_by_rank(word)]

    return tokens


def _letters() -> dict[int, str]:
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + at) for at, byte in enumerate(others)}


def tekken(folder: Path, **changes: Any) -> int:
    """Writes a tekken.json with ten control tokens; gives the number of all tokens."""
    ranks = ranked()
    vocabulary = [{"rank": rank, "token_bytes": b64encode(token).decode()} for token, rank in ranks.items()]
    # The file lists more than the vocabulary takes.
    vocabulary.append({"rank": len(ranks), "token_bytes": b64encode(b"too many").decode()})
    config = {"pattern": "", "default_num_special_tokens": 20, "default_vocab_size": len(ranks) + 20, "version": "v7"}
    write(folder, "tekken.json", {"config": config, "vocab": vocabulary, **changes})
    return len(ranks) + 20


MARKS = ("Arabic with vowels", "Devanagari", "Thai and Khmer", "combining marks")  # llama.cpp's tekken leaves them out


def test_mistrals_tekken_json(tmp_path: Path) -> None:
    rows = tekken(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    keys = read(tmp_path, "llama", rows)
    check(keys, by_rank("tekken", 20), but=MARKS)
    actual = values(keys)
    assert actual["chat_template"] == "{{ messages }}"
    assert (actual["model"], actual["pre"], actual["add_bos_token"], actual["add_eos_token"]) == (
        "gpt2",
        "tekken",
        True,
        False,
    )
    ids = ("bos", "eos", "unknown", "padding")
    assert [actual[f"{kind}_token_id"] for kind in ids] == [1, 2, 0, 11]
    assert (actual["tokens"][3], actual["tokens"][19]) == ("[INST]", "[TOOL_CONTENT]")
    assert (set(actual["token_type"][:20]), set(actual["token_type"][20:])) == ({3}, {1})


def test_tekken_json_may_name_its_control_tokens(tmp_path: Path) -> None:
    named = ["<unk>", "<s>", "</s>", "[THINK]"]
    special = [{"rank": n, "token_str": text, "is_control": True} for n, text in enumerate(named)]
    rows = tekken(tmp_path, special_tokens=special)
    actual = values(read(tmp_path, "llama", rows))
    assert actual["tokens"][:6] == [*named, "<SPECIAL_4>", "<SPECIAL_5>"]
    assert actual["padding_token_id"] == 2


def write_tiktoken(folder: Path, name: str) -> int:
    """Writes the ranks as tiktoken does, and two special tokens; gives the number of all tokens."""
    ranks = ranked()
    (folder / name).write_bytes(b"".join(b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
    size = len(ranks)
    special = {"[BOS]": size, "[EOS]": size + 1}
    decoder = {str(number): {"content": text, "special": True} for text, number in special.items()}
    write(folder, "tokenizer_config.json", {"added_tokens_decoder": decoder})
    return size + 2


def test_tiktokens_ranks_of_a_family_whose_rule_is_known(tmp_path: Path) -> None:
    rows = write_tiktoken(tmp_path, "tiktoken.model")
    keys = read_tokenizer(tmp_path, {"architectures": ["QWenLMHeadModel"]}, rows=rows)
    check(keys, by_rank("qwen2", 0))
    assert values(keys)["token_type"][-3:] == [1, 3, 3]
    kimi = values(read(tmp_path, "kimi", rows))
    assert (kimi["pre"], kimi["merges"]) == ("kimi-k2", values(keys)["merges"])


def test_tiktokens_ranks_beside_a_tokenizer_json_are_passed_over(tmp_path: Path) -> None:
    write_tiktoken(tmp_path, "tokenizer.model")
    write(tmp_path, "tokenizer.json", byte_level(RULES["qwen35"]))
    assert values(read(tmp_path, "llama", 1702))["pre"] == "qwen35"


def test_a_damaged_file_of_ranks_is_named(tmp_path: Path) -> None:
    rows = write_tiktoken(tmp_path, "tiktoken.model")
    with (tmp_path / "tiktoken.model").open("ab") as file:
        file.write(b"!!! 5\n")
    with pytest.raises(SnugError, match="damaged line"):
        read(tmp_path, "kimi", rows)


def test_a_wrong_name_shows_in_the_tokens(tmp_path: Path) -> None:
    write(tmp_path, "tokenizer.json", byte_level(RULES["qwen2"]))
    keys = read(tmp_path, "llama", 1700)
    wrong = [Metadata(item.key, "str", "smaug-bpe") if item.key == "tokenizer.ggml.pre" else item for item in keys]
    right, other = llama_tokens([keys, wrong], [LINES["digits"]])
    assert right != other
