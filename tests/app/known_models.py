"""Models of real size for the tests of the window, known by their headers alone: nothing of them lies on the disk."""

from __future__ import annotations

import core
from core import ModelInfo

# (hidden, inner, layers, heads, heads of the cache, vocabulary, context), as published.
_SHAPES = {
    "Llama-3.1-8B": (4096, 14336, 32, 32, 8, 128256, 131072),
    "Llama-3.2-3B": (3072, 8192, 28, 24, 8, 128256, 131072),
    "Llama-3.3-70B": (8192, 28672, 80, 64, 8, 128256, 131072),
}


def known_model(name: str) -> ModelInfo:
    """One of _SHAPES; its path is its name."""
    hidden, inner, layers, heads, kept, vocabulary, context = _SHAPES[name]
    wide = hidden // heads * kept
    shapes = {"model.embed_tokens": [vocabulary, hidden], "model.norm": [hidden], "lm_head": [vocabulary, hidden]}
    for layer in range(layers):
        within = f"model.layers.{layer}."
        shapes |= {within + f"self_attn.{part}_proj": [hidden, hidden] for part in "qo"}
        shapes |= {within + f"self_attn.{part}_proj": [wide, hidden] for part in "kv"}
        shapes |= {within + f"mlp.{part}_proj": [inner, hidden] for part in ("gate", "up")}
        shapes[within + "mlp.down_proj"] = [hidden, inner]
        shapes |= {within + part: [hidden] for part in ("input_layernorm", "post_attention_layernorm")}
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "rms_norm_eps": 1e-5,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kept, "vocab_size": vocabulary, "max_position_embeddings": context,
        "rope_theta": 500000.0,
    }  # fmt: skip
    tensors = {f"{tensor}.weight": {"dtype": "BF16", "shape": shape} for tensor, shape in shapes.items()}
    return core.open_headers({"id": name, "config": config, "tensors": tensors}).model
