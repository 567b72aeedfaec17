"""Which tensors are never quantized, and which float type they have then."""

from __future__ import annotations

import re

from core.model import ModelInfo, OutputTensor

FLOATS = ("F32", "BF16", "F16")

# Small ones that much depends on. Names as llama-quantize's tensor_allows_quantization lists them.
_NEVER_QUANTIZED = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj"
    r"|^position_embd\.weight$|^token_types\.weight$|\.position_embd|sam\.(pos_embd|neck\.|net_)|\.rel_pos"
    r"|\.patch_embd|\.patch_merger|a\.rvq\.codebook|mm\.a\.code_embd|ssm_conv1d|shortconv\.conv\.weight"
    r"|indexer\.[kq]_proj\.weight|attn_rel_b\.weight"
    r"|time_mix_(first|w[012]|v[012]|a[012]|g[12]|decay_w[12]|lerp_fused)\.weight"
)
# What llama.cpp's converter writes in 32 bits whatever type is asked for.
_ALWAYS_F32 = re.compile(
    r"_norm\.weight$|ffn_gate_inp(_shexp)?\.weight|ssm_conv1d(_[qkv])?\.weight|shortconv\.conv\.weight"
    r"|indexer\.proj\.weight|(^|\.)position_embd\.weight|^token_types\.weight|altup_(correct|predict)_coef"
    r"|posnet\.\d+\.norm[12]\.weight|time_mix_(first|w[12]|decay_w[12]|lerp_fused)\.weight"
)


def may_quantize(tensor: OutputTensor) -> bool:
    """True for weights of two or more dimensions, except norms, routers, position tables and other small ones."""
    name = tensor.name
    return _dimensions(tensor) >= 2 and name.endswith("weight") and not _NEVER_QUANTIZED.search(name)


def kept_format(tensor: OutputTensor, model: ModelInfo, wanted: str) -> str:
    """The format of a tensor that is not quantized, in a file whose weights are `wanted`.

    That of a GGUF source stays; else it is what llama.cpp's converter gives it, which keeps MXFP4 as it is.
    """
    if model.is_gguf or tensor.dtype == "MXFP4":
        return tensor.dtype
    if len(tensor.shape) < 2 or not tensor.name.endswith(".weight") or _ALWAYS_F32.search(tensor.name):
        return "F32"
    if wanted in FLOATS:
        return wanted
    return "BF16" if model.dtype == "BF16" else "F16"


def _dimensions(tensor: OutputTensor) -> int:
    """ggml's count: leading dimensions of one do not count."""
    shape = tensor.shape
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return len(shape)
