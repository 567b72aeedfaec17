"""Qwen 2, 2.5 and 3: dense, with experts, and the language part of those that see or hear."""

from __future__ import annotations

from collections.abc import Mapping

from core.architectures.config import required
from core.architectures.encoders import pooling
from core.architectures.entry import Architecture, Config, Extra, Key, Source, Tensor
from core.architectures.shared import BLOCK, COMMON, EXPERT_WIDTH, SHARED, rope_sections
from core.model import Metadata
from core.tensor_ops import Oriented, Rows

EXPERT_KEYS = (
    *SHARED,
    EXPERT_WIDTH,
    Key("expert_shared_feed_forward_length", "u32", ("shared_expert_intermediate_size",)),
)
# Embedding models hold the layers alone; Omni's language model is its "thinker".
_RENAMES = ((r"^thinker\.", ""), (r"^(layers|embed_tokens|norm)\.", r"model.\1."))


def fused_experts(config: Config, source: str, block: str) -> tuple[Tensor, ...]:
    """Experts that are stored as two stacks: [experts, gate and up, hidden] and [experts, hidden, width], or both
    mirrored, as the first Qwen3-VL files are.
    """
    if config.get("moe_intermediate_size") is None:
        return ()
    width, hidden = required(config, "moe_intermediate_size"), required(config, "hidden_size")
    fused, upright = source + r"mlp\.experts\.gate_up_proj", Oriented(2 * width, hidden)
    return (
        Tensor(fused, block + "ffn_gate_exps.weight", (upright, Rows(0, width))),
        Tensor(fused, block + "ffn_up_exps.weight", (upright, Rows(width, 2 * width))),
        Tensor(source + r"mlp\.experts\.down_proj", block + "ffn_down_exps.weight", (Oriented(hidden, width),)),
    )


def _stacked_experts(config: Config) -> tuple[Tensor, ...]:
    return fused_experts(config, BLOCK, "blk.{0}.")


def _deep_layers(source: Source) -> Extra:
    """How many layers take in features of the vision part, which the converter counts for the text part too."""
    eyes = source.config.get("vision_config")
    layers = eyes.get("deepstack_visual_indexes") if isinstance(eyes, Mapping) else None
    return Extra((Metadata(f"{source.arch}.n_deepstack_layers", "u32", len(layers or ())),))


_QWEN_2 = Architecture(
    classes=("Qwen2ForCausalLM", "Qwen2Model", "DotsOCRForCausalLM"),
    arch="qwen2",
    keys=SHARED,
    renames=_RENAMES,
    extra=(*COMMON, pooling),
)
_QWEN_2_MOE = Architecture(
    classes=("Qwen2MoeForCausalLM",),
    arch="qwen2moe",
    keys=EXPERT_KEYS,
    tensors=_stacked_experts,
    extra=COMMON,
)
_QWEN_2_SEEING = Architecture(
    classes=(
        "Qwen2VLForConditionalGeneration",
        "Qwen2VLModel",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen2_5OmniForConditionalGeneration",
        "Qwen2_5OmniModel",
        "Qwen2_5OmniThinkerForConditionalGeneration",
    ),
    arch="qwen2vl",
    keys=SHARED,
    renames=_RENAMES,
    extra=(*COMMON, rope_sections),
)
_QWEN_3 = Architecture(
    classes=("Qwen3ForCausalLM", "Qwen3Model"),
    arch="qwen3",
    keys=SHARED,
    renames=_RENAMES,
    extra=(*COMMON, pooling),
)
_QWEN_3_MOE = Architecture(
    classes=("Qwen3MoeForCausalLM",),
    arch="qwen3moe",
    keys=EXPERT_KEYS[:-1],
    tensors=_stacked_experts,
    extra=COMMON,
)
_QWEN_3_SEEING = Architecture(
    classes=("Qwen3VLForConditionalGeneration",),
    arch="qwen3vl",
    keys=SHARED,
    extra=(*COMMON, rope_sections, _deep_layers),
)
_QWEN_3_MOE_SEEING = Architecture(
    classes=(
        "Qwen3VLMoeForConditionalGeneration",
        "Qwen3OmniMoeForConditionalGeneration",
        "Qwen3OmniMoeThinkerForConditionalGeneration",
    ),
    arch="qwen3vlmoe",
    keys=EXPERT_KEYS[:-1],
    tensors=_stacked_experts,
    renames=_RENAMES,
    extra=(*COMMON, rope_sections, _deep_layers),
)

ENTRIES = (_QWEN_2, _QWEN_2_MOE, _QWEN_2_SEEING, _QWEN_3, _QWEN_3_MOE, _QWEN_3_SEEING, _QWEN_3_MOE_SEEING)
