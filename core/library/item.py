"""What lies on this computer: an item is a model that can be opened or removed by itself, a leftover is of no use."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

Inode = tuple[int, int]


class Origin(StrEnum):
    """Whose a file is."""

    HUB = "Hugging Face"
    SNUG = "made with Snug"
    OLLAMA = "Ollama"
    LM_STUDIO = "LM Studio"
    LLAMA_CPP = "llama.cpp"
    FOLDER = "folder"


OURS = frozenset({Origin.HUB, Origin.SNUG})


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file by the name that an item gives it. `real` is where the bytes lie, `links` how many names they have there.

    `modified` is in nanoseconds, `used` in seconds since the epoch. `digest`: its SHA-256 where the store says so.
    """

    path: Path
    real: Path
    size: int
    inode: Inode
    links: int
    modified: int
    used: float
    digest: str = ""


@dataclass(frozen=True, slots=True)
class FormatShare:
    """How many tensors, and bytes, of a model are in one format."""

    format: str
    tensors: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What headers say. `kind` is GGUF, safetensors or other; `label` the quantization in a word, such as Q4_K_M."""

    kind: str = "other"
    family: str = ""
    label: str = ""
    parameters: int = 0
    formats: tuple[FormatShare, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Shares:
    """Bytes of an item: `unique` would be freed without it, `shared` something else uses too.

    `duplicate`: bytes whose content lies on the disk once more, in the items called `twins`.
    """

    unique: int = 0
    shared: int = 0
    duplicate: int = 0
    twins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LibraryItem:
    """A model on this computer. `path` is what to open, `files` all that it is made of, `weights` the headers to read.

    `root`: the folder that removing it stays inside. `removal`: how its owner removes it, where Snug does not.
    """

    id: str
    name: str
    origin: Origin
    path: Path
    root: Path
    files: tuple[StoredFile, ...] = field(repr=False)
    weights: tuple[StoredFile, ...] = field(default=(), repr=False)
    repo: str = ""
    commit: str = ""
    refs: tuple[str, ...] = ()
    removal: str = ""
    problem: str = ""
    used: float = 0.0
    summary: Summary = Summary()
    shares: Shares = Shares()

    @property
    def size(self) -> int:
        """Bytes of all its files, each counted once."""
        return sum({file.inode: file.size for file in self.files}.values())

    @property
    def is_ours(self) -> bool:
        """Whether Snug may remove it."""
        return self.origin in OURS


class LeftoverKind(StrEnum):
    DOWNLOAD = "unfinished download"
    OUTPUT = "unfinished file"
    BLOB = "content without a name"
    LINK = "name without content"


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file of no use to anyone. `busy`: why it stays all the same; "" for what cleaning up removes."""

    path: Path
    kind: LeftoverKind
    origin: Origin
    root: Path
    size: int
    modified: float
    busy: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A place that could not be looked at, or something odd in it; the rest of the library is not kept up by it."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Found:
    """What one store holds."""

    items: tuple[LibraryItem, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    troubles: tuple[Trouble, ...] = ()


def look_at(path: Path, digest: str = "") -> StoredFile | None:
    """The regular file that `path` leads to; None when there is none, or it cannot be looked at."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        real = Path(os.path.realpath(path))
    except (OSError, ValueError):
        return None
    used = max(status.st_atime, status.st_mtime)
    inode = (status.st_dev, status.st_ino)
    return StoredFile(path, real, status.st_size, inode, status.st_nlink, status.st_mtime_ns, used, digest)


def in_words(error: OSError) -> str:
    return error.strerror or str(error)
