"""A model of the Hub at a glance, from its headers: whether Snug can convert it, and what fits here best."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import quote

from core.answer.choice import Choice, Levels, choose_among, judged_context, judged_with, least_level
from core.answer.recommend import Want
from core.errors import JobFailed, SnugError
from core.fit import estimate_fit, gpu_budget, ram_budget
from core.hardware import Hardware
from core.hub.choose import gguf_choices
from core.hub.connection import Hub, connect
from core.hub.headers import header_source
from core.hub.kept import write_whole
from core.hub.names import HubSource
from core.hub.repo import RepoInfo
from core.known import known_model
from core.model import ModelInfo
from core.paths import cache_folder
from core.recipes import RECIPES

_FORM = 5
_STEP = 256 << 20


@dataclass(frozen=True, slots=True)
class Glance:
    """`level` is the recipe to take here and `verdict` how it fits; where nothing fits, the smallest one and "no".

    `reason` says why, or why the model is not `supported`. Sizes count bytes.
    """

    supported: bool
    reason: str
    level: str = ""
    verdict: str = ""
    file_bytes: int = 0
    parameters: int = 0
    active_parameters: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What verdicts are about: so many tokens of context, its cache in this format, and what is wanted most."""

    context: int = 4096
    kv_type: str = "f16"
    want: Want = Want.BALANCED


def glance_at(source: HubSource, hardware: Hardware, *, hub: Hub | None = None, wish: Wish | None = None) -> Glance:
    """What fits of `source`; asks the Hub only for headers not kept yet, and for none of a known model's newest state.

    Raises SnugError when they cannot be had, not when the model is one that Snug cannot convert.
    """
    wish = wish or Wish()
    file = _kept_file(source, hardware, wish)
    if (kept := _read(file)) is not None:
        return kept
    if source == HubSource(source.id) and (known := known_model(source.id)) is not None:
        found = _judged(known, (), hardware, wish)
        with suppress(OSError):
            write_whole(file, _text(found))
        return found
    headers = header_source(source, hub=hub or connect(), quick=True)
    try:
        found = _judged(headers.model(), _levels(headers.info), hardware, wish)
    except JobFailed:
        raise
    except SnugError as error:
        found = Glance(supported=False, reason=error.message)
    with suppress(OSError):
        write_whole(_kept_file(replace(source, revision=headers.info.commit), hardware, wish), _text(found))
    return found


def _levels(info: RepoInfo) -> tuple[str, ...]:
    """The files that are there, of a repository of GGUFs; else none, for all can be made."""
    is_full = any(file.name.endswith(".safetensors") for file in info.files)
    there = set() if is_full else {choice.label for choice in gguf_choices(info)}
    return tuple(recipe.name for recipe in RECIPES if recipe.name in there)


def _judged(model: ModelInfo, levels: tuple[str, ...], hardware: Hardware, wish: Wish) -> Glance:
    context, kv_type = wish.context, wish.kv_type
    there = Levels(model, names=levels)
    found = choose_among(there, hardware, context=context, kv_type=kv_type, want=wish.want)
    if found is None:
        plan = least_level(there)
        within = judged_context(model, context)
        found = Choice(plan, estimate_fit(plan, hardware, context=within, kv_type=kv_type))
    plan, fit = found.plan, found.fit
    return Glance(
        supported=True,
        reason=fit.reason + judged_with(fit, context=context, kv_type=kv_type),
        level=plan.recipe.name,
        verdict=str(fit.verdict),
        file_bytes=plan.file_bytes,
        parameters=model.parameters,
        active_parameters=model.active_parameters,
    )


def _kept_file(source: HubSource, hardware: Hardware, wish: Wish) -> Path:
    """By model, commit, wish and room: memory counts in steps of 256 MiB, so that a browser tab changes nothing."""
    room = f"{ram_budget(hardware) // _STEP}-{gpu_budget(hardware) // _STEP}"
    asked = f"{wish.context}-{wish.kv_type}-{wish.want}-{_FORM}"
    folder = cache_folder() / "hub-glance" / source.id.replace("/", "--")
    return folder / f"{quote(source.revision, safe='')}-{quote(source.choice, safe='')}-{room}-{asked}.json"


def _text(found: Glance) -> bytes:
    return json.dumps(asdict(found)).encode()


def _read(file: Path) -> Glance | None:
    with suppress(OSError, ValueError, TypeError):
        return Glance(**json.loads(file.read_text(encoding="utf-8")))
    return None
