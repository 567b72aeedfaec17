"""Where Snug keeps its own things, by each system's custom."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from core.errors import SnugError


def _folder(variable: str, windows: str, mac: str, other: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable]) / "snug"
    if sys.platform == "win32":
        return Path(os.environ.get(windows, str(Path.home()))) / "Snug"
    return Path.home() / (mac if sys.platform == "darwin" else other)


def expanded(path: Path | str) -> Path:
    """`path` with a leading ~ as the home folder. Raises SnugError when there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SnugError(f"{path} names a home folder that does not exist.", "Give the whole path.") from error


def data_folder() -> Path:
    """Jobs and settings: $XDG_DATA_HOME/snug, %APPDATA%\\Snug, ~/Library/Application Support/Snug."""
    return _folder("XDG_DATA_HOME", "APPDATA", "Library/Application Support/Snug", ".local/share/snug")


def cache_folder() -> Path:
    """What can be made again: $XDG_CACHE_HOME/snug, %LOCALAPPDATA%\\Snug, ~/Library/Caches/Snug."""
    return _folder("XDG_CACHE_HOME", "LOCALAPPDATA", "Library/Caches/Snug", ".cache/snug")


def jobs_folder() -> Path:
    """One folder a job."""
    return data_folder() / "jobs"


def settings_file() -> Path:
    return data_folder() / "settings.json"


def sample_folder() -> Path:
    """The sample model that comes with Snug."""
    return Path(__file__).resolve().parent.parent / "resources" / "sample"
