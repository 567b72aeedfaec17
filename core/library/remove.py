"""Removing models: what would go, to the byte, before anything goes; then exactly that.

Only names that were listed beforehand are removed, one by one, and only inside the folder that the model belongs to.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import SnugError
from core.library.hub_cache import downloads_under_way, is_locked, refs_of, snapshots_of, used_blobs
from core.library.item import Inode, Leftover, LeftoverKind, LibraryItem, Origin, Trouble, in_words
from core.library.outputs import is_being_written
from core.library.reading import names_under
from core.library.scan import Library


@dataclass(frozen=True, slots=True)
class Gone:
    """A name to remove, inside `root`. `repo`: whose content it is, when it stays if a name came to need it."""

    path: Path
    root: Path
    repo: Path | None = None
    kind: LeftoverKind | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """What would go: `freed` bytes, in `files`; `kept` bytes of the same models stay, as `notes` say why."""

    titles: tuple[str, ...]
    files: tuple[Gone, ...]
    folders: tuple[Path, ...]
    freed: int
    kept: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    """What went, and what could not be removed."""

    freed: int
    files: int
    troubles: tuple[Trouble, ...] = ()


def find_items(library: Library, wanted: str) -> list[LibraryItem]:
    """The items that a name or a path means: by name, by repository, or by a file or folder of theirs.

    Raises SnugError when there is none, or when the name is that of several models.
    """
    path = os.path.abspath(os.path.expanduser(wanted))
    by_path = [item for item in library.items if _has_path(item, path)]
    low = wanted.casefold().rstrip("/")
    by_name = [item for item in library.items if low in (item.name.casefold(), item.id.casefold())]
    by_repo = [item for item in library.items if item.origin is Origin.HUB and low in _repo_names(item)]
    found = by_path or by_name or by_repo
    if not found:
        raise SnugError(f"There is no model {wanted} on this computer.", "See the names with: snug ls")
    if not by_path and (len(by_name) > 1 or len({item.origin for item in found}) > 1):
        owners = ", ".join(f"{item.path} ({item.origin})" for item in found)
        raise SnugError(f"{wanted} means several models: {owners}.", "Give the path of the one you mean.")
    return found


def _has_path(item: LibraryItem, path: str) -> bool:
    return path == str(item.path) or any(path in (str(file.path), str(file.real)) for file in item.files)


def _repo_names(item: LibraryItem) -> tuple[str, ...]:
    repo = item.repo.casefold()
    return (
        repo,
        f"{repo}@{item.commit}",
        f"{repo}@{item.commit[:7]}",
        *(f"{repo}@{ref.casefold()}" for ref in item.refs),
    )


def plan_removal(library: Library, items: Sequence[LibraryItem]) -> Removal:
    """What removing `items` would do. Raises SnugError for another tool's model, or while one is being downloaded."""
    foreign = next((item for item in items if not item.is_ours), None)
    if foreign is not None:
        raise SnugError(f"{foreign.name} belongs to {_owner(foreign)}; Snug does not touch it.", foreign.removal)
    gone: list[Gone] = []
    folders: list[Path] = []
    repos = sorted({item.root for item in items if item.origin is Origin.HUB})
    try:
        for repo in repos:
            chosen = [item for item in items if item.root == repo]
            others = [item for item in library.items if item.root == repo and item not in chosen]
            more, emptied = _from_repo(repo, chosen, others)
            gone, folders = gone + more, folders + emptied
    except OSError as error:
        raise SnugError(
            f"{error.filename} cannot be looked at: {in_words(error)}.", "Check its permissions."
        ) from error
    gone += [Gone(f.path, item.root) for item in items if item.origin is Origin.SNUG for f in item.files]
    freed = freed_by(entry.path for entry in gone)
    total = sum({file.inode: file.size for item in items for file in item.files}.values())
    going = _bytes_of({file.inode for item in items for file in item.files}, gone)
    titles = tuple(item.name for item in items)
    return Removal(titles, tuple(gone), tuple(folders), freed, total - going, _notes(items, total - going))


def _owner(item: LibraryItem) -> str:
    return "no one that Snug knows" if item.origin is Origin.FOLDER else str(item.origin)


def _notes(items: Iterable[LibraryItem], kept: int) -> tuple[str, ...]:
    if not kept:
        return ()
    if all(item.origin is Origin.SNUG for item in items):
        return ("The bytes stay on the disk: the file has another name there (a hard link).",)
    return ("The rest stays on the disk: another revision, or another name, uses it too.",)


