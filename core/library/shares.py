"""What models share: one content under several names, hard links, and the same content stored twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from core.library.item import Inode, LibraryItem, Shares, StoredFile


def with_shares(items: Iterable[LibraryItem]) -> list[LibraryItem]:
    """The items with what each has for itself, shares with others, and has twice."""
    items = list(items)
    users: dict[Inode, set[str]] = defaultdict(set)
    names: dict[Inode, set[Path]] = defaultdict(set)
    copies: dict[str, dict[Inode, set[str]]] = defaultdict(lambda: defaultdict(set))
    for item in items:
        for file in item.files:
            users[file.inode].add(item.id)
            names[file.inode].add(file.real)
            if file.digest:
                copies[file.digest][file.inode].add(item.name)
    return [replace(item, shares=_shares(item, users, names, copies)) for item in items]


def _shares(
    item: LibraryItem,
    users: dict[Inode, set[str]],
    names: dict[Inode, set[Path]],
    copies: dict[str, dict[Inode, set[str]]],
) -> Shares:
    own = {file.inode: file for file in item.files}
    unique = sum(file.size for file in own.values() if users[file.inode] == {item.id} and _all_known(file, names))
    twice = [file for file in own.values() if file.digest and len(copies[file.digest]) > 1]
    twins = {
        name for file in twice for inode, found in copies[file.digest].items() if inode != file.inode for name in found
    }
    total = sum(file.size for file in own.values())
    return Shares(unique, total - unique, sum(file.size for file in twice), tuple(sorted(twins)))


def _all_known(file: StoredFile, names: dict[Inode, set[Path]]) -> bool:
    """Whether no hard link keeps the bytes that the library does not know of."""
    return file.links <= len(names[file.inode])


def bytes_on_disk(items: Iterable[LibraryItem]) -> int:
    """Bytes of all the items together, every content counted once."""
    return sum({file.inode: file.size for item in items for file in item.files}.values())
