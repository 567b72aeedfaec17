"""Phi 1 to 4, and Phi-3.5-MoE."""

from __future__ import annotations

import math

from core.architectures.config import number, required, rope
from core.architectures.entry import Architecture, Config, Extra, Key, Source
from core.architectures.shared import SHARED, USUAL_THETA, rope_dimensions, rope_factors, turned_part, unusual_theta
from core.errors import SnugError
from core.model import Metadata

_KEYS = tuple(key for key in SHARED if not key.name.startswith(("attention.key", "attention.value", "expert")))


def _with_all_heads(config: Config) -> Config:
    """Without a number of its own, keys and values have as many heads as queries."""
    heads = config.get("num_key_value_heads") or config.get("num_attention_heads")
    wide = {"num_key_value_heads": heads, "wide": 4 * required(config, "hidden_size", "n_embd")}
    return {**config, **wide}


_PHI_2 = Architecture(
    classes=("PhiForCausalLM",),
    arch="phi2",
    keys=(*_KEYS, Key("feed_forward_length", "u32", ("wide",))),
    config=_with_all_heads,
    extra=(turned_part(0.5), unusual_theta),
)


def _long_context(source: Source) -> Extra:
    """Base, window and first context length are always said; long contexts scale attention as LongRoPE's paper says.

    Source: Ding et al. 2024, "LongRoPE", the factor sqrt(1 + ln(s) / ln(original)).
    """
    config, settings = source.config, rope(source.config)
    context = required(config, "max_position_embeddings")
    first = int(number(config, "original_max_position_embeddings",
                       number(settings.values, "original_max_position_embeddings", context)))  # fmt: skip
    keys = [
        Metadata(f"{source.arch}.rope.scaling.original_context_length", "u32", first),
        Metadata(f"{source.arch}.rope.freq_base", "f32", settings.theta or USUAL_THETA),
        Metadata(f"{source.arch}.attention.sliding_window", "u32", int(number(config, "sliding_window", 0))),
    ]
    if settings.type in ("longrope", "su"):
        factor = math.sqrt(1 + math.log(max(context / first, 1.0)) / math.log(first))
        keys.append(Metadata(f"{source.arch}.rope.scaling.attn_factor", "f32", factor))
    elif settings.type != "default":
        raise SnugError(
            f"The rope scaling {settings.type!r} is not supported for Phi.", "Supported: default, longrope."
        )
    return Extra(tuple(keys))


_PHI_3_EXTRA = (rope_dimensions, _long_context, rope_factors)
_PHI_3 = Architecture(
    classes=("Phi3ForCausalLM",),
    arch="phi3",
    keys=_KEYS,
    config=_with_all_heads,
    extra=_PHI_3_EXTRA,
)
_PHI_MOE = Architecture(
    classes=("PhiMoEForCausalLM", "PhimoeForCausalLM"),
    arch="phimoe",
    keys=(
        *_KEYS,
        Key("expert_count", "u32", ("num_local_experts",)),
        Key("expert_used_count", "u32", ("num_experts_per_tok",)),
    ),
    config=_with_all_heads,
    extra=_PHI_3_EXTRA,
)

ENTRIES = (_PHI_2, _PHI_3, _PHI_MOE)
