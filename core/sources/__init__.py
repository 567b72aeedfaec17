"""Checkpoints that are quantized already: stored tensors folded into the logical ones that the families know.

    unpacked = unpack(config, sources)      # Unpacked(tensors, notes, method)

A folded tensor has the name that the unquantized checkpoint gives it, its shape, dtype F32 and `packed`, which computes
any of its rows from the bytes that hold them. Only gpt-oss's experts stay MXFP4, bit for bit, with outputs as rows:
[experts, rows, columns], where the unquantized checkpoint has them transposed. A method is a file with a `fold`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import SnugError
from core.model import ReadBytes, TensorInfo
from core.sources import awq, bitnet, bitsandbytes, compressed_tensors, fp4, fp8, gptq, mxfp4
from core.sources.card import adapter_error, parent_of, refuse_adapter
from core.sources.method import find_settings, method_name
from core.sources.stored import USE_ORIGINAL, Fold, Stored, damaged

__all__ = ["Unpacked", "parent_of", "refuse_adapter", "unpack"]


@dataclass(frozen=True)
class Unpacked:
    """Logical tensors in the stored order, what to tell the user, and the method's name (None: not quantized)."""

    tensors: list[TensorInfo]
    notes: tuple[str, ...] = ()
    method: str | None = None


@dataclass(frozen=True)
class Method:
    """A way to store quantized weights; `advice` follows the warning."""

    label: str
    folds: tuple[Fold, ...]
    advice: str = "The original model gives a better result."


_METHODS = {
    "fp8": Method("FP8", (fp8.fold,)),
    "fbgemm-fp8": Method("FP8 (FBGEMM)", (fp8.fold,)),
    "gptq": Method("GPTQ", (gptq.fold,)),
    "awq": Method("AWQ", (awq.fold,)),
    "compressed-tensors": Method("compressed-tensors", (compressed_tensors.fold,)),
    "bitsandbytes": Method("bitsandbytes", (bitsandbytes.fold,)),
    "mxfp4": Method("MXFP4", (mxfp4.fold,), "Where MXFP4 is kept, nothing is lost."),
    "bitnet": Method(
        "BitNet b1.58", (bitnet.fold,), "TQ1_0 and TQ2_0 keep its ternary weights: only scales are rounded."
    ),
    "modelopt": Method("ModelOpt", (fp4.fold, fp8.fold)),
    "quark": Method("Quark", (fp4.fold, fp8.fold)),
}

# Scales of activations and of the cache: a GGUF has no place for them, and weights do without.
_UNUSED = (
    *(".input_scale", ".input_zero_point", ".input_global_scale", ".input_scale_ub", ".output_scale"),
    *(".output_zero_point", ".k_scale", ".v_scale", ".q_scale", ".prob_output_scale", ".kv_scale", ".qscale_act"),
    *(".activation_scale", "_activation_scale", "_proj_input_scale"),
)
# What nobody but a quantized weight has: left over, it belongs to a layer that was not understood.
_LEFT_OVER = (
    *(".qweight", ".qzeros", ".scales", ".g_idx", "_packed", "_scale_inv", "_scale_2", "_zero_point", "_g_idx"),
    *(".weight_scale", "_global_scale", ".weight_shape", ".SCB", ".absmax", ".quant_map", "_blocks", "_scales"),
    *(".qscale_weight", ".pre_quant_scale", ".weight_format"),
)


def unpack(config: Mapping[str, Any], sources: Sequence[TensorInfo], read: ReadBytes | None = None) -> Unpacked:
    """The logical tensors of a checkpoint; without quantization just `sources`.

    Reads, beyond headers, only the few bytes in which layers state their shapes; `read` replaces how. Raises SnugError
    for a method that cannot be read, for parts that do not fit together, and for LoRA adapters.
    """
    _refuse_adapter_tensors(config, sources)
    settings = find_settings(config, sources)
    name = method_name(settings, sources)
    if name is None:
        return Unpacked(list(sources))
    if name not in _METHODS:
        raise _unsupported(name, sources)
    method = _METHODS[name]
    with _reading(read) as reader:
        stored = Stored(settings, {tensor.name: tensor for tensor in sources}, reader)
        folded = [tensor for fold in method.folds for tensor in fold(stored)]
    if not folded:
        return _not_packed(method, sources)
    tensors = _replaced(folded, sources)
    return Unpacked(tensors, _notes(method, settings, folded, sources), method.label)


