"""The lines that run a file as it was judged: llama.cpp, Ollama, LM Studio."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.answer.placement import Placement
from core.fit import Fit

if TYPE_CHECKING:
    from core.plan import Plan

_GIB = 1024**3
_ALL_LAYERS = 999
_UNFIT = re.compile(r'[\s<>:"/\\|?*\x00-\x1f]+')


@dataclass(frozen=True, slots=True)
class RunLine:
    """`text` is to be copied as it is; `note` says where it goes."""

    program: str
    text: str
    note: str


def default_name(model: str, recipe: str) -> str:
    """A name for the file to be made that every system takes: Llama-3-8B-Q4_K_M.gguf."""
    return f"{_UNFIT.sub('-', model).strip('-.') or 'model'}-{recipe}.gguf"


def run_lines(plan: Plan, fit: Fit, placement: Placement, *, path: str = "") -> tuple[RunLine, ...]:
    """For llama.cpp, Ollama and LM Studio, in this order; `path` is the file, else it has the model's name."""
    file = path or default_name(plan.model.name.rsplit("/", 1)[-1], plan.recipe.name)
    return (
        RunLine("llama.cpp", _llama_cpp(fit, placement, file), "in a terminal"),
        RunLine("Ollama", _modelfile(fit, placement, file), _ollama_note(fit)),
        RunLine("LM Studio", _lm_studio(fit, placement), "in the settings for loading the model"),
    )


def _llama_cpp(fit: Fit, placement: Placement, file: str) -> str:
    words = ["llama-server", "-m", shlex.quote(file), "-ngl", str(_layers(placement)), "-c", str(fit.context)]
    if fit.kv_type != "f16":
        words += ["-ctk", fit.kv_type, "-ctv", fit.kv_type]
    # What is judged is one conversation at a time, without a cache of old prompts that grows in RAM.
    words += ["-fa", "on" if _needs_flash(fit) else "auto", "-np", "1", "--cache-ram", "0"]
    if placement.host_experts:
        words += ["--n-cpu-moe", str(placement.host_experts)]
    if len(placement.cards) > 1:
        words += ["-ts", ",".join(f"{gpu.free / _GIB:.1f}" for gpu in placement.cards)]
    return " ".join(words)


def _layers(placement: Placement) -> int:
    return _ALL_LAYERS if placement.is_whole else placement.gpu_layers


def _needs_flash(fit: Fit) -> bool:
    return fit.kv_type not in ("f16", "f32", "bf16")


def _modelfile(fit: Fit, placement: Placement, file: str) -> str:
    """Ollama cannot keep experts alone in RAM: it is given as many whole layers as were found to fit."""
    layers = fit.gpu_layers if placement.host_experts else _layers(placement)
    return f"FROM {file if '/' in file else './' + file}\nPARAMETER num_ctx {fit.context}\nPARAMETER num_gpu {layers}"


def _ollama_note(fit: Fit) -> str:
    note = "as a file named Modelfile, then: ollama create NAME -f Modelfile"
    if fit.kv_type in ("q8_0", "q4_0"):
        server = f"OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE={fit.kv_type} OLLAMA_NUM_PARALLEL=1 ollama serve"
        return f"{note}; start its server with: {server}"
    return f"{note}; start its server with: OLLAMA_NUM_PARALLEL=1 ollama serve"


def _lm_studio(fit: Fit, placement: Placement) -> str:
    """Its slider counts blocks, without the output."""
    blocks = placement.blocks if placement.is_whole else max(0, placement.gpu_layers - 1)
    lines = [f"Context Length: {fit.context}", f"GPU Offload: {blocks} of {placement.blocks}"]
    if placement.host_experts:
        lines.append(f"Number of layers for which to force MoE weights onto CPU: {placement.host_experts}")
    lines.append("Max Concurrent Predictions: 1")
    if _needs_flash(fit):
        kind = fit.kv_type.upper()
        lines += ["Flash Attention: on", f"K Cache Quantization Type: {kind}", f"V Cache Quantization Type: {kind}"]
    return "\n".join(lines)
