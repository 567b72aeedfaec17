"""What a model's own files say of where it comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path

from core.errors import SnugError

_REPO = r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*[A-Za-z0-9])"
_SAYS_SO = re.compile(
    r"(?:original (?:\w+ )?model|base model|quanti[sz]ed (?:version|variant|model|checkpoint|weights)?\s*(?:of|from)"
    r"|quanti[sz]ation of|quant of|quants of|quantizing|quantization of)\b(?:[^\n]{0,160}?huggingface\.co/|\W{0,6})"
    + _REPO,
    re.IGNORECASE,
)
_CARD_LIMIT = 1 << 20


def parent_of(folder: Path) -> str | None:
    """The full-precision model (owner/name) that README.md says the quantized one in `folder` was made from."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
            card = file.read(_CARD_LIMIT).replace("\r\n", "\n")
    except OSError:
        return None
    front, text = _split(card)
    named = _values(front, "base_model")
    relation = (_values(front, "base_model_relation") or ["quantized"])[0]
    if named and relation == "quantized":
        return named[0] if re.fullmatch(_REPO, named[0]) else None
    found = _SAYS_SO.search(text)
    return found[1].removesuffix(".git") if found else None


def refuse_adapter(folder: Path) -> None:
    """Raises SnugError if `folder` holds a LoRA adapter without the model that it belongs to."""
    is_adapter = (folder / "adapter_config.json").is_file() or any(folder.glob("adapter_model*"))
    if is_adapter and not (folder / "config.json").is_file():
        raise adapter_error(folder.name, adapted_model(folder))


def adapter_error(name: str, base: str | None) -> SnugError:
    """The error for weights that are only a LoRA adapter, of the model `base` if that is known."""
    return SnugError(
        f"{name} is a LoRA adapter, not a whole model" + (f"; it belongs to {base}." if base else "."),
        f"Merge it into {base or 'its base model'} first (peft: merge_and_unload, then save_pretrained), "
        "and open the merged folder.",
    )


def adapted_model(folder: Path) -> str | None:
    """The model that the LoRA adapter in `folder` belongs to, if it says so."""
    try:
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return base if isinstance(base, str) and base else None


def _split(card: str) -> tuple[str, str]:
    """The YAML between the first two lines of dashes, and the rest."""
    found = re.match(r"\s*---\n(.*?)\n---\s*(?:\n|$)", card, re.DOTALL)
    return (found[1], card[found.end() :]) if found else ("", card)


def _values(front: str, key: str) -> list[str]:
    """The value or values of a key of flat YAML: `key: a`, `key: [a, b]`, or a list of lines."""
    found = re.search(rf"^{key}:[ \t]*(.*)\n?((?:[ \t]*-[ \t].*\n?)*)", front, re.MULTILINE)
    if not found:
        return []
    inline = found[1].split("#")[0].strip().strip("[]")
    items = inline.split(",") if inline else [line.strip()[1:] for line in found[2].splitlines()]
    return [item for item in (item.strip().strip("'\"") for item in items) if item]
