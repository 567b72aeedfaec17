"""Models of any size whose weights are holes in the files: headers as large as real ones, and hardly a byte on disk."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from core.shards import INDEX
from tests.models import CONFIG, llama_shapes, make_llama, write_json

_TENSORS_PER_FILE = 400


def make_sparse(folder: Path, **changes: Any) -> int:
    """A Llama or Mixtral folder whose BF16 weights are all zero; returns the bytes that they seem to take."""
    config = CONFIG | changes
    make_llama(folder)
    (folder / "model.safetensors").unlink()
    write_json(folder / "config.json", config)
    shapes = list(llama_shapes(config).items())
    parts = [shapes[i : i + _TENSORS_PER_FILE] for i in range(0, len(shapes), _TENSORS_PER_FILE)]
    places = {}
    for number, part in enumerate(parts):
        name = f"model-{number + 1:05}-of-{len(parts):05}.safetensors"
        _write_holes(folder / name, part)
        places |= dict.fromkeys(dict(part), name)
    write_json(folder / INDEX, {"metadata": {}, "weight_map": places})
    return sum(2 * prod(shape) for _, shape in shapes)


def _write_holes(file: Path, shapes: list[tuple[str, tuple[int, ...]]]) -> None:
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + 2 * prod(shape)]}
        end += 2 * prod(shape)
    text = json.dumps(header).encode()
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.truncate(8 + len(text) + end)


MOE_235B: dict[str, Any] = {
    "architectures": ["MixtralForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 1536,
    "num_hidden_layers": 94,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_local_experts": 128,
    "num_experts_per_tok": 8,
    "vocab_size": 151936,
}
"""The shape of the largest open model with small experts: 36,000 tensors, 235 billion weights."""
