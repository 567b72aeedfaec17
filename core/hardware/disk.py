"""Room on disks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from core.hardware.machine import Disk


def disk_of(path: Path) -> Disk:
    """The volume that holds `path`, or would hold it once it is made."""
    existing = _nearest_existing(path)
    try:
        usage = shutil.disk_usage(existing)
    except OSError:
        return Disk(path, total=0, free=0)
    return Disk(path, total=usage.total, free=usage.free)


def disks_of(paths: Iterable[Path]) -> tuple[Disk, ...]:
    """One Disk a volume, for the first of `paths` on it."""
    first: dict[int, Path] = {}
    for path in paths:
        first.setdefault(_volume(path), path)
    return tuple(disk_of(path) for path in first.values())


def _nearest_existing(path: Path) -> Path:
    absolute = Path(os.path.abspath(path))
    return next((folder for folder in (absolute, *absolute.parents) if os.path.exists(folder)), absolute)


def _volume(path: Path) -> int:
    try:
        return _nearest_existing(path).stat().st_dev
    except OSError:
        return -1
