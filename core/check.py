"""What Snug can make of a model, said from its headers alone: before a download, before a job."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from core.checkpoint import open_model
from core.model import LeftOut, ModelInfo

_TOKENIZERS = {
    "llama": "SentencePiece BPE",
    "gpt2": "byte-level BPE",
    "gemma4": "BPE over characters",
    "bert": "WordPiece",
    "t5": "SentencePiece unigram",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One screen about a model. `tokenizer` names the kind and, where there is one, llama.cpp's splitting rule.

    `active_parameters` are those that one token meets, fewer than `parameters` where there are experts; `context` and
    `vocabulary` count tokens and are 0 where the model does not say.
    """

    name: str
    path: str
    family: str
    architecture: str
    parameters: int
    active_parameters: int
    experts: int
    layers: int
    context: int
    vocabulary: int
    dtype: str
    source_bytes: int
    tensors: int
    left_out: tuple[LeftOut, ...]
    tokenizer: str
    licence: str
    notes: tuple[str, ...]


def check_model(source: Path | str) -> Check:
    """Raises SnugError with the reason for a model that Snug cannot convert."""
    return check_of(open_to_check(source))


def open_to_check(source: Path | str) -> ModelInfo:
    """The model of `source` with all that a check or a verdict asks; of one on the Hub no vocabulary is fetched."""
    if str(source).startswith("hub:") or not os.path.exists(source):
        from core.hub.headers import open_to_check as open_there  # only here: looking at a file needs no network
        from core.hub.names import as_hub_source

        if found := as_hub_source(source):
            return open_there(found)
    return open_model(source)


def check_of(model: ModelInfo) -> Check:
    """What is to be said of a model that Snug can convert."""
    vocabulary = model.keys.get("tokenizer.ggml.tokens") or ()
    return Check(
        name=model.name,
        path=str(model.path),
        family=model.family,
        architecture=model.architecture,
        parameters=model.parameters,
        active_parameters=model.active_parameters,
        experts=int(model.key("expert_count", 0) or 0),
        layers=int(model.key("block_count", 0) or 0),
        context=int(model.key("context_length", 0) or 0),
        vocabulary=len(vocabulary) or int(model.key("vocab_size", 0) or 0),
        dtype=model.dtype,
        source_bytes=model.source_bytes,
        tensors=len(model.tensors),
        left_out=model.left_out,
        tokenizer=_tokenizer(model),
        licence=str(model.keys.get("general.license") or model.keys.get("general.license.name") or ""),
        notes=tuple(note for note in model.notes if note not in {item.note for item in model.left_out}),
    )


def _tokenizer(model: ModelInfo) -> str:
    kind, rule = model.keys.get("tokenizer.ggml.model"), model.keys.get("tokenizer.ggml.pre")
    if not kind:
        return "none"
    name = _TOKENIZERS.get(str(kind), str(kind))
    return f"{name}, split as {rule}" if kind == "gpt2" and rule and rule != "default" else name
