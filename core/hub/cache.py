"""The cache that every Hugging Face tool shares: content by its hash in blobs/, names in snapshots/, branches in refs/.

A name is a relative link to its content; where links cannot be made the content itself lies under the name. The
layout is that of huggingface_hub's documentation ("Understand caching").
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock

from core.errors import JobFailed, SnugError
from core.hub.names import shown
from core.hub.part import bytes_kept
from core.hub.repo import RepoFile, RepoInfo

_SPARE = 64 << 20


@dataclass(frozen=True, slots=True)
class RepoCache:
    """The place of one model in the cache."""

    cache: Path
    id: str
    commit: str

    @property
    def folder(self) -> Path:
        return self.cache / f"models--{self.id.replace('/', '--')}"

    @property
    def snapshot(self) -> Path:
        """The folder that looks like the model's own."""
        return self.folder / "snapshots" / self.commit

    def blob(self, file: RepoFile) -> Path:
        return self.folder / "blobs" / file.etag

    def pointer(self, file: RepoFile) -> Path:
        return self.snapshot / file.name

    def has_content(self, file: RepoFile) -> bool:
        return _size_of(self.blob(file)) == file.size or _size_of(self.pointer(file)) == file.size

    def has_name(self, file: RepoFile) -> bool:
        """True where the file can be opened by its name."""
        return _size_of(self.pointer(file)) == file.size

    def missing(self, file: RepoFile) -> int:
        """Bytes that are still to be fetched."""
        if self.has_content(file):
            return 0
        return file.size - bytes_kept(self.blob(file), file.size)

    def make_folders(self) -> None:
        """Raises SnugError where nothing can be written."""
        try:
            for folder in (self.folder / "blobs", self.snapshot, self._locks):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SnugError(
                f"Nothing can be written to the cache {self.cache}: {error.strerror or error}.",
                "Check its permissions, or set HF_HOME to a folder of yours.",
            ) from error

    @property
    def _locks(self) -> Path:
        return self.cache / ".locks" / self.folder.name

    def lock(self, file: RepoFile) -> BaseFileLock:
        """The lock that Hugging Face's own downloads of this content take, not yet taken."""
        return self.lock_of(self.blob(file))

    def lock_of(self, blob: Path) -> BaseFileLock:
        """The same, of content that is known by its place."""
        return FileLock(self._locks / f"{blob.name}.lock")

    def link(self, file: RepoFile) -> None:
        """Gives content that is there its name. Raises JobFailed when the name would lie outside the snapshot."""
        pointer, blob = self.pointer(file), self.blob(file)
        if not blob.is_file():
            return  # the content itself lies under the name
        try:
            pointer.parent.mkdir(parents=True, exist_ok=True)
            inside = pointer.parent.resolve().is_relative_to(self.snapshot.resolve())
        except OSError:
            inside = False
        if not inside or (pointer.is_dir() and not pointer.is_symlink()):
            raise JobFailed(
                f"{shown(file.name)} cannot be put into {self.snapshot}: something else is in its place.",
                "Remove that folder from the cache, then download again.",
            )
        _link(blob, pointer)

    def set_ref(self, revision: str) -> None:
        """Says that `revision`, a branch or tag, is this commit."""
        if revision == self.commit:
            return
        ref = self.folder / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        if ref.is_file() and ref.read_text() == self.commit:
            return
        new = ref.with_name(f"{ref.name}.{secrets.token_hex(4)}.tmp")
        new.write_text(self.commit)
        os.replace(new, ref)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def _link(blob: Path, pointer: Path) -> None:
    """A relative link at `pointer`, put there in one step; the content itself where no link can be made."""
    target = os.path.relpath(blob, pointer.parent)
    if pointer.is_symlink() and os.readlink(pointer) == target:
        return
    new = pointer.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        os.symlink(target, new)
    except OSError:
        os.replace(blob, pointer)
        return
    os.replace(new, pointer)


def check_space(repo: RepoCache, info: RepoInfo, files: list[RepoFile]) -> None:
    """Raises SnugError with the arithmetic when the disk has not enough room for what is missing."""
    wanted, missing = sum(file.size for file in files), sum(repo.missing(file) for file in files)
    place = next(folder for folder in (repo.cache, *repo.cache.parents) if folder.exists())
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(place).free
        if missing and missing + _SPARE > free:
            here = f", of which {gb(wanted - missing)} are here already" if missing < wanted else ""
            raise SnugError(
                f"{info.id} takes {gb(wanted)}{here}: {gb(missing)} are missing, and the disk of {repo.cache} has "
                f"{gb(free)} free, {gb(missing + _SPARE - free)} too little.",
                "Free some room, or set HF_HOME to a folder on another disk.",
            )


def gb(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
