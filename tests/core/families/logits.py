"""The same tokens through transformers and through llama.cpp: how far apart the outputs are."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

import core
from tests.core.families.llama import Llama, Values
from tests.core.families.tiny import TinyModel, make_tiny, quiet


class ConversionFailed(AssertionError):
    """Snug did not make the file; the text is what it said."""


def tokens_of(family: TinyModel) -> list[int]:
    """Plain text in every kind of vocabulary."""
    return random.Random(family.name).choices(range(5, 296), k=family.tokens)


def reference(model: torch.nn.Module, family: TinyModel) -> Values:
    """transformers' float32 outputs: [tokens, vocabulary or width]."""
    ids = torch.tensor([tokens_of(family)])
    model = model.get_submodule(family.part)
    with quiet():
        match family.kind:
            case "logits" | "scores":
                out = model(input_ids=ids).logits
            case "embeddings" | "encoder":
                out = model(input_ids=ids).last_hidden_state
            case "decoder":
                out = model(input_ids=ids, decoder_input_ids=ids).logits
    values = out.float().numpy().reshape(-1, out.shape[-1])
    assert np.isfinite(values).all(), "the tiny model itself is not sane"
    return np.asarray(values, np.float32)


def convert(folder: Path, out: Path) -> None:
    """The folder as a GGUF file in F32. Raises ConversionFailed."""
    last = list(core.run(core.QuantizeJob(str(folder), "F32", str(out), overwrite=True)))[-1]
    if isinstance(last, core.Failed):
        raise ConversionFailed(f"{last.message} {last.hint}")


def difference(ours: Values, expected: Values) -> float:
    """The largest one, in standard deviations of what is expected (of a single value: in parts of it)."""
    assert ours.shape == expected.shape, f"llama.cpp gives {ours.shape}, transformers {expected.shape}"
    spread = expected.std() if expected.size > 1 else np.abs(expected).max()
    return float(np.abs(ours - expected).max() / spread)


def compare(folder: Path, family: TinyModel, llama: Llama) -> float:
    """Makes the tiny model, converts it, and gives the largest difference of the outputs."""
    expected = reference(make_tiny(folder / family.name, family), family)
    out = folder / f"{family.name}.gguf"
    convert(folder / family.name, out)
    return difference(llama.run(out, tokens_of(family), family.kind) / family.scale, expected)
