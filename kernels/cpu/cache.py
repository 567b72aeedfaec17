"""Where compiled kernels are kept.

numba notices an edit of the file that defines a kernel, but not of the files it takes parts from, and would run old
machine code. So the folder is named by a hash of all kernel sources and of numba's version.
"""

import hashlib
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parents[1]


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if path.is_file())


def source_hash(folder: Path = SOURCES) -> str:
    """A name for what is compiled from the package in `folder`, together with the numba that compiles it."""
    digest = hashlib.sha256(_numba_version().encode())
    for path in _sources(folder):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _numba_version() -> str:
    try:
        return importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:  # a frozen application may leave the metadata out
        return "unknown"


@cache
def folder() -> Path:
    """The folder of this version's compiled kernels, which may not exist yet."""
    return _parent() / source_hash()


def _parent() -> Path:
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "Snug" / "Cache" / "kernels"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "Snug" / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "snug" / "kernels"


@cache
def is_usable() -> bool:
    """Whether compiled kernels can be kept; if not, they are compiled anew in each process.

    Without sources (in a frozen application) nothing would tell one version's kernels from another's.
    """
    if not _sources(SOURCES):
        return False
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder()):
            return True
    except OSError:
        return False


@contextmanager
def in_use() -> Iterator[None]:
    """While kernel modules are imported: numba keeps what they define in our folder, and its setting is restored."""
    import numba

    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder())
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _mark(name: str) -> Path:
    return folder() / f"{name}.compiled"


def is_marked(name: str) -> bool:
    """Whether `mark` was called for this name and these sources."""
    return _mark(name).exists()


def mark(name: str) -> None:
    """Notes that a kernel is on disk."""
    if not is_usable() or is_marked(name):
        return
    with suppress(OSError):  # full, or gone since: then it is compiled once more
        folder().mkdir(parents=True, exist_ok=True)
        _mark(name).touch()
