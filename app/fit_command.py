"""snug fit: the table of levels with the answer; with --header what a model takes in llama.cpp, before any download."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import core
from app import words

REFUSED = 2
_EVERY = 1 << 30


def predicted(
    file: str, *, context: int, kv: str, gpu_layers: int, cpu_moe: bool, n_cpu_moe: int
) -> tuple[dict[str, Any], int]:
    """(bytes by what and where, exit code); a setting that llama.cpp refuses gives its reason and 2."""
    header = core.open_headers(_read(file))
    experts = _EVERY if cpu_moe else n_cpu_moe
    try:
        found = core.predict_header(header, context=context, kv_type=kv, gpu_layers=gpu_layers, host_experts=experts)
    except ValueError as refused:
        return {"error": str(refused)}, REFUSED
    gpu, host = _parts(found.gpu), _parts(found.host)
    whole: dict[str, Any] = {name: gpu[name] + host[name] for name in gpu}
    rough = {"rough": True, "doubt": found.doubt} if found.doubt else {}
    return whole | {"gpu": gpu, "host": host} | rough, 0


def answered(
    model: core.ModelInfo,
    hardware: core.Hardware,
    *,
    context: int,
    kv: str,
    want: core.Want,
    level: str,
    importance: core.ImportanceMatrix | None,
    calibrate: bool,
) -> tuple[list[core.Option], core.Answer]:
    """Every level, with that marked which the answer takes, and the answer."""
    name = core.find_recipe(level).name if level else ""
    if kv not in core.KV_TYPES:
        raise core.SnugError(f"--kv {kv} is no format of a cache.", f"Choose one of {', '.join(core.KV_TYPES)}.")
    options = core.options_for(model, hardware, context=context, importance=importance, kv_type=kv)
    trial = core.calibrate(hardware) if calibrate and not hardware.given else None
    answer = core.answer_for([option.plan for option in options], hardware, context=context, kv_type=kv, want=want,
                             level=name, calibration=trial)  # fmt: skip
    taken = answer.advice.recipe
    return [replace(option, recommended=option.recipe.name == taken) for option in options], answer


def _read(file: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise core.SnugError(f"{file} cannot be opened: {error.strerror or error}.", "Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise core.SnugError(f"{file} is not readable JSON: {error}.", "Make it again.") from error
    if not isinstance(found, dict):
        raise core.SnugError(f"{file} holds no model's header.", "Make it again.")
    return found


def _parts(needs: Any) -> dict[str, int]:
    return {
        "weights": needs.weights,
        "kv": needs.kv,
        "compute": needs.compute,
        "output": needs.output,
        "total": needs.buffers,
    }


def show(found: dict[str, Any]) -> None:
    """The same for people: a line for each part."""
    if "error" in found:
        print(f"llama.cpp refuses this: {found['error']}")
        return
    for name in ("weights", "kv", "compute", "output", "total"):
        gpu, host = found["gpu"][name], found["host"][name]
        print(f"{name:8} {words.size(found[name]):>10}   GPU {words.size(gpu):>10}   RAM {words.size(host):>10}")
    if found.get("rough"):
        print(f"A rough estimate: it may be {words.size(found['doubt'])} short.")
