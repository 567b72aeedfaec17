"""The cache that all Hugging Face tools share: every model in it by commit, and what no model uses.

Layout: models--ORG--NAME/blobs/HASH is content, snapshots/COMMIT/NAME a link to it, refs/BRANCH the commit of a branch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from core.library.groups import Group, gguf_groups, missing_words, weight_names
from core.library.item import Found, Leftover, LeftoverKind, LibraryItem, Origin, StoredFile, Trouble, in_words, look_at
from core.library.reading import folders_in, names_under

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PREFIX = "models--"
_SETTLED = 600.0  # seconds; content is there a moment before its name
_RESUMABLE = 7 * 86400.0
_OURS = (".snug.incomplete", ".journal.incomplete")
_LONGEST_REF = 1000


def scan_hub(cache: Path, *, now: float, waiting: Collection[str] = ()) -> Found:
    """Everything in `cache`; a repository that cannot be read is a trouble, and the others are there all the same.

    `waiting`: models with downloads that will go on.
    """
    items: list[LibraryItem] = []
    leftovers: list[Leftover] = []
    troubles: list[Trouble] = []
    try:
        repos = [folder for folder in folders_in(cache) if folder.name.startswith(_PREFIX)]
    except OSError as error:
        return Found(troubles=(Trouble(cache, in_words(error)),))
    for repo in repos:
        try:
            items += _items(repo, troubles)
            leftovers += _leftovers(cache, repo, now, waits=repo_id(repo) in waiting)
        except OSError as error:
            troubles.append(Trouble(Path(error.filename or repo), in_words(error)))
    return Found(tuple(items), tuple(leftovers), tuple(troubles))


def repo_id(repo: Path) -> str:
    return repo.name.removeprefix(_PREFIX).replace("--", "/")


def snapshots_of(repo: Path) -> list[Path]:
    """One folder a commit. Raises OSError."""
    return folders_in(repo / "snapshots") if (repo / "snapshots").is_dir() else []


def refs_of(repo: Path) -> dict[Path, str]:
    """Commit by the file of each branch or tag."""
    found = {}
    for path in names_under(repo / "refs"):
        file = look_at(path)
        if file is not None and file.size < _LONGEST_REF and not path.is_symlink():
            found[path] = path.read_bytes().decode(errors="replace").strip()
    return found


def used_blobs(repo: Path, without: Iterable[Path] = ()) -> set[Path]:
    """The content that names in the snapshots lead to, leaving out the names in `without`. Raises OSError."""
    gone = set(without)
    used = set()
    for snapshot in snapshots_of(repo):
        for name in names_under(snapshot, _raise):
            if name not in gone:
                used.add(Path(os.path.realpath(name)))
    return used


def _raise(error: OSError) -> None:
    raise error


def _items(repo: Path, troubles: list[Trouble]) -> Iterator[LibraryItem]:
    refs = refs_of(repo)
    snapshots = snapshots_of(repo)
    for snapshot in snapshots:
        names = tuple(
            sorted(ref.relative_to(repo / "refs").as_posix() for ref, c in refs.items() if c == snapshot.name)
        )
        title = repo_id(repo) if len(snapshots) == 1 else f"{repo_id(repo)}@{snapshot.name[:7]}"
        for item in _items_of(repo, snapshot, title, troubles):
            yield replace(item, refs=names)


def _items_of(repo: Path, snapshot: Path, title: str, troubles: list[Trouble]) -> Iterator[LibraryItem]:
    """The models of one commit: each GGUF by itself, everything else together."""
    files = {file.path: file for file in _files(repo, snapshot, troubles)}
    groups = gguf_groups(files)
    in_groups = {name for group in groups for name in group.names}
    rest = tuple(file for name, file in files.items() if name not in in_groups)
    weights = weight_names(file.path for file in rest)
    for group in groups:
        own = tuple(files[name] for name in group.names)
        yield _item(repo, snapshot, f"{title}/{_below(snapshot, group)}", own[0].path, own + rest, own, group)
    if weights or (rest and not groups):
        yield _item(repo, snapshot, title, snapshot, rest, tuple(files[name] for name in weights), None)


def _below(snapshot: Path, group: Group) -> str:
    return (group.names[0].parent / group.title).relative_to(snapshot).as_posix()


def _item(
    repo: Path,
    snapshot: Path,
    name: str,
    path: Path,
    files: tuple[StoredFile, ...],
    weights: tuple[StoredFile, ...],
    group: Group | None,
) -> LibraryItem:
    return LibraryItem(
        id=f"{repo.name}@{snapshot.name}:{path.relative_to(snapshot).as_posix() if group else ''}@{repo.parent}",
        name=name,
        origin=Origin.HUB,
        path=path,
        root=repo,
        files=files,
        weights=weights,
        repo=repo_id(repo),
        commit=snapshot.name,
        problem=missing_words(group) if group else "",
    )


def _files(repo: Path, snapshot: Path, troubles: list[Trouble]) -> Iterator[StoredFile]:
    """The files of a snapshot; a name that leads out of the repository is told of and left out."""
    blobs = os.path.realpath(repo / "blobs")
    inside = tuple(Path(os.path.realpath(folder)) for folder in (repo, repo / "blobs"))
    for path in names_under(snapshot):
        file = look_at(path)
        if file is None:
            continue
        if not any(file.real.is_relative_to(folder) for folder in inside):
            troubles.append(Trouble(path, f"It leads out of the cache, to {file.real}."))
            continue
        is_blob = str(file.real.parent) == blobs and _SHA256.fullmatch(file.real.name)
        yield look_at(path, file.real.name) or file if is_blob else file


def _leftovers(cache: Path, repo: Path, now: float, *, waits: bool) -> Iterator[Leftover]:
    """Unfinished downloads, content that no name leads to, and names whose content is gone."""
    used, blobs = used_blobs(repo), os.path.realpath(repo / "blobs")
    for path in names_under(repo / "blobs"):
        if path.is_symlink() or (file := look_at(path)) is None or file.real in used:
            continue
        age = now - file.modified / 1e9
        is_part = path.name.endswith(".incomplete")
        kind = LeftoverKind.DOWNLOAD if is_part else LeftoverKind.BLOB
        busy = _why_kept(path, age, is_locked=is_locked(cache, repo, path), waits=waits)
        yield Leftover(path, kind, Origin.HUB, repo, file.size, file.modified / 1e9, busy)
    for snapshot in snapshots_of(repo):
        for path in names_under(snapshot):
            if path.is_symlink() and not path.exists() and Path(os.path.realpath(path)).is_relative_to(blobs):
                yield Leftover(path, LeftoverKind.LINK, Origin.HUB, repo, 0, path.lstat().st_mtime)


def _why_kept(path: Path, age: float, *, is_locked: bool, waits: bool) -> str:
    if is_locked:
        return "It is being downloaded right now."
    if age < _SETTLED and not path.name.endswith(".incomplete"):
        return "It is only minutes old: a download may be about to name it."
    if waits and path.name.endswith(_OURS):
        return "A download on the page Jobs can go on with it; it goes with that job."
    if age < _RESUMABLE and path.name.endswith(_OURS):
        return "The download can go on from here; after a week without use it counts as given up."
    return ""


def is_locked(cache: Path, repo: Path, path: Path) -> bool:
    """Whether a Hugging Face tool, or Snug, is downloading this content at the moment."""
    lock = cache / ".locks" / repo.name / f"{path.name.split('.')[0]}.lock"
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def downloads_under_way(repo: Path) -> bool:
    """Whether anything of this repository is being downloaded at the moment."""
    parts = [path for path in names_under(repo / "blobs") if path.name.endswith(".incomplete")]
    return any(is_locked(repo.parent, repo, path) for path in parts)
