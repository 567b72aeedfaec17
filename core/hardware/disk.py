"""Room on disks, what kind they are, and how fast they read and write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from core.hardware.machine import Confidence, Disk, say

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs", "lustre", "afs")
_VIRTUAL = ("vd", "xvd")
_MEMORY = ("tmpfs", "ramfs")


def disk_of(path: Path, *, root: Path = Path("/")) -> Disk:
    """The volume that holds `path`, or would hold it once it is made."""
    existing = nearest_existing(path)
    try:
        usage = shutil.disk_usage(existing)
    except OSError:
        return Disk(path, total=0, free=0)
    file_system = _file_system(existing, root)
    kind = _kind(existing, file_system, root)
    sources = say("the file system (what this user may write)", "total", "free")
    sources += say("/proc/mounts", "file_system") if file_system else ()
    sources += say("/sys/dev/block", "kind", confidence=Confidence.MEDIUM) if kind else ()
    return Disk(path, usage.total, usage.free, kind=kind, file_system=file_system, sources=sources)


def disks_of(paths: Iterable[Path], *, root: Path = Path("/")) -> tuple[Disk, ...]:
    """One Disk a volume, for the first of `paths` on it."""
    first: dict[int, Path] = {}
    for path in paths:
        first.setdefault(volume_of(path), path)
    return tuple(disk_of(path, root=root) for path in first.values())


def nearest_existing(path: Path) -> Path:
    """`path`, or the closest folder above it that is there."""
    absolute = Path(os.path.abspath(path))
    return next((folder for folder in (absolute, *absolute.parents) if os.path.exists(folder)), absolute)


def volume_of(path: Path) -> int:
    """The number of the volume that holds `path`; -1 where it cannot be asked."""
    try:
        return nearest_existing(path).stat().st_dev
    except OSError:
        return -1


def _file_system(path: Path, root: Path) -> str:
    """Of the mount with the longest folder above `path`; empty where /proc/mounts is not."""
    try:
        lines = (root / "proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounts = [line.split()[1:3] for line in lines if len(line.split()) > 2]
    above = [(mount, kind) for mount, kind in mounts if path == Path(mount) or Path(mount) in path.parents]
    return max(above, key=lambda pair: len(pair[0]), default=("", ""))[1]


def _kind(path: Path, file_system: str, root: Path) -> str:
    if file_system in _MEMORY:
        return "memory"
    if file_system in _NETWORK:
        return "network"
    try:
        device = path.stat().st_dev
        block = (root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve(strict=True)
    except (OSError, AttributeError, RuntimeError):
        return ""
    # A partition has no queue of its own; its disk, the folder above, has. A virtual disk does not know what it is on.
    for folder in (block, block.parent):
        if folder.name.startswith(_VIRTUAL):
            return "virtual disk"
        if (file := folder / "queue/rotational").exists():
            return "hard disk" if file.read_text(encoding="ascii").strip() == "1" else "SSD"
    return ""
