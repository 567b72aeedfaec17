"""Weights under the names and in the layouts of published files, where transformers has others."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import torch

from tests.core.families.tiny import Config, Weights, noise

Edit = Callable[[Weights, Config], Weights]


def renamed(*rules: tuple[str, str]) -> Edit:
    """Each (regular expression, replacement) applied to every name."""

    def edit(weights: Weights, _: Config) -> Weights:
        named = {}
        for name, value in weights.items():
            for pattern, new in rules:
                name = re.sub(pattern, new, name)
            named[name] = value
        return named

    return edit


def as_part_of(architecture: str, model_type: str, text: Config) -> Config:
    """For `published`: the config of a model that sees or hears, of which `text` is the language part."""
    return dict.fromkeys(text) | {"architectures": [architecture], "model_type": model_type, "text_config": text}


def then(*edits: Edit) -> Edit:
    def edit(weights: Weights, config: Config) -> Weights:
        for one in edits:
            weights = one(weights, config)
        return weights

    return edit


def with_buffers(suffix: str, value: Callable[[], torch.Tensor], *, beside: str) -> Edit:
    """Old files carry buffers that no converter wants: one `suffix` for each name that ends in `beside`."""

    def edit(weights: Weights, _: Config) -> Weights:
        extra = {name.removesuffix(beside) + suffix: value() for name in weights if name.endswith(beside)}
        return weights | extra

    return edit


def without(pattern: str) -> Edit:
    def edit(weights: Weights, _: Config) -> Weights:
        return {name: value for name, value in weights.items() if not re.search(pattern, name)}

    return edit


def omni(weights: Weights, _: Config) -> Weights:
    """Qwen2.5-Omni: a thinker, which has ears as well, a talker, and what makes sound of its words."""
    made = {"thinker." + name: value for name, value in weights.items()}
    names = ("thinker.audio_tower.conv1.weight", "talker.model.norm.weight", "token2wav.code2wav_dit_model.x.weight")
    return made | {name: noise("omni", name, (8,)) for name in names}


def mirrored(pattern: str) -> Edit:
    """The matrices with such names as [columns, rows]."""

    def edit(weights: Weights, _: Config) -> Weights:
        return {name: w.transpose(-1, -2) if re.search(pattern, name) else w for name, w in weights.items()}

    return edit


def fused(parts: tuple[str, ...], whole: str) -> Edit:
    """Rows of several tensors as one: q, k, v -> W_pack."""

    def edit(weights: Weights, _: Config) -> Weights:
        made = {}
        for name, value in weights.items():
            if parts[0] in name:
                made[name.replace(parts[0], whole)] = torch.cat([weights[name.replace(parts[0], p)] for p in parts])
            elif not any(part in name for part in parts):
                made[name] = value
        return made

    return edit


def internlm2_qkv(weights: Weights, config: Config) -> Weights:
    """wqkv: for each key-value head its queries, its key, its value."""
    size = config["hidden_size"] // config["num_attention_heads"]
    groups = config["num_key_value_heads"]
    made = {}
    for name, value in weights.items():
        if ".q_proj." in name:
            q, k, v = (weights[name.replace("q_proj", p)].reshape(groups, -1, size, value.shape[-1]) for p in _QKV)
            made[name.replace("self_attn.q_proj", "attention.wqkv")] = torch.cat([q, k, v], 1).flatten(0, 2)
        elif not any(f".{part}." in name for part in _QKV):
            made[name] = value
    return made


_QKV = ("q_proj", "k_proj", "v_proj")


def next_token_layer(seed: str, extra: dict[str, tuple[str, ...]]) -> Edit:
    """A layer for predicting one token more, after the last: as that one, and `extra` with named dimensions."""

    def edit(weights: Weights, config: Config) -> Weights:
        layers, hidden = config["num_hidden_layers"], config["hidden_size"]
        sizes = {"hidden": hidden, "two": 2 * hidden, "vocab": config["vocab_size"]}
        last, next_ = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
        shapes = {name.replace(last, next_): w.shape for name, w in weights.items() if name.startswith(last)}
        shapes |= {next_ + name: torch.Size(sizes[d] for d in dims) for name, dims in extra.items()}
        return weights | {name: noise(seed, name, shape) * 0.1 for name, shape in shapes.items()}

    return edit


HEAD = {
    "eh_proj.weight": ("hidden", "two"),
    "enorm.weight": ("hidden",),
    "hnorm.weight": ("hidden",),
    "shared_head.norm.weight": ("hidden",),
}
HEAD_WITH_VOCABULARY = {
    **HEAD,
    "embed_tokens.weight": ("vocab", "hidden"),
    "shared_head.head.weight": ("vocab", "hidden"),
}


def qwen_next_token(weights: Weights, config: Config) -> Weights:
    """Qwen's block beside the model, `mtp.`: like the layers with full attention."""
    text = config.get("text_config", config)
    hidden = text["hidden_size"]
    marks = [name for name in weights if name.endswith("self_attn.q_proj.weight") and "visual" not in name]
    start = marks[0].removesuffix("self_attn.q_proj.weight")
    shapes = {"mtp.layers.0." + n.removeprefix(start): w.shape for n, w in weights.items() if n.startswith(start)}
    shapes |= {"mtp.fc.weight": torch.Size((hidden, 2 * hidden))}
    shapes |= {f"mtp.{name}.weight": torch.Size((hidden,)) for name in _QWEN_NORMS}
    return weights | {name: noise("mtp", name, shape) * 0.1 for name, shape in shapes.items()}


