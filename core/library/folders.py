"""Models in plain folders: LM Studio's, llama.cpp's cache, and those that the user has added. Only looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.library.groups import Group, gguf_groups, missing_words, weight_names
from core.library.item import Found, Leftover, LeftoverKind, LibraryItem, Origin, StoredFile, Trouble, in_words, look_at
from core.library.reading import DEEPEST, read_table, visible_folders

_REMOVAL = {
    Origin.LM_STUDIO: "Remove it in LM Studio: My Models, the menu of the model, Delete.",
    Origin.LLAMA_CPP: "llama.cpp has no command for it: remove the file and the .json beside it in the file manager.",
    Origin.FOLDER: "Snug only looks at this folder: remove it in the file manager.",
}
_UNFINISHED = (".downloadInProgress", ".part", ".incomplete", ".snug-part")
_MARKS = ("config.json", "model.safetensors.index.json")


def scan_folder(root: Path, origin: Origin, *, deepest: int = DEEPEST) -> Found:
    """Every GGUF and every folder of safetensors in `root` and, `deepest` folders down, below it."""
    troubles: list[Trouble] = []
    items: list[LibraryItem] = []
    leftovers: list[Leftover] = []

    def failed(error: OSError) -> None:
        troubles.append(Trouble(Path(error.filename or root), in_words(error)))

    for folder, names in visible_folders(root, failed, deepest):
        files = {file.path: file for name in names if (file := look_at(folder / name)) is not None}
        items += _items(root, folder, origin, files)
        leftovers += _leftovers(root, origin, files.values())
    return Found(tuple(items), tuple(leftovers), tuple(troubles))


def _items(root: Path, folder: Path, origin: Origin, files: dict[Path, StoredFile]) -> Iterator[LibraryItem]:
    for group in gguf_groups(files):
        own = tuple(files[name] for name in group.names)
        repo = _llama_cpp_repo(own[0].path) if origin is Origin.LLAMA_CPP else ""
        name = (folder / group.title).relative_to(root).as_posix()
        yield _item(root, origin, name, own[0].path, files=own, weights=own, group=group, repo=repo)
    weights = [name for name in weight_names(files) if name.suffix.lower() == ".safetensors"]
    if weights:
        rest = tuple(file for path, file in files.items() if path.suffix.lower() != ".gguf")
        name = folder.relative_to(root).as_posix() if folder != root else root.name
        own = tuple(files[weight] for weight in weights)
        if any(folder / mark in files for mark in _MARKS):
            yield _item(root, origin, name, folder, files=rest, weights=own)
        else:
            yield from (_item(root, origin, _below(root, f), f.path, files=(f,), weights=(f,)) for f in own)


def _below(root: Path, file: StoredFile) -> str:
    return file.path.relative_to(root).as_posix()


def _item(
    root: Path,
    origin: Origin,
    name: str,
    path: Path,
    *,
    files: tuple[StoredFile, ...],
    weights: tuple[StoredFile, ...],
    group: Group | None = None,
    repo: str = "",
) -> LibraryItem:
    if origin is Origin.LM_STUDIO and name.count("/") >= 1:
        repo = "/".join(name.split("/")[:2])
    return LibraryItem(
        id=f"{origin}:{path}",
        name=name,
        origin=origin,
        path=path,
        root=root,
        files=files,
        weights=weights,
        repo=repo,
        removal=_REMOVAL.get(origin, ""),
        problem=missing_words(group) if group else "",
    )


def _llama_cpp_repo(path: Path) -> str:
    """The repository that llama.cpp notes in the .json beside a file."""
    try:
        url = read_table(path.with_name(path.name + ".json"))["url"]
        parts = url.split("/")
        return "/".join(parts[3:5]) if url.startswith("https://") and parts[5] == "resolve" else ""
    except (OSError, ValueError, KeyError, AttributeError, IndexError):
        return ""


def _leftovers(root: Path, origin: Origin, files: Iterable[StoredFile]) -> Iterator[Leftover]:
    for file in files:
        if file.path.name.endswith(_UNFINISHED) and not os.path.islink(file.path):
            kind, when = LeftoverKind.DOWNLOAD, file.modified / 1e9
            busy = f"It is not Snug's: {origin} removes it, or you do in the file manager."
            yield Leftover(file.path, kind, origin, root, file.size, when, busy)
