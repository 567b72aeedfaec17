"""Small files of strangers: JSON of bounded size, and folders that may not be readable."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.library.places import MOST_JSON

DEEPEST = 12


def read_table(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises OSError when it cannot be read, ValueError when it holds none."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_JSON:
        raise ValueError("it is no small file")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("it holds no table")
    return found


def folders_in(folder: Path) -> list[Path]:
    """The folders in `folder`, without links to elsewhere, in order. Raises OSError."""
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in sorted(entries, key=_name) if entry.is_dir(follow_symlinks=False)]


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def names_under(folder: Path, failed: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Every name below `folder` that is no folder, in order; links are names and never followed."""
    for place, folders, files in os.walk(folder, onerror=failed):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        folders[:] = sorted(set(folders) - set(links))
        yield from (Path(place, name) for name in sorted([*files, *links]))


def visible_folders(
    root: Path, failed: Callable[[OSError], None], deepest: int = DEEPEST
) -> Iterator[tuple[Path, list[str]]]:
    """(folder, its file names) from `root` down; links to folders are followed once, hidden folders are left out."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(root, onerror=failed, followlinks=True):
        depth = len(Path(place).relative_to(root).parts)
        inside = [name for name in sorted(folders) if not name.startswith(".")]
        folders[:] = [name for name in inside if depth < deepest and _is_new(Path(place, name), seen)]
        yield Path(place), sorted(files)


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    try:
        status = os.stat(folder)
    except OSError:
        return False
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return False
    seen.add(key)
    return True
