"""snug fit: the table of levels with the answer; with --header what a model takes in llama.cpp, before any download."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import core
from app import fit_desk, words
from app.fit_wanted import wanted_models
from app.pages.fit_answers import Asked, Judged, Unjudged, ranked

REFUSED = 2
_EVERY = 1 << 30


def check_kv(kv: str) -> str:
    """Raises SnugError for a format that no cache has."""
    if kv not in core.KV_TYPES:
        raise core.SnugError(f"--kv {kv} is no format of a cache.", f"Choose one of {', '.join(core.KV_TYPES)}.")
    return kv


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
    limit: int,
    level: str,
    importance: core.ImportanceMatrix | None,
    calibrate: bool,
) -> tuple[list[core.Option], core.Answer]:
    """Every level, with that marked which the answer takes, and the answer. A quantized file is judged as it is.

    `limit` as in core.choose.
    """
    name = core.find_recipe(level).name if level else ""
    asked: dict[str, Any] = {"context": context, "kv_type": kv, "want": want, "limit": limit}
    as_it_is = model.is_gguf and bool(model.quantized_formats) and not name
    if as_it_is:
        stored = core.stored_plan(model, core.level_of(model.path) if model.path.is_file() else "")
        options = core.options_of([stored], hardware, **asked)
    else:
        options = core.options_for(model, hardware, importance=importance, **asked)
    path = str(model.path) if as_it_is else ""
    answer = core.answer_for([option.plan for option in options], hardware, level=name, path=path,
                             calibration=_speed_of(hardware, calibrate), **asked)  # fmt: skip
    return options, answer


def ranking(hardware: core.Hardware, asked: Asked, *, calibrate: bool) -> tuple[list[Judged], list[Unjudged]]:
    """(models of the library and well-known ones, what does most for this machine first; those not judged)."""
    places = core.find_places(core.load_settings(core.settings_file()))
    items = core.scan_library(places, remember=core.memory_file()).items
    if calibrate:
        _speed_of(hardware, calibrate)
    found: list[Any] = []
    desk = fit_desk.Desk(lambda number, what, value: found.append(value))
    wanted = list(wanted_models(items, (), (), core.known_notes()))
    desk.take(0, "judge", {"wanted": wanted, "asked": asked, "hardware": hardware})
    while desk.is_busy:
        desk.step()
    rows = ranked(row for row in found if isinstance(row, Judged))
    return rows, [row for row in found if isinstance(row, Unjudged)]


def _speed_of(hardware: core.Hardware, calibrate: bool) -> core.Calibration | None:
    """What this machine does: measured now, or kept from before."""
    if not calibrate or hardware.given:
        return core.kept_calibration(hardware)
    found = core.calibrate(hardware)
    with suppress(OSError):
        core.keep_calibration(hardware, found)
    return found


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
