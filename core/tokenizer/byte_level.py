"""Byte-level BPE, as GPT-2, Llama 3 and Qwen have it: everything is in tokenizer.json."""

from __future__ import annotations

from core.errors import SnugError
from core.model import Metadata
from core.tokenizer.files import TokenizerFiles
from core.tokenizer.splitting import splitting_name
from core.tokenizer.vocabulary import Token, added_token, fill, head_keys, text_key, type_key


def read_byte_level(files: TokenizerFiles, rows: int, *, adds_bos: bool) -> list[Metadata]:
    """Keys of the vocabulary, the merges and the name of the splitting rule."""
    model = files.tokenizer.get("model") or {}
    if model.get("type", "BPE") != "BPE":
        raise SnugError(
            f"The tokenizer in {files.folder} is of the kind {model['type']}, which Snug cannot write yet.",
            "If the model has a tokenizer.model, put it into the folder.",
        )
    tokens = {number: Token(text) for text, number in model["vocab"].items()}
    tokens.update((t["id"], added_token(t["content"], special=bool(t.get("special")))) for t in files.added_tokens)
    for number, token in files.decoder.items():
        tokens.setdefault(number, added_token(token["content"], special=bool(token.get("special"))))
    filled = fill(tokens, rows)
    name = splitting_name(files.tokenizer, adds_bos=adds_bos)
    merges = Metadata("tokenizer.ggml.merges", "[str]", _merges(model["merges"]))
    return [*head_keys("gpt2", name), text_key(filled), type_key(filled), merges]


def _merges(merges: list[str] | list[list[str]]) -> list[str]:
    """ "a b" each; both layouts of tokenizer.json give that. A blank inside a part is written as Ġ."""
    return [m if isinstance(m, str) else " ".join(part.replace(" ", "Ġ") for part in m) for m in merges]
