"""llama.cpp's own figures for 60 models: see golden/fit/README.md."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from core.headers import Header, header_plan, open_headers
from core.memory import ALL_LAYERS, Prediction, Settings, Shape, predict, shape_of
from core.plan import Plan

FILE = Path(__file__).parents[1] / "golden" / "fit" / "models.json.xz"
MIB = 1024**2
# What an x86 processor with AVX-512 has rearranged.
REPACKED = frozenset({"Q4_0", "Q4_K", "Q2_K", "IQ4_NL", "MXFP4"})
_PARTS = {
    "weights": ("weights_gpu", "weights_host", "weights_repack"),
    "kv": ("kv_gpu", "kv_host", "kv_swa_gpu", "kv_swa_host", "state_gpu", "state_host"),
    "compute": ("compute_gpu", "compute_host"),
    "output": ("output_host",),
}


@cache
def goldens() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(lzma.decompress(FILE.read_bytes()))
    return content


NAMES = tuple(goldens()["models"])


def rows(name: str) -> Iterator[dict[str, Any]]:
    """Every setting of a model, with what llama.cpp took."""
    model = goldens()["models"][name]
    for row in (*model["plans"], *model["extra"]):
        yield dict(zip(goldens()["columns"], row, strict=True))


def some_rows(name: str) -> list[dict[str, Any]]:
    """A few settings of each kind, of the main level."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows(name):
        found.setdefault((row["device"], row["n_gpu_layers"], row["cpu_moe"], row["kv"], row["error"]), row)
    return list(found.values())


def truth(row: dict[str, Any], part: str) -> int:
    """Bytes of a part, or of the "total"."""
    parts = _PARTS.values() if part == "total" else (_PARTS[part],)
    return sum(row[column] for columns in parts for column in columns)


@cache
def header_of(name: str) -> Header:
    """The model as a range read of its checkpoint gives it."""
    model = goldens()["models"][name]
    tensors = {tensor: {"dtype": dtype, "shape": shape} for tensor, (dtype, shape) in _expand(model["tensors"])}
    said = {"embeddings": True} if model["kind"] == "embedding" else {}
    return open_headers({"id": name, "config": model["config"], "tensors": tensors, "settings": said})


@cache
def plan_of(name: str, level: str) -> Plan:
    return header_plan(replace(header_of(name), quant=level))


@cache
def shape_by(name: str, level: str) -> Shape:
    return shape_of(plan_of(name, level))


def types_sha256(plan: Plan) -> str:
    lines = sorted(f"{tensor.name} {tensor.format}\n" for tensor in plan.tensors)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def settings_of(row: dict[str, Any]) -> Settings:
    return Settings(
        context=row["n_ctx"],
        kv_type=row["kv"],
        gpu_layers=row["n_gpu_layers"],
        has_gpu=row["device"] == "gpu",
        host_experts=ALL_LAYERS if row["cpu_moe"] else 0,
        ubatch=row["n_ubatch"],
        parallel=row["n_parallel"],
        unified=bool(row["kv_unified"]),
        outputs=row["outputs"],
        flash=row["flash_attn_asked"],
        swa_full=bool(row["swa_full"]),
        kv_on_host=bool(row["no_kv_offload"]),
        repacked=REPACKED if row["device"] == "cpu" else frozenset(),
    )


def predicted(name: str, row: dict[str, Any]) -> Prediction:
    return predict(shape_by(name, row["preset"]), settings_of(row))


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _expand(entries: list[Any]) -> Iterator[tuple[str, Any]]:
    for template, value, *ranges in entries:
        for index in product(*map(list, map(_numbers, ranges))):
            yield template.format(*index), value
