"""A model known from a range read of its headers: config, tensor names, dtypes, shapes. No files, no tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from core.architectures import Source, check_complete, family_of, find_architecture, flat_config, map_model
from core.errors import SnugError
from core.memory import ALL_LAYERS, KV_TYPES, Prediction, Settings, predict, shape_of
from core.model import Metadata, ModelInfo, TensorInfo
from core.plan import Plan, PlannedTensor, place
from core.recipes import choose_formats, find_recipe
from core.sources import unpack
from kernels import FORMATS

_HINT = 'A header file is {"id", "config", "tensors": {name: {"dtype", "shape"}}, "quant", "settings"}.'
# Bytes of one number of a checkpoint.
_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
# How a model that gives one vector a text says how: the number is llama.cpp's.
_POOLING = {"BertModel": 2, "NomicBertModel": 1, "Gemma3TextModel": 1}
_AS_STORED = "source"
# x86 with AVX-512, which is as with AVX2 but for Q2_K.
_REPACKED = frozenset({"Q4_0", "Q4_K", "Q2_K", "IQ4_NL", "MXFP4"})


@dataclass(frozen=True, slots=True)
class Header:
    """A model, the name of the level that it is wanted in, and what its file says about how it runs."""

    model: ModelInfo
    quant: str
    settings: Settings


def open_headers(description: Mapping[str, Any]) -> Header:
    """The model that `description` describes (see the hint). Raises SnugError for what is none."""
    try:
        return _opened(description)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise SnugError(f"This is not a model's header ({type(error).__name__}: {error}).", _HINT) from error


def _opened(description: Mapping[str, Any]) -> Header:
    config = flat_config(description["config"])
    entry = find_architecture(config)
    stored = [_tensor(name, **said) for name, said in description["tensors"].items()]
    unpacked = unpack(config, stored)
    tensors = {tensor.name: tensor for tensor in unpacked.tensors}
    source = Source(arch=entry.arch, config=entry.config(config), tensors=tensors, read_json=lambda _: None,
                    read_values=lambda name: _zeros(tensors.get(name)))  # fmt: skip
    mapped = map_model(entry, source)
    check_complete(entry, mapped)
    name = str(description.get("id", "model"))
    model = ModelInfo(
        name=name,
        path=Path(name),
        family=family_of(config),
        architecture=entry.arch,
        dtype=next((tensor.dtype for tensor in mapped.tensors if len(tensor.shape) > 1), "F32"),
        metadata=(
            Metadata("general.architecture", "str", entry.arch),
            *mapped.keys,
            *_pooling(entry.arch, description),
        ),
        tensors=mapped.tensors,
        files=(),
        dropped=mapped.dropped,
        notes=unpacked.notes,
    )
    return Header(model, str(description.get("quant") or _AS_STORED), _settings(description.get("settings") or {}))


def _tensor(name: str, dtype: str, shape: list[int]) -> TensorInfo:
    sizes = tuple(int(size) for size in shape)
    return TensorInfo(name, dtype, sizes, Path(), 0, prod(sizes) * _DTYPE_BYTES.get(dtype, 1))


def _zeros(tensor: TensorInfo | None) -> tuple[float, ...] | None:
    """Values are not in a header, and do not change a size."""
    return None if tensor is None else (0.0,) * prod(tensor.shape)


def _pooling(arch: str, description: Mapping[str, Any]) -> tuple[Metadata, ...]:
    kind = _POOLING.get(family_of(description["config"]))
    asked = (description.get("settings") or {}).get("embeddings")
    if kind is None and asked:
        kind = 3
    return (Metadata(f"{arch}.pooling_type", "u32", kind),) if kind else ()


def _settings(said: Mapping[str, Any]) -> Settings:
    outputs = str(said.get("outputs", "one"))
    if outputs not in ("one", "all"):
        raise ValueError(f"outputs must be one or all, not {outputs!r}")
    return Settings(
        parallel=max(1, int(said.get("n_parallel", 1))),
        unified=bool(said.get("kv_unified", False)),
        ubatch=max(1, int(said.get("n_ubatch", 512))),
        outputs=outputs,
        flash=str(said.get("flash_attn", "auto")),
        swa_full=bool(said.get("swa_full", False)),
        kv_on_host=bool(said.get("no_kv_offload", False)),
        repacked=_REPACKED if said.get("repack", True) else frozenset(),
    )


def predict_header(
    header: Header, *, context: int, kv_type: str = "f16", gpu_layers: int = 0, host_experts: int = 0
) -> Prediction:
    """What llama.cpp takes for it. Raises ValueError with llama.cpp's reason where it refuses the settings.

    `gpu_layers` above 0 means that a GPU is there, below 0 all layers; `host_experts` layers keep experts in RAM.
    """
    if kv_type not in KV_TYPES:
        raise ValueError(f"the cache cannot be {kv_type}: {', '.join(KV_TYPES)}")
    settings = replace(
        header.settings,
        context=context,
        kv_type=kv_type,
        gpu_layers=ALL_LAYERS if gpu_layers < 0 else gpu_layers,
        has_gpu=gpu_layers != 0,
        host_experts=host_experts,
    )
    return predict(shape_of(header_plan(header)), settings)


def header_plan(header: Header) -> Plan:
    """The plan of its level: exact bytes of every tensor, without the length of a vocabulary that is not known."""
    name, _, matrix = header.quant.partition(":")
    recipe = find_recipe(_stored_type(header.model) if name == _AS_STORED else name)
    formats = choose_formats(header.model, recipe, has_importance=bool(matrix))
    tensors = (
        PlannedTensor(tensor, name, 0, FORMATS[name].row_bytes(tensor.columns) * tensor.rows)
        for tensor in header.model.tensors
        for name in (formats[tensor.name],)
    )
    return Plan(header.model, recipe, place(tensors), 0)


def _stored_type(model: ModelInfo) -> str:
    """Full precision is converted to half, and the rest stays what it is."""
    return "F16" if model.dtype in ("F64", "F32", "F16") else "BF16"
