"""Which method a checkpoint was quantized with: from its settings, else from the names and dtypes of its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import SnugError
from core.model import TensorInfo
from core.sources import fp8

_ROUNDED = {"auto_round:auto_gptq": "gptq", "auto_round:auto_awq": "awq"}  # AutoRound, by its packing_format
# What tells a method where no settings name one: the end of a tensor's name.
_MARKS = {
    ".weight_packed": "compressed-tensors",
    **dict.fromkeys((".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4", ".SCB"), "bitsandbytes"),
    "_blocks": "mxfp4",
    ".weight_scale_2": "modelopt",
}
_SETTINGS_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")


def find_settings(config: Mapping[str, Any], sources: Sequence[TensorInfo]) -> Mapping[str, Any]:
    """quantization_config, wherever it is; from a file of its own where config.json has none."""
    text = config.get("text_config")
    places = [config, text] if isinstance(text, Mapping) else [config]
    for place in places:
        for key in ("quantization_config", "compression_config"):
            if place.get(key):
                return _table(place[key], key)
    folder = sources[0].file.parent if sources else Path()
    for name in _SETTINGS_FILES:
        if (folder / name).is_file():
            return _from_file(folder / name)
    return {}


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SnugError(f"{name} is no table of settings: {str(value)[:60]}.", "Download config.json again.")
    return value


def _from_file(file: Path) -> Mapping[str, Any]:
    """AutoGPTQ's, AutoAWQ's or ModelOpt's own file of settings."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SnugError(f"{file.name} is not readable JSON.", "Download it again.") from error
    settings = _table(found, file.name)
    if file.name == "hf_quant_config.json":
        return {"quant_method": "modelopt", **_table(settings.get("quantization") or {}, file.name)}
    if "w_bit" in settings:
        return {"quant_method": "awq", "bits": settings["w_bit"], "group_size": settings.get("q_group_size")}
    return {"quant_method": "gptq", **settings}


def method_name(settings: Mapping[str, Any], sources: Sequence[TensorInfo]) -> str | None:
    """The key of the method, None for an unquantized checkpoint; "unknown" for settings that say nothing."""
    named = settings.get("quant_method") or settings.get("method")
    if not isinstance(named, str):
        return _recognized(sources) or ("unknown" if settings else None)
    name = named.lower().removeprefix("intel/").replace("_", "-")
    if name == "auto-round":
        return _ROUNDED.get(str(settings.get("packing_format")), f"{name}, {settings.get('packing_format')}")
    return "modelopt" if name.startswith("modelopt") else name


def _recognized(sources: Sequence[TensorInfo]) -> str | None:
    """The method that names and dtypes give away."""
    shapes = {tensor.name: tensor.shape for tensor in sources}
    ends = (*_MARKS, ".qweight")
    for tensor in sources:
        if not tensor.name.endswith(ends):
            continue
        for end, method in _MARKS.items():
            if tensor.name.endswith(end) and (end != "_blocks" or tensor.dtype == "U8"):
                return method
        if tensor.name.endswith(".qweight") and len(tensor.shape) == 2:
            scales = shapes.get(tensor.name.removesuffix("qweight") + "scales", ())
            return "awq" if scales[-1:] == (8 * tensor.shape[1],) else "gptq"
    return "fp8" if any(tensor.dtype in fp8.DTYPES for tensor in sources) else None
