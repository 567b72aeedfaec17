"""The limits that a container or a service manager sets, by cgroup v1 or v2. Files that are not there set no limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Bytes: the `limit` of one group and what is left of it, counting file cache that the kernel can drop as left."""

    limit: int
    left: int


@dataclass(frozen=True, slots=True)
class _Names:
    """What one version calls its files."""

    limit: str
    usage: str
    high: str
    inactive: str


_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "", "total_inactive_file")
_V2 = _Names("memory.max", "memory.current", "memory.high", "inactive_file")


def memory_limits(*, root: Path = Path("/")) -> tuple[MemoryLimit, ...]:
    """The limits on this process: of its own group and of every group above it, v2 and v1."""
    found = [_memory_limit(folder, _V2) for folder in _groups(root, "")]
    found += [_memory_limit(folder, _V1) for folder in _groups(root, "memory")]
    return tuple(limit for limit in found if limit is not None)


def cpu_limit(*, root: Path = Path("/")) -> float | None:
    """Cores' worth of time that this process may use, or None without a limit."""
    found = [_v2_cores(folder) for folder in _groups(root, "")]
    found += [_v1_cores(folder) for folder in _groups(root, "cpu")]
    return min((cores for cores in found if cores is not None), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's group and those above it, innermost first; `controller` "" means v2."""
    path = _own_path(root, controller)
    mount = _mount(root, controller)
    if path is None or mount is None:
        return
    inside = [mount / part.relative_to("/") for part in (path, *path.parents)]
    # A container may see its group as the mount's root although /proc names the path outside: then only that is left.
    yield from (folder for folder in inside if folder.is_dir())


def _own_path(root: Path, controller: str) -> PurePosixPath | None:
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(",") and path.startswith("/") and ".." not in path:
            return PurePosixPath(path)
    return None


def _mount(root: Path, controller: str) -> Path | None:
    base = root / "sys/fs/cgroup"
    if controller:
        return base / controller
    return next((folder for folder in (base, base / "unified") if (folder / "cgroup.controllers").exists()), None)


def _memory_limit(folder: Path, names: _Names) -> MemoryLimit | None:
    usage = _number(folder / names.usage)
    # Above `high` nothing is killed, but everything is slowed down until it gives memory back: no place for a model.
    limits = [_number(folder / name) for name in (names.limit, names.high) if name]
    limit = min((value for value in limits if value is not None), default=None)
    if limit is None or usage is None:
        return None
    inactive = _statistics(folder / "memory.stat").get(names.inactive, 0)
    return MemoryLimit(limit, left=max(0, limit - usage + inactive))


def _v2_cores(folder: Path) -> float | None:
    quota, period = [*_read(folder / "cpu.max").split(), "", ""][:2]
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _v1_cores(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period else None


def _statistics(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
