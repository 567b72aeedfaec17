"""A tokenizer in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = {
    "llama": "SentencePiece BPE",
    "gpt2": "byte-level BPE",
    "gemma4": "BPE over raw letters",
    "bert": "WordPiece",
    "t5": "SentencePiece unigram",
    "none": "no tokenizer",
}


def describe_tokenizer(values: Mapping[str, Any]) -> str:
    """ "byte-level BPE (llama-bpe), 128,256 tokens" from the values of GGUF keys."""
    model = str(values.get("tokenizer.ggml.model", "none"))
    kind = _KINDS.get(model, model)
    if model == "gpt2":
        kind += f" ({values.get('tokenizer.ggml.pre', 'default')})"
    count = len(values.get("tokenizer.ggml.tokens", ()))
    return f"{kind}, {count:,} tokens" if count else kind
