"""Small models for the tests: real folders with seeded weights, and ways to spoil them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import core

SAMPLE = core.sample_folder()

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "vocab_size": 1536,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
}
NUMPY = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64}


def llama_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the checkpoint that a Llama config describes."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    size = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, values = size * config["num_attention_heads"], size * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        shapes |= {
            at + "input_layernorm.weight": (hidden,),
            at + "self_attn.q_proj.weight": (queries, hidden),
            at + "self_attn.k_proj.weight": (values, hidden),
            at + "self_attn.v_proj.weight": (values, hidden),
            at + "self_attn.o_proj.weight": (hidden, queries),
            at + "post_attention_layernorm.weight": (hidden,),
        }
        shapes |= _experts(at, config) if config.get("num_local_experts") else _dense(at, hidden, inner)
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return shapes


def _dense(at: str, hidden: int, inner: int) -> dict[str, tuple[int, ...]]:
    return {
        at + "mlp.gate_proj.weight": (inner, hidden),
        at + "mlp.up_proj.weight": (inner, hidden),
        at + "mlp.down_proj.weight": (hidden, inner),
    }


def _experts(at: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, inner, moe = config["hidden_size"], config["intermediate_size"], at + "block_sparse_moe."
    shapes: dict[str, tuple[int, ...]] = {moe + "gate.weight": (config["num_local_experts"], hidden)}
    for expert in range(config["num_local_experts"]):
        for name, shape in (("w1", (inner, hidden)), ("w2", (hidden, inner)), ("w3", (inner, hidden))):
            shapes[f"{moe}experts.{expert}.{name}.weight"] = shape
    return shapes


def weights(shapes: dict[str, tuple[int, ...]], dtype: str = "BF16", *, seed: int = 1) -> dict[str, np.ndarray]:
    """Seeded normal weights, norms near one, as arrays of the dtype's bits (bf16 as uint16)."""
    random = np.random.default_rng(seed)
    made = {}
    for name, shape in shapes.items():
        values = random.standard_normal(shape, np.float32) * np.float32(0.02) + np.float32(len(shape) == 1)
        made[name] = to_bits(values, dtype)
    return made


def to_bits(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(NUMPY[dtype])


def write_safetensors(file: Path, tensors: dict[str, np.ndarray], dtype: str | dict[str, str] = "BF16") -> None:
    """A safetensors file by hand, so that tests may also write dishonest ones."""
    header, offset = {}, 0
    for name, values in tensors.items():
        kind = dtype if isinstance(dtype, str) else dtype[name]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    write_raw(file, header, b"".join(values.tobytes() for values in tensors.values()))


def write_raw(file: Path, header: Any, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value), encoding="utf-8")


def make_llama(folder: Path, *, dtype: str = "BF16", shards: int = 1, seed: int = 1, **changes: Any) -> Path:
    """A tiny Llama folder with the sample's tokenizer; `changes` go into its config."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG | changes
    write_json(folder / "config.json", config)
    for name in ("tokenizer.model", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(SAMPLE / name, folder / name)
    write_weights(folder, weights(llama_shapes(config), dtype, seed=seed), dtype, shards=shards)
    return folder


def write_weights(folder: Path, tensors: dict[str, np.ndarray], dtype: str = "BF16", *, shards: int = 1) -> None:
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors, dtype)
        return
    names, where = list(tensors), {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = names[number::shards]
        write_safetensors(folder / file, {name: tensors[name] for name in part}, dtype)
        where |= dict.fromkeys(part, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})