_QWEN_NORMS = ("pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm")


# ---- MXFP4, as gpt-oss ships it -------------------------------------------------------------------------------------

_FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def round_to_mxfp4(model: torch.nn.Module) -> None:
    """The experts of the reference become what MXFP4 can hold, and add as little as those of a trained model.

    llama.cpp multiplies MXFP4 by activations in 8 bits, an error of about a hundredth of what the experts add.
    """
    for name, weight in model.named_parameters():
        if name.endswith("experts.down_proj"):
            weight.mul_(0.25)
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            codes, exponents = _mxfp4(weight.transpose(-1, -2))
            values = (_FP4[codes.long()] * torch.exp2(exponents.float() - 127)[..., None]).flatten(-2)
            weight.copy_(values.transpose(-1, -2))


def mxfp4_experts(weights: Weights, _: Config) -> Weights:
    made = {}
    for name, weight in weights.items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            codes, made[name + "_scales"] = _mxfp4(weight.transpose(-1, -2))
            made[name + "_blocks"] = codes[..., 0::2] | (codes[..., 1::2] << 4)
        else:
            made[name] = weight
    return made


def _mxfp4(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes uint8 [..., blocks, 32] and exponents uint8 [..., blocks] with a bias of 127."""
    blocks = rows.unflatten(-1, (-1, 32))
    exponents = torch.floor(torch.log2(blocks.abs().amax(-1))) - 2
    codes = (blocks / torch.exp2(exponents)[..., None])[..., None].sub(_FP4).abs().argmin(-1)
    return codes.to(torch.uint8), (exponents + 127).to(torch.uint8)


def binary_weights(model: torch.nn.Module) -> None:
    """BitNet's projections become plus or minus one number each, which its rounding to ternary leaves alone."""
    for name, weight in model.named_parameters():
        if name.endswith("proj.weight"):
            weight.copy_(torch.where(weight > 0, 0.125, -0.125))


def phi_moe_of_llama_cpp(model: torch.nn.Module) -> None:
    """llama.cpp computes another Phi-MoE: softmax weighs the experts instead of SparseMixer, and the norms are of RMS.

    The reference does so too, so that everything else can be compared.
    """
    for module in model.modules():
        if type(module).__name__ == "PhimoeTopKRouter":
            module.forward = partial(_routed, module)
        elif isinstance(module, torch.nn.LayerNorm):
            module.forward = partial(_rms, module)  # type: ignore[method-assign]


def _routed(router: torch.nn.Module, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scores = torch.nn.functional.linear(hidden, router.get_parameter("weight"))
    best, experts = scores.softmax(-1).topk(2)
    return scores, best / best.sum(-1, keepdim=True), experts


def _rms(norm: torch.nn.LayerNorm, hidden: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(hidden, norm.normalized_shape, norm.weight, norm.eps) + norm.bias
