"""Tiny models with seeded random weights, as folders that look as the published ones of their family do."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tests.core.families.llama import Kind
from tests.core.families.vocabularies import write_tokenizer

Config = dict[str, Any]
Weights = dict[str, torch.Tensor]

ABSENT = None
"""As the value of a key in `TinyModel.published`: the published config.json does not have it."""

EXACT, GELU = 1e-3, 6e-2
"""Largest difference allowed, in standard deviations of the reference: ggml's GELU is a table of halves."""


@dataclass(frozen=True)
class TinyModel:
    """A family by one tiny model of it.

    `model` is the transformers class that is the reference and `config` what config.json holds for it. Where published
    folders differ, `published` has the entries of config.json that are other (ABSENT takes one away), and `edit` makes
    published names and layouts out of the reference's weights.
    """

    name: str
    model: str
    config: Config
    tokenizer: str
    published: Config = field(default_factory=dict)
    edit: Callable[[Weights, Config], Weights] | None = None
    prepare: Callable[[torch.nn.Module], None] | None = None
    """Done to the reference's own weights: makes them such as the published format can hold."""
    files: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind = "logits"
    tolerance: float = EXACT
    part: str = ""
    """The submodule of the reference that is asked, if not the whole."""
    tokens: int = 24
    scale: float = 1.0
    """What llama.cpp's outputs are of the reference's."""
    reason: str = ""
    """Why the logits cannot be compared, if they cannot."""


def make_tiny(folder: Path, family: TinyModel) -> torch.nn.Module:
    """Writes the folder, and gives the reference: transformers' model with the same weights, in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": [family.model], **family.config}
    model = make_reference(family)
    weights = _saved(model, folder)
    if family.edit:
        weights = family.edit(weights, config)
    save_file({name: w.contiguous() for name, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    published = {key: value for key, value in (config | family.published).items() if value is not ABSENT}
    _write(folder / "config.json", published)
    write_tokenizer(folder, family.tokenizer)
    for name, value in family.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        _write(folder / name, value)
    return model


def make_reference(family: TinyModel) -> torch.nn.Module:
    """transformers' model with seeded weights."""
    with quiet() as transformers:
        kind = getattr(transformers, family.model)
        config = kind.config_class.from_dict(dict(family.config))
        for part in (config, *(getattr(config, name) for name in config.sub_configs if getattr(config, name, None))):
            part._attn_implementation = part._experts_implementation = "eager"
        torch.manual_seed(0)
        model: torch.nn.Module = kind(config)
    randomize(model, family.name)
    if family.prepare:
        with torch.no_grad():
            family.prepare(model)
    return model.float().eval()


@contextmanager
def quiet() -> Iterator[Any]:
    """transformers, offline and on one thread; its deprecations are its own affair."""
    threads = torch.get_num_threads()
    offline = patch("huggingface_hub.constants.HF_HUB_OFFLINE", new=True)
    with warnings.catch_warnings(), torch.no_grad(), torch.random.fork_rng(devices=[]), offline:
        warnings.simplefilter("ignore")
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        torch.set_num_threads(1)
        try:
            yield transformers
        finally:
            torch.set_num_threads(threads)


# Their initial values have a meaning (decays, steps, learnt shapes of an activation): noise is added to them.
_KEEPS_ITS_START = ("A_log", "dt_bias", ".D", "dt_proj.bias", "alpha_p", "alpha_n", ".beta", ".eps", "layer_scalar")


@torch.no_grad()
def randomize(model: torch.nn.Module, seed: str) -> None:
    """Matrices become noise that keeps the size of what goes through; vectors (norms, biases) get noise on top."""
    bias = ("e_score_correction_bias",)
    tensors = [*model.named_parameters(), *(b for b in model.named_buffers() if b[0].endswith(bias))]
    for name, tensor in tensors:
        if tensor.dim() == 1 or name.endswith(_KEEPS_ITS_START):
            tensor.add_(noise(seed, name, tensor.shape) * 0.2)
        else:
            tensor.copy_(noise(seed, name, tensor.shape) * 0.15)


def noise(seed: str, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal float32 values that depend on the words only."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.from_numpy(np.random.default_rng(list(digest)).standard_normal(tuple(shape), np.float32))


def _saved(model: torch.nn.Module, folder: Path) -> Weights:
    """The weights under the names of the files: transformers fuses some in memory and undoes that when it saves."""
    with quiet():
        model.save_pretrained(folder)  # type: ignore[operator]
    weights = load_file(folder / "model.safetensors")
    (folder / "generation_config.json").unlink(missing_ok=True)
    return weights


def _write(file: Path, value: Any) -> None:
    file.write_text(value if isinstance(value, str) else json.dumps(value, indent=1), encoding="utf-8")
