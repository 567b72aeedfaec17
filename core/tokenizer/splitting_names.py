"""The table behind tokenizer.ggml.pre: splitting rules by the names that llama.cpp knows them by.

Regular expressions are spelled as the published tokenizer.json files have them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Splitting:
    r"""`steps` as core.tokenizer.splitting spells them; one that ends in … stands for all that begin so.

    Of rules that cut alike, `marker` (a token only that vocabulary has), `adds_bos` and `processor` (the kind of
    post-processor) pick the name. They decide nothing about where text is cut; llama-bpe puts BOS in front and takes a
    word that is a token whole, smaug-bpe does neither.
    """

    name: str
    steps: tuple[str, ...]
    marker: str = ""
    adds_bos: bool | None = None
    processor: str = ""


CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_REST = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_BLANKS}"
LLAMA_3 = rf"{CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"
QWEN_2 = rf"{CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}"
QWEN_35 = (
    rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BLANKS}"
)
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+", rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*")
_CASED_REST = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_BLANKS}"
_CONTRACTED = f"{_CASED[0]}{CONTRACTIONS}?|{_CASED[1]}{CONTRACTIONS}?"
TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_CASED_REST}"
O200K = rf"{_CONTRACTED}|\p{{N}}{{1,3}}|{_CASED_REST}"
_O200K_DIGITS = rf"{_CONTRACTED}|\p{{N}}|{_CASED_REST}"
_BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
_SEED = rf"{CONTRACTIONS}|{_WORDS}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_BLANKS}"
_EXAONE_MOE = (
    rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
_JAIS_2 = (
    rf"{CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|"
    + "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4, "1,2"))
    + r"|\s{1}"
)
_MINICPM_5 = rf"{CONTRACTIONS}|{_WORDS}|\p{{N}}+|{_REST}"
_UFAKZEKA = rf"{_WORDS}|\p{{N}}|{_REST}"
_K2_HORIZON = (
    rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}|\p{{M}}|\u200C|\u200D)+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_BLANKS}"
)
_CJK = "[一-龥\u3040-ゟ゠-ヿ]+"
_DEEPSEEK_CJK = "[一-龥ࠀ-一가-\ud7ff]+"
_ASCII_MARK = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
_DEEPSEEK_3 = rf"{_ASCII_MARK}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_BLANKS}"
_SPARK = rf"{_ASCII_MARK}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+|[\r\n]|\s+(?!\S)|\s+"
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
_YOUTU_CJK = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+"


def _split(*patterns: str) -> tuple[str, ...]:
    return (*(f"split {pattern}" for pattern in patterns), "bytes")


SPLITTINGS = (
    Splitting("glm4", _split(LLAMA_3), marker="[gMASK]"),
    Splitting("llama-bpe", _split(LLAMA_3), adds_bos=True),
    Splitting("dbrx", _split(LLAMA_3), marker="<|fim_prefix|>", adds_bos=False),
    Splitting("smaug-bpe", _split(LLAMA_3), adds_bos=False),
    Splitting("qwen2", _split(QWEN_2)),
    Splitting("qwen35", _split(QWEN_35)),
    Splitting("tekken", _split(TEKKEN)),
    Splitting("llama4", _split(O200K), marker="<|begin_of_text|>"),
    Splitting("gpt-4o", _split(O200K)),
    Splitting("roberta-bpe", ("gpt-2 words",), processor="RobertaProcessing"),
    Splitting("olmo", ("gpt-2 words",), marker="<|padding|>"),
    Splitting("gpt-2", ("gpt-2 words",)),
    Splitting("refact", ("each digit", "gpt-2 words"), marker="<commit_before>"),
    Splitting("smollm", ("each digit", "gpt-2 words"), marker="<|im_start|>"),
    Splitting("command-r", ("each digit", "gpt-2 words"), marker="<BOS_TOKEN>"),
    Splitting("exaone", ("each digit", "gpt-2 words"), marker="[|endofturn|]"),
    Splitting("starcoder", ("each digit", "gpt-2 words")),
    Splitting("falcon", ("punctuation Contiguous", "gpt-2 words", "digits", "split [0-9][0-9][0-9]")),
    Splitting("deepseek-v3", _split(r"\p{N}{1,3}", _CJK, _DEEPSEEK_3)),
    Splitting(
        "deepseek-coder",
        ("split [\\r\\n]", r"split \s?\p{L}+", r"split \s?\p{P}+", f"split {_DEEPSEEK_CJK}", "each digit", "bytes"),
    ),
    Splitting(
        "deepseek-llm",
        (
            "split [\\r\\n]",
            # The rest of the class has look-alikes (U+1FBE, U+2126, U+212A), which copies of the file may have lost.
            r"split \s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿ…",
            r"split \s?[!-/:-~…",
            r"split \s+$",
            f"split {_DEEPSEEK_CJK}",
            "each digit",
            "bytes",
        ),
    ),
    Splitting("spark2_5", (*_split(r"\p{N}{1,3}", _CJK, _SPARK)[:-1], "each digit", "bytes")),
    Splitting("viking", ("split " + _BLOOM, "each digit", "bytes")),
    Splitting("bloom", _split(_BLOOM)),
    Splitting("superbpe", _split(r"\p{N}+", r"(?=(\d{3})+(?!\d))")),
    Splitting("tiny_aya", _split(r"\d{1,3}(?=(?:\d{3})*\b)", O200K)),
    Splitting("youtu", _split(_YOUTU_CJK, _O200K_DIGITS)),
    Splitting("minicpm5", _split(r"\p{N}{1,3}", _MINICPM_5)),
    Splitting("laguna", ("split MergedWithNext (?:\\r?\\n)+(?!\\r?\\n)", *_split(QWEN_2))),
    Splitting("bailingmoe", _split(_BAILING)),
    Splitting("seed-coder", _split(_SEED)),
    Splitting("exaone-moe", _split(_EXAONE_MOE)),
    Splitting("jais-2", _split(_JAIS_2)),
    Splitting("ufakzeka", _split(_UFAKZEKA)),
    Splitting("k2-horizon", _split(_K2_HORIZON)),
    Splitting(
        "chameleon",
        (
            "split <sentinel:[0-9]+>",
            "split (IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            r"split ([\t\n]|    |  )",
            "each digit",
            "punctuation Isolated",
            "gpt-2 words",
        ),
    ),
)
