"""Where each tool keeps its models, by its own variables and customs. Nothing is written or created.

Sources: huggingface_hub's documentation of HF_HOME and HF_HUB_CACHE; Ollama's FAQ (OLLAMA_MODELS); llama.cpp's
common/common.cpp (LLAMA_CACHE); LM Studio's documentation of its models directory and settings.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.paths import data_folder, jobs_folder
from core.settings import Settings

MOST_JSON = 4 << 20
SERVICES = (
    "/usr/share/ollama/.ollama/models",
    "/var/lib/ollama/models",
    "/var/lib/ollama/.ollama/models",
    "/var/snap/ollama/common/models",
)


@dataclass(frozen=True, slots=True)
class Places:
    """Folders that are there, each once. `outputs` are where Snug's files go, `data` is Snug's own folder."""

    hub: tuple[Path, ...] = ()
    ollama: tuple[Path, ...] = ()
    lm_studio: tuple[Path, ...] = ()
    llama_cpp: tuple[Path, ...] = ()
    added: tuple[Path, ...] = ()
    outputs: tuple[Path, ...] = ()
    jobs: Path = Path()
    made: Path = Path()


def find_places(
    settings: Settings,
    *,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
    platform: str = sys.platform,
) -> Places:
    """The places of this computer and this user."""
    environ, home = os.environ if environ is None else environ, Path.home() if home is None else home
    return Places(
        hub=_there([hub_cache(environ, home)]),
        ollama=_there(_ollama(environ, home)),
        lm_studio=_there(_lm_studio(home)),
        llama_cpp=_there([_llama_cpp(environ, home, platform)]),
        added=_there(Path(folder) for folder in settings.library_folders),
        outputs=_there([Path(settings.last_target_folder)] if settings.last_target_folder else []),
        jobs=jobs_folder(),
        made=data_folder() / "made.jsonl",
    )


def _there(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Those that are folders, without one that is another by a second name."""
    found = {os.path.realpath(folder): folder for folder in reversed(list(folders)) if os.path.isdir(folder)}
    return tuple(reversed(found.values()))


def _given(environ: Mapping[str, str], name: str) -> Path | None:
    value = os.path.expandvars(os.path.expanduser(environ.get(name, "")))
    return Path(value) if value else None


def hub_cache(environ: Mapping[str, str], home: Path) -> Path:
    """The cache that all Hugging Face tools share."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := _given(environ, name):
            return given
    return (_given(environ, "HF_HOME") or _caches(environ, home) / "huggingface") / "hub"


def _caches(environ: Mapping[str, str], home: Path) -> Path:
    return _given(environ, "XDG_CACHE_HOME") or home / ".cache"


def _ollama(environ: Mapping[str, str], home: Path) -> list[Path]:
    """The user's own store, and those of a service on Linux."""
    given = _given(environ, "OLLAMA_MODELS")
    return [*([given] if given else []), home / ".ollama" / "models", *map(Path, SERVICES)]


def _lm_studio(home: Path) -> list[Path]:
    homes = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    pointer = _text(home / ".lmstudio-home-pointer").strip()
    if pointer:
        homes.insert(0, Path(pointer))
    chosen = [_downloads(folder / "settings.json") for folder in homes]
    return [*(folder for folder in chosen if folder), *(folder / "models" for folder in homes)]


def _downloads(settings: Path) -> Path | None:
    """The folder that the user has chosen in LM Studio."""
    try:
        chosen = json.loads(_text(settings))["downloadsFolder"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Path(chosen) if isinstance(chosen, str) and os.path.isabs(chosen) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() and path.stat().st_size < MOST_JSON else ""
    except (OSError, ValueError):
        return ""


def _llama_cpp(environ: Mapping[str, str], home: Path, platform: str) -> Path:
    if given := _given(environ, "LLAMA_CACHE"):
        return given
    if platform == "win32":
        return (_given(environ, "LOCALAPPDATA") or home / "AppData" / "Local") / "llama.cpp"
    if platform == "darwin":
        return home / "Library" / "Caches" / "llama.cpp"
    return _caches(environ, home) / "llama.cpp"
