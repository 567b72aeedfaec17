"""Reading config.json: spellings that differ between versions, and clear words when something is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.architectures.entry import Config
from core.architectures.wrapped import unwrapped
from core.errors import SnugError

LARGEST = 3.4e38
_MOST = 1 << 20  # no width, count or vocabulary of a model comes near
_TEXT_PARTS = ("thinker_config", "text_config", "llm_config", "language_config")
HEADS = ("num_attention_heads", "n_head", "n_heads")


def flat_config(config: Config) -> dict[str, Any]:
    """config.json with the settings of its language model laid over those of the whole."""
    flat = dict(config)
    text: Config = {}
    for name in _TEXT_PARTS:
        if isinstance(flat.get(name), Mapping):
            text = flat.pop(name)
            flat |= {key: value for key, value in text.items() if key != "architectures" or value}
    return unwrapped(flat, text)


def unusable(name: str, value: Any) -> SnugError:
    """The error for a setting that makes no sense."""
    return SnugError(
        f"config.json gives no usable {name} (found {repr(value)[:60]}).", "Download config.json of this model again."
    )


def required(config: Config, *names: str) -> int:
    """The first of `names` in the config as a whole number above zero."""
    value = next((config[name] for name in names if config.get(name) is not None), None)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
        raise unusable(names[0], value)
    return value


def count(config: Config, name: str, default: int) -> int:
    """A whole number of the config, 0 or more; `default` where it says none, or zero."""
    value = config.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise unusable(name, value)
    return value or default


def number(config: Config, name: str, default: float | None = None) -> float:
    """A finite number of the config, or `default` where it says none."""
    value: Any = config.get(name)
    value = default if value is None else value
    if not is_number(value):
        raise unusable(name, value)
    return float(value)


def fraction(config: Config, name: str, default: float) -> float:
    """A number from 0 to 1 of the config, or `default` where it says none."""
    value = number(config, name, default)
    if not 0 <= value <= 1:
        raise unusable(name, value)
    return value


def is_number(value: Any) -> bool:
    """Whether a float32 can hold it."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def head_dim(config: Config) -> int:
    """Width of one attention head."""
    if config.get("head_dim") is not None:
        return required(config, "head_dim")
    return required(config, "hidden_size", "n_embd") // required(config, *HEADS)


@dataclass(frozen=True)
class Rope:
    """Rotary embedding settings: `type` (default, linear, llama3, ...), base frequency, and the rest as it stands.

    `theta` is None where the config names none.
    """

    type: str
    theta: float | None
    values: Mapping[str, Any]

    def number(self, name: str) -> float:
        value: Any = self.values.get(name)
        if not is_number(value) or value <= 0:
            raise unusable(f"{name} of the rope scaling", value)
        return float(value)


def rope(config: Config, layers: str = "full_attention") -> Rope:
    """From rope_theta + rope_scaling (transformers 4) or rope_parameters (5), which may differ by kind of layer."""
    values = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if isinstance(values, Mapping) and isinstance(values.get(layers), Mapping):
        values = values[layers]
    if not isinstance(values, Mapping):
        raise SnugError("config.json's rope settings are not a table.", "Download config.json of this model again.")
    theta = values.get("rope_theta", config.get("rope_theta"))
    if theta is not None and not (is_number(theta) and theta > 0):
        raise unusable("rope_theta", theta)
    kind = str(values.get("rope_type") or values.get("type") or "default")
    return Rope(kind, None if theta is None else float(theta), values)
