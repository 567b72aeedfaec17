"""FP8 weights: E4M3 or E5M2 with a scale for the tensor, for each row, or for each block of 128 x 128.

Layouts: transformers' fine-grained FP8 and DeepSeek-V3 (`weight_scale_inv`, which despite its name is multiplied), vLLM
and FBGEMM (`weight_scale`), Mistral (`qscale_weight`). value = code * scale in float32, as llama.cpp's converter does.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.model import TensorInfo
from core.sources.stored import Stored, damaged, logical
from core.sources.tiles import Tiled, block_sizes, tiled

DTYPES = ("F8_E4M3", "F8_E5M2")
_SCALES = ("_scale_inv", "_scale")
_BESIDE = (".qscale_weight", ".scale")  # in place of .weight
_IS_SCALE = (*_SCALES, *_BESIDE, "_scale_2", "_scales")
_BLOCK = (128, 128)


def fold(stored: Stored) -> Iterator[TensorInfo]:
    """Every FP8 tensor times its scale. One without a scale is a plain cast, if the checkpoint claims no method."""
    blocks = [*block_sizes(stored.settings.get("weight_block_size")), _BLOCK]
    for name, codes in stored.tensors.items():
        if codes.dtype not in DTYPES or name.endswith(_IS_SCALE) or not codes.shape:
            continue
        scale = scale_of(stored, name)
        if scale is None and stored.settings:
            raise damaged(codes, f"the tensor {name}_scale or {name}_scale_inv is missing")
        packing = tiled(codes, scale, blocks) if scale else Tiled(codes, None, None, (1, 1, 1), (1, 1))
        yield logical(name, codes.shape, packing)


def scale_of(stored: Stored, name: str) -> TensorInfo | None:
    """The scale of a weight, under whichever of the names it has."""
    names = [name + suffix for suffix in _SCALES]
    if name.endswith(".weight"):
        names += [name.removesuffix(".weight") + suffix for suffix in _BESIDE]
    return next((stored.tensors[found] for found in names if found in stored.tensors), None)