def _refuse_adapter_tensors(config: Mapping[str, Any], sources: Sequence[TensorInfo]) -> None:
    if any(".lora_A." in tensor.name or ".lora_embedding_A" in tensor.name for tensor in sources):
        base = config.get("base_model_name_or_path")
        raise adapter_error(sources[0].file.name, base if isinstance(base, str) else None)


def _unsupported(name: str, sources: Sequence[TensorInfo]) -> SnugError:
    parent = parent_of(sources[0].file.parent) if sources else None
    readable = ", ".join(method.label for method in _METHODS.values())
    return SnugError(
        f"This checkpoint is already quantized (method {name}), which Snug cannot read.",
        f"Use the full-precision model that it was made from{f', {parent}' if parent else ''}. Snug reads {readable}.",
    )


def _not_packed(method: Method, sources: Sequence[TensorInfo]) -> Unpacked:
    """The settings speak of a method, but the weights are plain floats: a merged or not yet packed model."""
    _refuse_left_over(sources)
    note = f"config.json speaks of {method.label}, but the weights are stored unquantized; they are taken as they are."
    return Unpacked([tensor for tensor in sources if not _is_unused(tensor)], (note,))


def _is_unused(tensor: TensorInfo) -> bool:
    return tensor.name.endswith(_UNUSED)


def _replaced(folded: Sequence[TensorInfo], sources: Sequence[TensorInfo]) -> list[TensorInfo]:
    """The stored tensors with each packed one at the place of its first part, and nothing of the method left."""
    parts = {tensor.name: tensor.packed.parts for tensor in folded if tensor.packed}
    used = {part.name for found in parts.values() for part in found}
    at_first = {parts[tensor.name][0].name: tensor for tensor in folded}
    plain = [tensor for tensor in sources if tensor.name not in used and not _is_unused(tensor)]
    _refuse_left_over(plain)
    kept = {tensor.name: tensor for tensor in plain}
    twice = next((tensor for tensor in folded if tensor.name in kept), None)
    if twice:
        raise damaged(twice, "it is stored both quantized and plain")
    both = at_first | kept
    return [both[tensor.name] for tensor in sources if tensor.name in both]


def _refuse_left_over(tensors: Sequence[TensorInfo]) -> None:
    for tensor in tensors:
        if tensor.name.endswith(_LEFT_OVER):
            raise SnugError(
                f"{tensor.file.name}: {tensor.name} belongs to no quantized weight that Snug understands.", USE_ORIGINAL
            )


def _notes(
    method: Method, settings: Mapping[str, Any], folded: Sequence[TensorInfo], sources: Sequence[TensorInfo]
) -> tuple[str, ...]:
    bits = settings.get("bits")
    label = f"{method.label}, {bits} bits" if type(bits) is int else method.label
    parent = parent_of(sources[0].file.parent)
    note = (
        f"This checkpoint is quantized already ({label}; {len(folded)} of its tensors): "
        f"quantizing it again adds its loss to the new one. {method.advice}"
    )
    if parent:
        note += f" Its model card says that it was made from {parent}."
    unused = sum(_is_unused(tensor) for tensor in sources)
    more = f"{unused} scales of activations and of the cache are left out: a GGUF has no place for them."
    return (note, more) if unused else (note,)


@contextmanager
def _reading(read: ReadBytes | None) -> Iterator[ReadBytes]:
    """`read`, or one that opens each file once and closes them in the end."""
    if read:
        yield read
        return
    files: dict[Path, int] = {}

    def read_file(tensor: TensorInfo, first: int, count: int) -> Any:
        if tensor.file not in files:
            files[tensor.file] = os.open(tensor.file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        os.lseek(files[tensor.file], tensor.offset + first, os.SEEK_SET)
        data = os.read(files[tensor.file], count)
        if len(data) != count:
            raise damaged(tensor, "the file ends in the middle of it")
        return np.frombuffer(data, np.uint8)

    try:
        yield read_file
    finally:
        for descriptor in files.values():
            os.close(descriptor)
