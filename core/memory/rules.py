"""What families do differently in their graphs, as data. Source: one file a family in llama.cpp's src/models."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.memory.shape import Shape

_BEFORE, _AFTER = "before the norm", "after the norm"
_SOFT_MAX, _SIGMOID, _SOFT_MAX_OF_CHOSEN = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Rules:
    """The defaults are those of Llama: norm, attention, residual, norm, gated feed-forward, residual.

    `norm` is the operation. `beside` says that attention and feed-forward read the same input ("cohere", "falcon",
    "phi", "neox"). `scales_embedding`, `scales_residual` and `scales_query` are products with a number, `softcaps` and
    `caps_logits` a tanh between two. `turn` is where positions turn queries and keys: "all", "windowed", "full" or
    "none". `norms_after_turn`, `norms_value` and `norms_without_weights` (all norms) are norms without weights;
    `turns_first`: heads are normed when they are turned. `gated_query`: half of the query matrix
    makes a gate. Of experts: `weighs_chosen` (softmax after the choice), `chooses_by_logits`, `weighs_before`,
    `norm_experts`. `picks` is where the rows whose logits are wanted are picked: "in the last layer", or "before" or
    "after the norm" of the output.
    """

    norm: str = "RMS_NORM"
    beside: str = ""
    norm_after: bool = False
    scales_embedding: bool = False
    scales_residual: bool = False
    scales_query: bool = False
    softcaps: bool = False
    caps_logits: bool = False
    scales_logits: bool = False
    turn: str = "all"
    norms_after_turn: bool = False
    tempers: bool = False
    norms_value: bool = False
    residual_first: bool = False
    residual_first_at_end: bool = False
    gated_query: bool = False
    repeats_heads: bool = False
    divides_gate: bool = False
    scales_before_output: bool = False
    turns_first: bool = False
    norms_without_weights: bool = False
    squares: bool = False
    sequential_gate: bool = False
    expands_turned: bool = False
    weighs_chosen: bool = False
    chooses_by_logits: bool = False
    weighs_before: bool = False
    norm_experts: bool = True
    expert_gating: int = _SOFT_MAX
    dense_beside_experts: bool = False
    state: str = ""
    picks: str = "in the last layer"

    def turns(self, layer: int, windowed: bool) -> bool:
        if self.turn == "three of four":
            return (layer + 1) % 4 != 0
        return self.turn == "all" or (self.turn == "windowed" and windowed) or (self.turn == "full" and not windowed)

    def gating(self, shape: Shape) -> str:
        """The operation that makes probabilities of logits."""
        kind = int(shape.key("expert_gating_func", 0) or 0) or self.expert_gating
        return "UNARY" if kind == _SIGMOID else "SOFT_MAX"

    def normalizes(self, shape: Shape) -> bool:
        """Whether the weights of the chosen experts are made to sum to one."""
        said = shape.key("expert_weights_norm")
        return self.norm_experts if said is None else bool(said)

    def scales_experts(self, shape: Shape) -> bool:
        return float(shape.key("expert_weights_scale", 0.0) or 0.0) not in (0.0, 1.0)


_LLAMA, _LAYER = Rules(), Rules(norm="NORM")
_GRANITE = Rules(scales_embedding=True, scales_residual=True, scales_logits=True)

# Families whose buffers are those of llama.cpp's planner, as tests show.
RULES: dict[str, Rules] = {
    **dict.fromkeys(("llama", "mistral3", "qwen2", "qwen3", "ernie4_5", "olmo2", "seed_oss"), _LLAMA),
    **dict.fromkeys(("exaone", "exaone4", "internlm2", "baichuan", "chatglm", "glm4", "apertus"), _LLAMA),
    **dict.fromkeys(("qwen2vl", "qwen3vl", "paddleocr", "minimax-m2", "bitnet"), _LLAMA),
    **dict.fromkeys(("qwen3moe", "qwen3vlmoe", "glm4moe", "ernie4_5-moe", "dots1"), _LLAMA),
    **dict.fromkeys(("starcoder2", "stablelm", "codeshell"), _LAYER),
    **dict.fromkeys(("gpt2", "mpt", "bloom", "starcoder"), replace(_LAYER, turn="none")),
    **dict.fromkeys(("hunyuan-dense", "hunyuan-moe"), Rules(turns_first=True)),
    "olmo": Rules(norm="NORM", norms_without_weights=True),
    "jais2": Rules(norm="NORM", squares=True),
    "afmoe": Rules(scales_embedding=True, turn="three of four"),
    "smollm3": Rules(turn="three of four"),
    "arcee": Rules(squares=True),
    "olmoe": Rules(norm_experts=False),
    "qwen2moe": Rules(norm_experts=False, divides_gate=True),
    "deepseek2": Rules(norm_experts=False),
    "phi3": Rules(scales_query=True, residual_first_at_end=True),
    "phimoe": Rules(scales_query=True, norm="NORM", residual_first_at_end=True),
    "phi2": Rules(norm="NORM", beside="phi", scales_query=True),
    "gptneox": Rules(norm="NORM", beside="neox"),
    "falcon": Rules(norm="NORM", beside="falcon"),
    "nemotron": Rules(norm="NORM", squares=True),
    "command-r": Rules(norm="NORM", beside="cohere", scales_logits=True),
    "cohere2": Rules(norm="NORM", beside="cohere", scales_logits=True, turn="windowed"),
    "gemma": Rules(scales_embedding=True, scales_query=True),
    "gemma2": Rules(scales_embedding=True, scales_query=True, softcaps=True, caps_logits=True),
    "gemma3": Rules(scales_embedding=True, scales_query=True),
    "gemma-embedding": Rules(scales_embedding=True, scales_query=True),
    "gemma3n": Rules(scales_embedding=True, norms_value=True, caps_logits=True),
    "gemma4": Rules(scales_embedding=True, norms_value=True, caps_logits=True, picks=_AFTER),
    "gpt-oss": Rules(picks=_BEFORE, weighs_chosen=True, expert_gating=_SOFT_MAX_OF_CHOSEN, norm_experts=False),
    "llama4": Rules(norms_after_turn=True, turn="windowed", tempers=True, chooses_by_logits=True, norm_experts=False,
                    expert_gating=_SIGMOID, weighs_before=True),
    "granite": _GRANITE,
    "granitemoe": _GRANITE,
    "granitehybrid": replace(_GRANITE, state="mamba2", turn="none"),
    "minicpm": _GRANITE,
    "minicpm3": Rules(scales_embedding=True, scales_residual=True, scales_before_output=True),
    "mamba": Rules(state="mamba"),
    "mamba2": Rules(state="mamba2"),
    "jamba": Rules(state="mamba", turn="none", norm_experts=False, residual_first=True),
    "falcon-h1": Rules(state="both"),
    "nemotron_h": Rules(state="mamba2", turn="none", squares=True, picks=_AFTER),
    "lfm2": Rules(state="convolution", residual_first=True),
    "lfm2moe": Rules(state="convolution", residual_first=True),
    "qwen3next": Rules(state="delta", gated_query=True, repeats_heads=True, picks=_AFTER),
    "qwen35": Rules(state="delta", gated_query=True, picks=_AFTER),
    "qwen35moe": Rules(state="delta", gated_query=True, picks=_AFTER),
    "nemotron_h_moe": Rules(state="mamba2", turn="none", squares=True, picks=_AFTER, expert_gating=_SIGMOID),
    "modern-bert": Rules(norm="NORM"),
    "eurobert": _LLAMA,
    "bert": Rules(norm="NORM", norm_after=True, turn="none"),
    "nomic-bert": Rules(norm="NORM", norm_after=True),
}  # fmt: skip


# Families whose rules nobody has held against the planner yet.
_UNPROVED: dict[str, Rules] = {
    "gptj": Rules(norm="NORM", beside="falcon"),
    "deepseek": Rules(norm_experts=False),
    "orion": _LAYER,
}


def rules_of(shape: Shape) -> tuple[Rules, bool]:
    """The rules of a family, and whether they are proved: families without any get Llama's."""
    proved = RULES.get(shape.architecture)
    if proved:
        return proved, True
    return _UNPROVED.get(shape.architecture, _LLAMA), False