def _from_repo(
    repo: Path, chosen: Sequence[LibraryItem], others: Sequence[LibraryItem]
) -> tuple[list[Gone], list[Path]]:
    """Names, branches and content that go with `chosen`; all of the repository when nothing is left of it."""
    if downloads_under_way(repo):
        raise SnugError(f"{chosen[0].repo} is being downloaded right now.", "Wait for the download, or stop it first.")
    kept_names = {file.path for item in others for file in item.files}
    names = [file.path for item in chosen for file in item.files if file.path not in kept_names]
    left = {item.commit for item in others}
    emptied = [snapshot for snapshot in snapshots_of(repo) if snapshot.name in {i.commit for i in chosen} - left]
    for snapshot in emptied:
        names += names_under(snapshot)
    if all(snapshot in emptied for snapshot in snapshots_of(repo)):
        return _whole(repo), [*_folders_under(repo), repo]
    names = list(dict.fromkeys(names))
    refs = [path for path, commit in refs_of(repo).items() if commit in {snapshot.name for snapshot in emptied}]
    used, blobs = used_blobs(repo, without=names), os.path.realpath(repo / "blobs")
    content = {Path(os.path.realpath(name)) for name in names if name.is_symlink()}
    unused = sorted(path for path in content - used if str(path.parent) == blobs and path.is_file())
    gone = [Gone(path, repo) for path in [*names, *refs]] + [Gone(path, repo / "blobs", repo) for path in unused]
    return gone, [folder for snapshot in emptied for folder in (*_folders_under(snapshot), snapshot)]


def _whole(repo: Path) -> list[Gone]:
    """Every name in a repository, its content last: by then it is known whether something new came to use it."""
    names = list(names_under(repo))
    content = [path for path in names if path.parent == repo / "blobs"]
    rest = [path for path in names if path.parent != repo / "blobs"]
    return [Gone(path, repo) for path in rest] + [Gone(path, repo, repo) for path in content]


def _folders_under(root: Path) -> list[Path]:
    """The folders below `root`, the deepest first."""
    found = [Path(place) for place, _, _ in os.walk(root) if Path(place) != root]
    return sorted(found, key=lambda folder: len(folder.parts), reverse=True)


def freed_by(paths: Iterable[Path]) -> int:
    """Bytes that are free once all these names are gone: of files none of whose names would be left."""
    removed, sizes, links = Counter[Inode](), dict[Inode, int](), dict[Inode, int]()
    for path in set(paths):
        if (status := _file_status(path)) is not None:
            inode = (status.st_dev, status.st_ino)
            removed[inode] += 1
            sizes[inode], links[inode] = status.st_size, status.st_nlink
    return sum(size for inode, size in sizes.items() if removed[inode] >= links[inode])


def _bytes_of(inodes: set[Inode], gone: Iterable[Gone]) -> int:
    """Those of the bytes in `inodes` that go."""
    by_inode: dict[Inode, list[Path]] = defaultdict(list)
    for entry in gone:
        if (status := _file_status(entry.path)) is not None:
            by_inode[(status.st_dev, status.st_ino)].append(entry.path)
    return freed_by(path for inode, paths in by_inode.items() if inode in inodes for path in paths)


def _file_status(path: Path) -> os.stat_result | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def plan_cleanup(library: Library) -> Removal:
    """What cleaning up would do: unfinished downloads and files that were given up, content that nothing uses."""
    chosen = [leftover for leftover in library.leftovers if not leftover.busy]
    gone = tuple(_of_leftover(leftover) for leftover in chosen)
    kept = [leftover for leftover in library.leftovers if leftover.busy]
    notes = tuple(f"{leftover.path}: {leftover.busy}" for leftover in kept)
    titles = tuple(f"{leftover.path}: {leftover.kind}" for leftover in chosen)
    staying = sum(leftover.size for leftover in kept)
    return Removal(titles, gone, (), freed_by(entry.path for entry in gone), staying, notes)


def _of_leftover(leftover: Leftover) -> Gone:
    if leftover.origin is not Origin.HUB or leftover.kind is LeftoverKind.LINK:
        return Gone(leftover.path, leftover.root, kind=leftover.kind)
    return Gone(leftover.path, leftover.root / "blobs", leftover.root, leftover.kind)


def apply_removal(removal: Removal) -> Removed:
    """Removes what `removal` lists. What cannot be removed, or came into use meanwhile, stays and is told of."""
    troubles: list[Trouble] = []
    freed = files = 0
    used: dict[Path, set[Path]] = {}
    for entry in removal.files:
        try:
            if why := _reason_to_stay(entry, used):
                troubles.append(Trouble(entry.path, why))
                continue
            status = entry.path.lstat()
            entry.path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            troubles.append(Trouble(entry.path, in_words(error)))
            continue
        files += 1
        freed += status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0
    for folder in removal.folders:
        with contextlib.suppress(OSError):  # something new came into it meanwhile
            folder.rmdir()
    return Removed(freed, files, tuple(troubles))


def _reason_to_stay(entry: Gone, used: dict[Path, set[Path]]) -> str:
    """Why this name is not removed after all; "" if it is. Raises OSError."""
    root = os.path.realpath(entry.root)
    if not Path(os.path.realpath(entry.path.parent)).is_relative_to(root):
        return f"It lies outside {entry.root}."
    if stat.S_ISDIR(entry.path.lstat().st_mode):
        return "It is a folder now."
    if entry.kind is LeftoverKind.OUTPUT and is_being_written(entry.path):
        return "A job is writing it right now."
    if entry.repo is None:
        return ""
    if is_locked(entry.repo.parent, entry.repo, entry.path):
        return "It is being downloaded right now."
    if entry.repo not in used:
        used[entry.repo] = used_blobs(entry.repo)
    return "A model came to use it meanwhile." if Path(os.path.realpath(entry.path)) in used[entry.repo] else ""
