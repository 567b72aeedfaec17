"""What the user has chosen, in one small JSON file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """One field a setting; the default is what a new user gets."""

    theme: str = "system"
    last_folder: str = ""
    last_target_folder: str = ""
    context: int = 4096
    threads: int = 0


def load_settings(path: Path) -> Settings:
    """The settings at `path`; the defaults where the file, a key or a value is missing or of the wrong kind."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Settings()
    if not isinstance(stored, dict):
        return Settings()
    known = {f.name: stored[f.name] for f in fields(Settings) if type(stored.get(f.name)) is type(f.default)}
    return Settings(**known)


def save_settings(path: Path, settings: Settings) -> None:
    """Writes `settings` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(asdict(settings), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)
