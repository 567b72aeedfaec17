"""What the user has chosen, in one small JSON file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """One field a setting; the default is what a new user gets."""

    theme: str = "system"
    last_folder: str = ""
    last_target_folder: str = ""
    context: int = 4096
    threads: int = 0
    effort: str = "exact"
    library_folders: tuple[str, ...] = ()
    job_threads: int = 0  # of all jobs together; 0: no limit, as in the next two
    job_memory: int = 0  # MB
    job_bandwidth: int = 0  # kB/s
    job_niceness: int = 10
    job_only_on_mains: bool = False
    job_goes_on: bool = True  # what was cut off goes on by itself at the next start


def load_settings(path: Path) -> Settings:
    """The settings at `path`; the defaults where the file, a key or a value is missing or makes no sense."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return Settings()
    if not isinstance(stored, dict):
        return Settings()
    values = {name: _from_json(value) for name, value in stored.items()}
    return Settings(**{f.name: values[f.name] for f in fields(Settings) if _is_sane(values.get(f.name), f.default)})


def _from_json(value: Any) -> Any:
    """A list of texts as the tuple it was."""
    return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value


def _is_sane(value: Any, default: Any) -> bool:
    return type(value) is type(default) and (type(value) is not int or 0 <= value < 2**31)


def save_settings(path: Path, settings: Settings) -> None:
    """Writes `settings` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(asdict(settings), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)
